// lds_ops.cc: the workgroup's shared memory (LDS), and permutations of lanes through it.
//
// Limits     outside the workgroup's allocation reads give 0 and writes are dropped, as on hardware.
#include <algorithm>

#include "opcodes.h"
#include "wave.h"

namespace virtual_gpu::isa {
namespace {

template <typename T>
T* At(Wave& w, u64 offset, T* scratch) {
  if (offset + sizeof(T) > w.lds->size()) return nullptr;
  std::memcpy(scratch, w.lds->data() + offset, sizeof(T));
  return scratch;
}
template <typename T>
T Get(Wave& w, u64 offset) {
  T value = {};
  At(w, offset, &value);
  return value;
}
template <typename T>
void Set(Wave& w, u64 offset, T value) {
  if (offset + sizeof(T) <= w.lds->size()) std::memcpy(w.lds->data() + offset, &value, sizeof(T));
}

// op: destination, address.
template <typename T, unsigned words>
Step Read(const Instruction& i, Wave& w) {
  const Reader<u32> address(w, i.op[1]);
  ForEachLane(w, [&](unsigned lane) {
    const u64 at = u64{address(lane)} + static_cast<u64>(i.offset);
    for (unsigned n = 0; n < words; ++n) {
      w.vgpr[i.op[0].reg + n][lane] =
          static_cast<u32>(static_cast<i32>(Get<T>(w, at + n * sizeof(T))));
    }
  });
  return Step::kNext;
}
// op: address, data.
template <typename T, unsigned words>
Step Write(const Instruction& i, Wave& w) {
  const Reader<u32> address(w, i.op[0]);
  ForEachLane(w, [&](unsigned lane) {
    const u64 at = u64{address(lane)} + static_cast<u64>(i.offset);
    for (unsigned n = 0; n < words; ++n) {
      Set(w, at + n * sizeof(T), static_cast<T>(w.vgpr[i.op[1].reg + n][lane]));
    }
  });
  return Step::kNext;
}
// Two places, by offsets that count elements (or 64 of them).
template <unsigned words, unsigned stride>
Step Read2(const Instruction& i, Wave& w) {
  const Reader<u32> address(w, i.op[1]);
  ForEachLane(w, [&](unsigned lane) {
    const u64 base = address(lane);
    for (unsigned n = 0; n < 2 * words; ++n) {
      const u64 offset = static_cast<u64>(n < words ? i.offset0 : i.offset1) * words * 4 * stride;
      w.vgpr[i.op[0].reg + n][lane] = Get<u32>(w, base + offset + u64{n % words} * 4);
    }
  });
  return Step::kNext;
}
template <unsigned words, unsigned stride>
Step Write2(const Instruction& i, Wave& w) {
  const Reader<u32> address(w, i.op[0]);
  ForEachLane(w, [&](unsigned lane) {
    for (unsigned n = 0; n < 2 * words; ++n) {
      const u64 offset = static_cast<u64>(n < words ? i.offset0 : i.offset1) * words * 4 * stride;
      Set(w, u64{address(lane)} + offset + u64{n % words} * 4,
          w.vgpr[i.op[n < words ? 1 : 2].reg + n % words][lane]);
    }
  });
  return Step::kNext;
}
// op: [destination,] address, data.
template <typename T, auto F, bool returns>
Step Atomic(const Instruction& i, Wave& w) {
  constexpr unsigned kFirst = returns ? 1 : 0;
  const Reader<u32> address(w, i.op[kFirst]);
  const Reader<T> data(w, i.op[kFirst + 1]);
  ForEachLane(w, [&](unsigned lane) {
    const u64 at = u64{address(lane)} + static_cast<u64>(i.offset);
    const T old = Get<T>(w, at);
    Set<T>(w, at, F(old, data(lane)));
    if constexpr (returns) w.vgpr[i.op[0].reg][lane] = static_cast<u32>(ToBits(old));
  });
  return Step::kNext;
}
// Each lane takes the value of the lane that its address (4 bytes a lane) names.
Step Pull(const Instruction& i, Wave& w) {
  const Reader<u32> address(w, i.op[1]), data(w, i.op[2]);
  VectorRegister out;
  const u64 exec = w.exec();
  ForEachLane(w, [&](unsigned lane) {
    const unsigned from = (address(lane) + static_cast<u32>(i.offset)) / 4 % kLanes;
    out[lane] = (exec >> from & 1) != 0 ? data(from) : 0;
  });
  ForEachLane(w, [&](unsigned lane) { w.vgpr[i.op[0].reg][lane] = out[lane]; });
  return Step::kNext;
}
Step Push(const Instruction& i, Wave& w) {
  const Reader<u32> address(w, i.op[1]), data(w, i.op[2]);
  VectorRegister out = {};
  ForEachLane(w, [&](unsigned lane) {
    out[(address(lane) + static_cast<u32>(i.offset)) / 4 % kLanes] = data(lane);
  });
  ForEachLane(w, [&](unsigned lane) { w.vgpr[i.op[0].reg][lane] = out[lane]; });
  return Step::kNext;
}

constexpr auto kAdd = [](auto a, auto b) { return a + b; };
constexpr auto kSub = [](auto a, auto b) { return a - b; };
constexpr auto kMin = [](auto a, auto b) { return std::min(a, b); };
constexpr auto kMax = [](auto a, auto b) { return std::max(a, b); };
constexpr auto kAnd = [](auto a, auto b) { return a & b; };
constexpr auto kOr = [](auto a, auto b) { return a | b; };
constexpr auto kXor = [](auto a, auto b) { return a ^ b; };
constexpr auto kExchange = [](auto, auto b) { return b; };

#define ATOMIC(name, rtn_name, T, F) \
  {"ds_" name, Atomic<T, F, false>}, { "ds_" rtn_name, Atomic<T, F, true> }

constexpr Opcode kOpcodes[] = {
    {"ds_read_u8", Read<u8, 1>},
    {"ds_read_i8", Read<i8, 1>},
    {"ds_read_u16", Read<u16, 1>},
    {"ds_read_i16", Read<i16, 1>},
    {"ds_read_b32", Read<u32, 1>},
    {"ds_read_b64", Read<u32, 2>},
    {"ds_read_b96", Read<u32, 3>},
    {"ds_read_b128", Read<u32, 4>},
    {"ds_read2_b32", Read2<1, 1>},
    {"ds_read2_b64", Read2<2, 1>},
    {"ds_read2st64_b32", Read2<1, 64>},
    {"ds_read2st64_b64", Read2<2, 64>},
    {"ds_write_b8", Write<u8, 1>},
    {"ds_write_b16", Write<u16, 1>},
    {"ds_write_b32", Write<u32, 1>},
    {"ds_write_b64", Write<u32, 2>},
    {"ds_write_b96", Write<u32, 3>},
    {"ds_write_b128", Write<u32, 4>},
    {"ds_write2_b32", Write2<1, 1>},
    {"ds_write2_b64", Write2<2, 1>},
    {"ds_write2st64_b32", Write2<1, 64>},
    {"ds_write2st64_b64", Write2<2, 64>},
    ATOMIC("add_u32", "add_rtn_u32", u32, kAdd),
    ATOMIC("sub_u32", "sub_rtn_u32", u32, kSub),
    ATOMIC("min_i32", "min_rtn_i32", i32, kMin),
    ATOMIC("max_i32", "max_rtn_i32", i32, kMax),
    ATOMIC("min_u32", "min_rtn_u32", u32, kMin),
    ATOMIC("max_u32", "max_rtn_u32", u32, kMax),
    ATOMIC("and_b32", "and_rtn_b32", u32, kAnd),
    ATOMIC("or_b32", "or_rtn_b32", u32, kOr),
    ATOMIC("xor_b32", "xor_rtn_b32", u32, kXor),
    ATOMIC("add_f32", "add_rtn_f32", float, kAdd),
    {"ds_wrxchg_rtn_b32", Atomic<u32, kExchange, true>},
    {"ds_bpermute_b32", Pull},
    {"ds_permute_b32", Push},
};

}  // namespace

std::span<const Opcode> LdsOpcodes() { return kOpcodes; }

}  // namespace virtual_gpu::isa

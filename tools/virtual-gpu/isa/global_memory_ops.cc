// global_memory_ops.cc: loads and stores of the lanes.
#include <array>

#include "addressing.h"
#include "opcodes.h"

namespace virtual_gpu::isa {
namespace {

// op: destination, address, base. T is what lies in memory; what of the register it leaves alone is
// the 16-bit forms' business.
template <typename Data, typename Put>
Step LoadLanes(const Instruction& i, Wave& w, const Put& put) {
  const Addresses address(w, i, i.op[1], BaseOperand(i, 2));
  Step step = Step::kNext;
  ForEachLane(w, [&](unsigned lane) {
    if (step != Step::kNext) return;
    Data data;
    const u64 at = address(lane);
    if (w.memory->Load(at, &data, sizeof(data))) return put(lane, data);
    w.fault_address = at;
    step = Step::kMemoryFault;
  });
  return step;
}

template <typename T, unsigned words>
Step Load(const Instruction& i, Wave& w) {
  return LoadLanes<std::array<T, words>>(i, w, [&](unsigned lane, const auto& data) {
    for (unsigned n = 0; n < words; ++n) {
      w.vgpr[i.op[0].reg + n][lane] = static_cast<u32>(static_cast<i32>(data[n]));
    }
  });
}

template <typename T, bool high>
Step LoadHalf(const Instruction& i, Wave& w) {
  return LoadLanes<T>(i, w, [&](unsigned lane, T data) {
    u32& out = w.vgpr[i.op[0].reg][lane];
    const u32 half = static_cast<u16>(data);
    out = high ? (out & 0xffff) | half << 16 : (out & 0xffff0000u) | half;
  });
}

// op: address, data, base.
template <typename T, unsigned words, unsigned shift>
Step Store(const Instruction& i, Wave& w) {
  const Addresses address(w, i, i.op[0], BaseOperand(i, 2));
  Step step = Step::kNext;
  ForEachLane(w, [&](unsigned lane) {
    if (step != Step::kNext) return;
    T data[words];
    for (unsigned n = 0; n < words; ++n) {
      data[n] = static_cast<T>(w.vgpr[i.op[1].reg + n][lane] >> shift);
    }
    const u64 at = address(lane);
    if (w.memory->Store(at, data, sizeof(data))) return;
    w.fault_address = at;
    step = Step::kMemoryFault;
  });
  return step;
}

#define BOTH(name, ...) \
  {"global_" name, __VA_ARGS__}, { "flat_" name, __VA_ARGS__ }

constexpr Opcode kOpcodes[] = {
    BOTH("load_ubyte", Load<u8, 1>),
    BOTH("load_sbyte", Load<i8, 1>),
    BOTH("load_ushort", Load<u16, 1>),
    BOTH("load_sshort", Load<i16, 1>),
    BOTH("load_dword", Load<u32, 1>),
    BOTH("load_dwordx2", Load<u32, 2>),
    BOTH("load_dwordx3", Load<u32, 3>),
    BOTH("load_dwordx4", Load<u32, 4>),
    BOTH("load_ubyte_d16", LoadHalf<u8, false>),
    BOTH("load_ubyte_d16_hi", LoadHalf<u8, true>),
    BOTH("load_sbyte_d16", LoadHalf<i8, false>),
    BOTH("load_sbyte_d16_hi", LoadHalf<i8, true>),
    BOTH("load_short_d16", LoadHalf<u16, false>),
    BOTH("load_short_d16_hi", LoadHalf<u16, true>),
    BOTH("store_byte", Store<u8, 1, 0>),
    BOTH("store_byte_d16_hi", Store<u8, 1, 16>),
    BOTH("store_short", Store<u16, 1, 0>),
    BOTH("store_short_d16_hi", Store<u16, 1, 16>),
    BOTH("store_dword", Store<u32, 1, 0>),
    BOTH("store_dwordx2", Store<u32, 2, 0>),
    BOTH("store_dwordx3", Store<u32, 3, 0>),
    BOTH("store_dwordx4", Store<u32, 4, 0>),
};

}  // namespace

std::span<const Opcode> GlobalMemoryOpcodes() { return kOpcodes; }

}  // namespace virtual_gpu::isa

// scratch_ops.cc: a lane's private memory: arrays that are indexed by what is only known at run time.
//
// Why        Up to gfx90a compilers reach it by buffer_ instructions over the private segment's buffer,
//            which nothing else uses in HIP. Here it is the wave's own memory, a lane after the other,
//            and the buffer's descriptor is not looked at. For gfx940 and later they use scratch_.
// Limits     the kernel's own frame: with a stack pointer (calls) buffer_ is not covered. Outside the
//            frame buffer_ reads give 0 and writes are dropped, as a buffer's bounds do; scratch_, which
//            has none, is a memory fault.
#include "opcodes.h"
#include "wave.h"

namespace virtual_gpu::isa {
namespace {

// Where `bytes` of the lane are; null outside of its frame.
std::byte* At(Wave& w, const Instruction& i, unsigned lane, u64 further, u64 bytes) {
  u64 at = static_cast<u64>(i.offset) + further;
  if (i.offen) at += w.vgpr[i.op[1].reg][lane];
  if (at + bytes > w.scratch_lane_bytes) return nullptr;
  return w.scratch.data() + lane * w.scratch_lane_bytes + at;
}

// op: data, offset or "off", descriptor, stack pointer or 0.
template <typename T, unsigned words>
Step Load(const Instruction& i, Wave& w) {
  ForEachLane(w, [&](unsigned lane) {
    T data[words] = {};
    for (unsigned n = 0; n < words; ++n) {
      const std::byte* from = At(w, i, lane, n * sizeof(T), sizeof(T));
      if (from != nullptr) std::memcpy(&data[n], from, sizeof(T));
    }
    for (unsigned n = 0; n < words; ++n) {
      w.vgpr[i.op[0].reg + n][lane] = static_cast<u32>(static_cast<i32>(data[n]));
    }
  });
  return Step::kNext;
}
template <typename T, unsigned words>
Step Store(const Instruction& i, Wave& w) {
  ForEachLane(w, [&](unsigned lane) {
    for (unsigned n = 0; n < words; ++n) {
      const T data = static_cast<T>(w.vgpr[i.op[0].reg + n][lane]);
      std::byte* to = At(w, i, lane, n * sizeof(T), sizeof(T));
      if (to != nullptr) std::memcpy(to, &data, sizeof(T));
    }
  });
  return Step::kNext;
}

// The offset of a lane, that of all lanes, and the instruction's own.
std::byte* ScratchAt(Wave& w, const Instruction& i, const Operand& each, unsigned lane, u64 bytes) {
  u32 at = static_cast<u32>(i.offset);
  if (each.kind == Operand::Kind::kVgpr) at += w.vgpr[each.reg][lane];
  if (i.op[2].kind == Operand::Kind::kSgpr) at += w.sgpr[i.op[2].reg];
  w.fault_address = at;
  if (at + bytes > w.scratch_lane_bytes) return nullptr;
  return w.scratch.data() + lane * w.scratch_lane_bytes + at;
}

// op: data, offset of the lane or "off", offset of all or "off".
template <typename T, unsigned words>
Step ScratchLoad(const Instruction& i, Wave& w) {
  Step step = Step::kNext;
  ForEachLane(w, [&](unsigned lane) {
    T data[words];
    const std::byte* from = ScratchAt(w, i, i.op[1], lane, sizeof(data));
    if (from == nullptr) step = Step::kMemoryFault;
    if (step != Step::kNext) return;
    std::memcpy(data, from, sizeof(data));
    for (unsigned n = 0; n < words; ++n) {
      w.vgpr[i.op[0].reg + n][lane] = static_cast<u32>(static_cast<i32>(data[n]));
    }
  });
  return step;
}
// op: offset of the lane or "off", data, offset of all or "off".
template <typename T, unsigned words>
Step ScratchStore(const Instruction& i, Wave& w) {
  Step step = Step::kNext;
  ForEachLane(w, [&](unsigned lane) {
    T data[words];
    for (unsigned n = 0; n < words; ++n) data[n] = static_cast<T>(w.vgpr[i.op[1].reg + n][lane]);
    std::byte* to = ScratchAt(w, i, i.op[0], lane, sizeof(data));
    if (to == nullptr) step = Step::kMemoryFault;
    if (step == Step::kNext) std::memcpy(to, data, sizeof(data));
  });
  return step;
}

bool IsOwnFrame(const Instruction& i) {
  return i.operands == 4 && i.op[3].kind == Operand::Kind::kConstant && i.op[3].bits == 0;
}

constexpr Opcode kOpcodes[] = {
    {"buffer_load_ubyte", Load<u8, 1>, IsOwnFrame},
    {"buffer_load_sbyte", Load<i8, 1>, IsOwnFrame},
    {"buffer_load_ushort", Load<u16, 1>, IsOwnFrame},
    {"buffer_load_sshort", Load<i16, 1>, IsOwnFrame},
    {"buffer_load_dword", Load<u32, 1>, IsOwnFrame},
    {"buffer_load_dwordx2", Load<u32, 2>, IsOwnFrame},
    {"buffer_load_dwordx3", Load<u32, 3>, IsOwnFrame},
    {"buffer_load_dwordx4", Load<u32, 4>, IsOwnFrame},
    {"buffer_store_byte", Store<u8, 1>, IsOwnFrame},
    {"buffer_store_short", Store<u16, 1>, IsOwnFrame},
    {"buffer_store_dword", Store<u32, 1>, IsOwnFrame},
    {"buffer_store_dwordx2", Store<u32, 2>, IsOwnFrame},
    {"buffer_store_dwordx3", Store<u32, 3>, IsOwnFrame},
    {"buffer_store_dwordx4", Store<u32, 4>, IsOwnFrame},
    {"scratch_load_ubyte", ScratchLoad<u8, 1>},
    {"scratch_load_sbyte", ScratchLoad<i8, 1>},
    {"scratch_load_ushort", ScratchLoad<u16, 1>},
    {"scratch_load_sshort", ScratchLoad<i16, 1>},
    {"scratch_load_dword", ScratchLoad<u32, 1>},
    {"scratch_load_dwordx2", ScratchLoad<u32, 2>},
    {"scratch_load_dwordx3", ScratchLoad<u32, 3>},
    {"scratch_load_dwordx4", ScratchLoad<u32, 4>},
    {"scratch_store_byte", ScratchStore<u8, 1>},
    {"scratch_store_short", ScratchStore<u16, 1>},
    {"scratch_store_dword", ScratchStore<u32, 1>},
    {"scratch_store_dwordx2", ScratchStore<u32, 2>},
    {"scratch_store_dwordx3", ScratchStore<u32, 3>},
    {"scratch_store_dwordx4", ScratchStore<u32, 4>},
};

}  // namespace

std::span<const Opcode> ScratchOpcodes() { return kOpcodes; }

}  // namespace virtual_gpu::isa

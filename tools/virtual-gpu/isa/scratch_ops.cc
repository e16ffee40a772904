// scratch_ops.cc: a lane's private memory: arrays that are indexed by what is only known at run time.
//
// Why        Up to gfx90a compilers reach it by buffer_ instructions over the private segment's buffer,
//            which nothing else uses in HIP. Here it is the wave's own memory, a lane after the other,
//            and the buffer's descriptor is not looked at.
// Limits     the kernel's own frame: with a stack pointer (calls) the instruction is not covered.
//            Outside the frame reads give 0 and writes are dropped, as a buffer's bounds do.
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
};

}  // namespace

std::span<const Opcode> ScratchOpcodes() { return kOpcodes; }

}  // namespace virtual_gpu::isa

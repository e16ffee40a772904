// vector_lane_ops.cc: what goes between lanes, or between them and the scalar registers.
#include <bit>

#include "opcodes.h"
#include "wave.h"

namespace virtual_gpu::isa {
namespace {

Step ReadFirstLane(const Instruction& i, Wave& w) {
  const u64 exec = w.exec();
  const unsigned lane = exec == 0 ? 0 : static_cast<unsigned>(std::countr_zero(exec));
  w.sgpr[i.op[0].reg] = Reader<u32>(w, i.op[1])(lane);
  return Step::kNext;
}
Step ReadLane(const Instruction& i, Wave& w) {
  w.sgpr[i.op[0].reg] = Reader<u32>(w, i.op[1])(ScalarSource<u32>(w, i.op[2]) % kLanes);
  return Step::kNext;
}
Step WriteLane(const Instruction& i, Wave& w) {
  w.vgpr[i.op[0].reg][ScalarSource<u32>(w, i.op[2]) % kLanes] = ScalarSource<u32>(w, i.op[1]);
  return Step::kNext;
}
Step ConditionalMask(const Instruction& i, Wave& w) {
  const Reader<u32> no(w, i.op[1]), yes(w, i.op[2]);
  const u64 mask = w.Pair(i.op[3].reg);
  const Writer<u32> out(w, i);
  ForEachLane(w, [&](unsigned lane) { out(lane, (mask >> lane & 1) != 0 ? yes(lane) : no(lane)); });
  return Step::kNext;
}
// How many bits of the mask belong to the lanes below this one.
template <bool high>
Step CountBelow(const Instruction& i, Wave& w) {
  const Reader<u32> mask(w, i.op[1]), start(w, i.op[2]);
  const Writer<u32> out(w, i);
  ForEachLane(w, [&](unsigned lane) {
    const u64 below = (u64{1} << lane) - 1;
    const u32 half = static_cast<u32>(high ? below >> 32 : below);
    out(lane, static_cast<u32>(std::popcount(mask(lane) & half)) + start(lane));
  });
  return Step::kNext;
}
Step Swap(const Instruction& i, Wave& w) {
  ForEachLane(
      w, [&](unsigned lane) { std::swap(w.vgpr[i.op[0].reg][lane], w.vgpr[i.op[1].reg][lane]); });
  return Step::kNext;
}
Step Nothing(const Instruction&, Wave&) { return Step::kNext; }

constexpr Opcode kOpcodes[] = {
    {"v_readfirstlane_b32", ReadFirstLane},
    {"v_readlane_b32", ReadLane},
    {"v_writelane_b32", WriteLane},
    {"v_cndmask_b32", ConditionalMask},
    {"v_mbcnt_lo_u32_b32", CountBelow<false>},
    {"v_mbcnt_hi_u32_b32", CountBelow<true>},
    {"v_swap_b32", Swap},
    {"v_nop", Nothing},
};

}  // namespace

std::span<const Opcode> VectorLaneOpcodes() { return kOpcodes; }

}  // namespace virtual_gpu::isa

// scalar_flow_ops.cc: branches, waits, and the loads of the scalar unit.
#include "opcodes.h"
#include "wave.h"

namespace virtual_gpu::isa {
namespace {

Step Nothing(const Instruction&, Wave&) { return Step::kNext; }
Step End(const Instruction&, Wave&) { return Step::kEnd; }
Step Barrier(const Instruction&, Wave&) { return Step::kBarrier; }

// llvm.trap (abort, assert) is trap 2; llvm.debugtrap, 3, is nothing without a debugger.
Step Trap(const Instruction& i, Wave&) { return i.op[0].bits == 2 ? Step::kAbort : Step::kNext; }
bool IsKnownTrap(const Instruction& i) { return i.op[0].bits == 2 || i.op[0].bits == 3; }

// Targets count words from behind the branch.
Step Jump(const Instruction& i, Wave& w, const Operand& words) {
  w.pc += i.bytes + static_cast<u64>(i64{static_cast<i16>(words.bits)} * 4);
  return Step::kJump;
}
template <auto Taken>
Step Branch(const Instruction& i, Wave& w) {
  return Taken(w) ? Jump(i, w, i.op[0]) : Step::kNext;
}
Step GetPc(const Instruction& i, Wave& w) {
  w.SetPair(i.op[0].reg, w.pc + i.bytes);
  return Step::kNext;
}
Step SetPc(const Instruction& i, Wave& w) {
  w.pc = w.Pair(i.op[0].reg);
  return Step::kJump;
}
Step SwapPc(const Instruction& i, Wave& w) {
  const u64 to = w.Pair(i.op[1].reg);
  w.SetPair(i.op[0].reg, w.pc + i.bytes);
  w.pc = to;
  return Step::kJump;
}
Step Call(const Instruction& i, Wave& w) {
  w.SetPair(i.op[0].reg, w.pc + i.bytes);
  return Jump(i, w, i.op[1]);
}

// HW_ID has the SE and the CU, XCC_ID the XCC (prepared with the wave).
Step GetRegister(const Instruction& i, Wave& w) {
  w.asked_place = true;
  if (!w.has_place) return Step::kNoPlace;
  const u64 value = i.hwreg == kHwId ? w.hw_id : w.xcc_id;
  w.sgpr[i.op[0].reg] = static_cast<u32>(value >> i.hwreg_from & ((u64{1} << i.hwreg_bits) - 1));
  return Step::kNext;
}
bool SaysWhere(const Instruction& i) { return i.hwreg == kHwId || i.hwreg == kXccId; }

// Denormals of 32-bit floats: they are always kept here.
bool IsDenormalMode(const Instruction& i) {
  return i.text.find("hwreg(HW_REG_MODE, 4, 2)") != std::string::npos;
}

// op: destination, base pair, offset; the offset may be a register, a number, or both.
template <unsigned words>
Step Load(const Instruction& i, Wave& w) {
  const u64 offset =
      i.op[2].kind == Operand::Kind::kSgpr ? w.sgpr[i.op[2].reg] : static_cast<u64>(i.op[2].bits);
  const u64 at = (w.Pair(i.op[1].reg) + offset + static_cast<u64>(i.offset)) & ~u64{3};
  u32 data[words];
  if (!w.memory->Load(at, data, sizeof(data))) {
    w.fault_address = at;
    return Step::kMemoryFault;
  }
  for (unsigned n = 0; n < words; ++n) w.sgpr[i.op[0].reg + n] = data[n];
  return Step::kNext;
}
bool FitsRegisters(const Instruction& i) {
  return i.op[0].reg + 16u <= kSgprs || i.op[0].reg < 112;
}

// An instruction of a wave of 64 takes four cycles of a 16-lane SIMD.
constexpr u64 kCycles = 4;
// What clock() shows.
Step Clock(const Instruction& i, Wave& w) {
  w.SetPair(i.op[0].reg, (w.executed + w.slept) * kCycles);
  return Step::kNext;
}
// 64 cycles for each unit.
Step Sleep(const Instruction& i, Wave& w) {
  w.slept += static_cast<u64>(i.op[0].bits & 0x7f) * 64 / kCycles;
  return Step::kNext;
}

constexpr Opcode kFlow[] = {
    {"s_branch", Branch<([](const Wave&) { return true; })>},
    {"s_cbranch_scc0", Branch<([](const Wave& w) { return !w.scc; })>},
    {"s_cbranch_scc1", Branch<([](const Wave& w) { return w.scc; })>},
    {"s_cbranch_vccz", Branch<([](const Wave& w) { return w.Pair(kVcc) == 0; })>},
    {"s_cbranch_vccnz", Branch<([](const Wave& w) { return w.Pair(kVcc) != 0; })>},
    {"s_cbranch_execz", Branch<([](const Wave& w) { return w.exec() == 0; })>},
    {"s_cbranch_execnz", Branch<([](const Wave& w) { return w.exec() != 0; })>},
    {"s_getpc_b64", GetPc},
    {"s_setpc_b64", SetPc},
    {"s_swappc_b64", SwapPc},
    {"s_call_b64", Call},
    {"s_barrier", Barrier},
    {"s_endpgm", End},
    {"s_endpgm_saved", End},
    {"s_waitcnt", Nothing},
    {"s_nop", Nothing},
    {"s_sleep", Sleep},
    {"s_trap", Trap, IsKnownTrap},
    {"s_setprio", Nothing},
    {"s_icache_inv", Nothing},
    {"s_setreg_imm32_b32", Nothing, IsDenormalMode},
    {"s_getreg_b32", GetRegister, SaysWhere},
    {"buffer_wbl2", Nothing},
    {"buffer_invl2", Nothing},
    {"buffer_wbinvl1", Nothing},
    {"buffer_wbinvl1_vol", Nothing},
    {"buffer_inv", Nothing},
};

constexpr Opcode kLoads[] = {
    {"s_load_dword", Load<1>},
    {"s_load_dwordx2", Load<2>},
    {"s_load_dwordx4", Load<4>, FitsRegisters},
    {"s_load_dwordx8", Load<8>, FitsRegisters},
    {"s_load_dwordx16", Load<16>, FitsRegisters},
    {"s_dcache_inv", Nothing},
    {"s_dcache_wb", Nothing},
    {"s_memtime", Clock},
};

}  // namespace

std::span<const Opcode> ScalarFlowOpcodes() { return kFlow; }
std::span<const Opcode> ScalarMemoryOpcodes() { return kLoads; }

}  // namespace virtual_gpu::isa

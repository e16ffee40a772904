// isa_test.cc: instructions by their text, on a wave of ours; and the list of them in the document.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "disassembler.h"
#include "opcodes.h"
#include "wave.h"

namespace virtual_gpu::isa {
namespace {

// Memory of 4096 bytes from kBase; all else is not mapped.
class TestMemory final : public MemoryPort {
 public:
  static constexpr u64 kBase = 0x7f0000001000;
  bool Load(u64 va, void* to, u32 bytes) override {
    if (!Holds(va, bytes)) return false;
    std::memcpy(to, bytes_ + (va - kBase), bytes);
    return true;
  }
  bool Store(u64 va, const void* from, u32 bytes) override {
    if (!Holds(va, bytes)) return false;
    std::memcpy(bytes_ + (va - kBase), from, bytes);
    return true;
  }
  bool Atomic(u64 va, u32 bytes, AtomicStep step, u64 operand, u64 compare, u64* old) override {
    *old = 0;
    if (!Load(va, old, bytes)) return false;
    const u64 value = step(*old, operand, compare);
    return Store(va, &value, bytes);
  }
  u32 Word(u64 offset) {
    u32 value = 0;
    Load(kBase + offset, &value, sizeof(value));
    return value;
  }

 private:
  static bool Holds(u64 va, u32 bytes) { return va >= kBase && va + bytes <= kBase + 4096; }
  std::byte bytes_[4096] = {};
};

class IsaTest : public testing::Test {
 protected:
  IsaTest() {
    wave_.vgpr.resize(64 + kVgprSlack);
    wave_.SetPair(kExec, ~u64{0});
    wave_.lds = &lds_;
    wave_.memory = &memory_;
  }
  Step Run(const std::string& text) {
    Instruction instruction;
    EXPECT_TRUE(Parse(text, &instruction)) << text << ": " << instruction.why;
    return instruction.run == nullptr ? Step::kEnd : instruction.run(instruction, wave_);
  }
  static std::string WhyNot(const std::string& text) {
    Instruction instruction;
    EXPECT_FALSE(Parse(text, &instruction)) << text;
    EXPECT_EQ(instruction.run, nullptr);
    return instruction.why;
  }
  void SetLanes(unsigned reg, u32 first, u32 step) {
    for (unsigned lane = 0; lane < kLanes; ++lane) wave_.vgpr[reg][lane] = first + lane * step;
  }
  void SetFloat(unsigned reg, float value) {
    for (u32& lane : wave_.vgpr[reg]) lane = std::bit_cast<u32>(value);
  }
  u32 Lane(unsigned reg, unsigned lane = 3) { return wave_.vgpr[reg][lane]; }
  float FloatLane(unsigned reg) { return std::bit_cast<float>(Lane(reg)); }

  std::vector<std::byte> lds_{256};
  TestMemory memory_;
  Wave wave_;
};

TEST_F(IsaTest, TableIsTheOneInTheDocument) {
  std::ifstream file(VIRTUAL_GPU_ISA_DOCUMENT);
  ASSERT_TRUE(file) << VIRTUAL_GPU_ISA_DOCUMENT;
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_NE(text.str().find(OpcodeTable()), std::string::npos)
      << "docs/hip.md must hold this table:\n"
      << OpcodeTable();
}

TEST_F(IsaTest, NoInstructionIsInTheTableTwice) {
  std::map<std::string, int> seen;
  for (const OpcodeGroup& group : AllOpcodes()) {
    for (const Opcode& opcode : group.opcodes) EXPECT_EQ(++seen[opcode.name], 1) << opcode.name;
  }
}

TEST_F(IsaTest, ScalarAddCarriesIntoTheHighHalf) {
  wave_.SetPair(2, 0xffffffffull);
  Run("s_add_u32 s4, s2, 2");
  Run("s_addc_u32 s5, s3, 0");
  EXPECT_EQ(wave_.Pair(4), 0x100000001ull);
  Run("s_sub_u32 s4, s4, 2");
  Run("s_subb_u32 s5, s5, 0");
  EXPECT_EQ(wave_.Pair(4), 0xffffffffull);
}

TEST_F(IsaTest, ScalarLogicSetsScc) {
  wave_.sgpr[1] = 0xf0;
  Run("s_and_b32 s0, s1, 15");
  EXPECT_FALSE(wave_.scc);
  Run("s_bfe_u32 s0, s1, 0x40004");
  EXPECT_EQ(wave_.sgpr[0], 0xfu);
  EXPECT_TRUE(wave_.scc);
  Run("s_cmp_lt_i32 s1, -1");
  EXPECT_FALSE(wave_.scc);
  Run("s_cselect_b32 s0, 1, 0.5");
  EXPECT_EQ(wave_.sgpr[0], 0x3f000000u);
  Run("s_movk_i32 s0, 0xfffe");
  EXPECT_EQ(static_cast<i32>(wave_.sgpr[0]), -2);
}

TEST_F(IsaTest, BranchCountsWordsFromBehindItself) {
  wave_.pc = 0x1000;
  wave_.scc = true;
  EXPECT_EQ(Run("s_cbranch_scc1 65534"), Step::kJump);
  EXPECT_EQ(wave_.pc, 0x1000u + 4 - 8);
  EXPECT_EQ(Run("s_cbranch_scc0 4"), Step::kNext);
}

TEST_F(IsaTest, FrexpSplitsADouble) {
  const auto split = [&](double value) {
    const u64 bits = std::bit_cast<u64>(value);
    SetLanes(0, static_cast<u32>(bits), 0);
    SetLanes(1, static_cast<u32>(bits >> 32), 0);
    Run("v_frexp_mant_f64_e32 v[2:3], v[0:1]");
    Run("v_frexp_exp_i32_f64_e32 v4, v[0:1]");
    return std::bit_cast<double>(u64{Lane(3)} << 32 | Lane(2));
  };
  EXPECT_EQ(split(-12.5), -0.78125);
  EXPECT_EQ(Lane(4), 4u);
  EXPECT_EQ(split(0x1p-1074), 0.5);
  EXPECT_EQ(static_cast<i32>(Lane(4)), -1073);
  EXPECT_EQ(split(HUGE_VAL), HUGE_VAL);
  EXPECT_EQ(Lane(4), 0u);
}

TEST_F(IsaTest, LanesThatAreOffKeepTheirValue) {
  SetLanes(0, 0, 1);
  wave_.SetPair(kExec, 0x8);
  Run("v_add_u32_e32 v0, 100, v0");
  EXPECT_EQ(Lane(0, 3), 103u);
  EXPECT_EQ(Lane(0, 4), 4u);
}

TEST_F(IsaTest, CompareMasksLanesAndSaveExecNarrows) {
  SetLanes(0, 0, 1);
  Run("v_cmp_gt_u32_e32 vcc, 8, v0");
  EXPECT_EQ(wave_.Pair(kVcc), 0xffu);
  Run("s_and_saveexec_b64 s[0:1], vcc");
  EXPECT_EQ(wave_.Pair(0), ~u64{0});
  EXPECT_EQ(wave_.exec(), 0xffu);
  Run("s_andn2_saveexec_b64 s[2:3], s[0:1]");
  EXPECT_EQ(wave_.exec(), ~u64{0xff});
}

TEST_F(IsaTest, VectorCarryGoesThroughVcc) {
  SetLanes(0, 0xfffffff0, 8);
  Run("v_add_co_u32_e32 v2, vcc, 16, v0");
  Run("v_addc_co_u32_e32 v3, vcc, 0, v1, vcc");
  EXPECT_EQ(Lane(2, 1), 8u);
  EXPECT_EQ(Lane(3, 1), 1u);
  EXPECT_EQ(Lane(2, 0), 0u);
  EXPECT_EQ(Lane(3, 0), 1u);
  EXPECT_EQ(Lane(2, 2), 16u);
  EXPECT_EQ(Lane(3, 2), 0u);
}

TEST_F(IsaTest, WideMultiplyAdds) {
  SetLanes(0, 0xffffffff, 0);
  SetLanes(2, 7, 0);
  Run("v_mad_u64_u32 v[4:5], s[0:1], v0, v0, v[2:3]");
  EXPECT_EQ(Lane(4), 8u);
  EXPECT_EQ(Lane(5), 0xfffffffeu);
}

TEST_F(IsaTest, FloatsHaveSignsMagnitudesAndClamp) {
  SetFloat(0, -3.0f);
  SetFloat(1, 2.0f);
  Run("v_add_f32_e64 v2, |v0|, -v1");
  EXPECT_EQ(FloatLane(2), 1.0f);
  Run("v_mul_f32_e64 v2, v1, 4.0 clamp");
  EXPECT_EQ(FloatLane(2), 1.0f);
  Run("v_fma_f32 v2, v0, v1, 0.5");
  EXPECT_EQ(FloatLane(2), -5.5f);
  Run("v_cvt_u32_f32_e32 v2, v0");
  EXPECT_EQ(Lane(2), 0u) << "saturates";
  Run("v_mul_f32_e32 v2, 0x42c80000, v1");
  EXPECT_EQ(FloatLane(2), 200.0f);
}

TEST_F(IsaTest, DivisionEndsInTheQuotient) {
  SetFloat(0, 1.0f);
  SetFloat(1, 3.0f);
  Run("v_div_scale_f32 v2, s[0:1], v1, v1, v0");
  Run("v_div_fmas_f32 v2, v2, v2, v2");
  Run("v_div_fixup_f32 v2, v2, v1, v0");
  EXPECT_EQ(FloatLane(2), 1.0f / 3.0f);
}

TEST_F(IsaTest, PackedFloatsPickTheirHalves) {
  SetFloat(0, 1.0f);
  SetFloat(1, 2.0f);
  SetFloat(2, 10.0f);
  SetFloat(3, 20.0f);
  Run("v_pk_add_f32 v[4:5], v[0:1], v[2:3]");
  EXPECT_EQ(FloatLane(4), 11.0f);
  EXPECT_EQ(FloatLane(5), 22.0f);
  Run("v_pk_mul_f32 v[4:5], v[0:1], v[2:3] op_sel:[1,0] op_sel_hi:[0,1] neg_hi:[1,0]");
  EXPECT_EQ(FloatLane(4), 20.0f);
  EXPECT_EQ(FloatLane(5), -20.0f);
  Run("v_pk_mov_b32 v[4:5], v[0:1], v[2:3] op_sel:[1,0]");
  EXPECT_EQ(FloatLane(4), 2.0f);
  EXPECT_EQ(FloatLane(5), 10.0f);
  Run("v_mov_b64 v[6:7], v[2:3]");
  EXPECT_EQ(FloatLane(6), 10.0f);
  EXPECT_EQ(FloatLane(7), 20.0f);
}

TEST_F(IsaTest, SubWordSelectsTakeAndPlaceParts) {
  SetLanes(0, 0x12345678, 0);
  SetLanes(1, 0xffffffff, 0);
  Run("v_add_u32_sdwa v1, v0, v0 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:BYTE_1 "
      "src1_sel:WORD_1");
  EXPECT_EQ(Lane(1), 0x56u + 0x1234u);
  SetLanes(1, 0xffffffff, 0);
  Run("v_and_b32_sdwa v1, v0, v0 dst_sel:BYTE_2 dst_unused:UNUSED_PRESERVE src0_sel:BYTE_0 "
      "src1_sel:DWORD");
  EXPECT_EQ(Lane(1), 0xff78ffffu);
}

TEST_F(IsaTest, LanesTalkThroughScalarsAndLds) {
  SetLanes(0, 100, 1);
  wave_.SetPair(kExec, 0xf0);
  Run("v_readfirstlane_b32 s0, v0");
  EXPECT_EQ(wave_.sgpr[0], 104u);
  wave_.SetPair(kExec, ~u64{0});
  Run("v_readlane_b32 s0, v0, 9");
  EXPECT_EQ(wave_.sgpr[0], 109u);
  SetLanes(1, 4, 4);  // each the next lane's
  Run("ds_bpermute_b32 v2, v1, v0");
  EXPECT_EQ(Lane(2, 3), 104u);
  EXPECT_EQ(Lane(2, 63), 100u);
  Run("v_mbcnt_lo_u32_b32 v3, -1, 0");
  Run("v_mbcnt_hi_u32_b32 v3, -1, v3");
  EXPECT_EQ(Lane(3, 40), 40u);
}

TEST_F(IsaTest, LdsHoldsWhatIsInIt) {
  SetLanes(0, 0, 4);
  SetLanes(1, 7, 3);
  Run("ds_write_b32 v0, v1");
  SetLanes(2, 8, 0);
  Run("ds_read2_b32 v[4:5], v2 offset0:0 offset1:2");
  EXPECT_EQ(Lane(4), 13u);
  EXPECT_EQ(Lane(5), 19u);
  Run("ds_add_rtn_u32 v6, v2, v2");
  EXPECT_EQ(Lane(6, 0), 13u);
  EXPECT_EQ(Lane(6, 63), 13u + 63 * 8);
  SetLanes(2, 0x10000, 0);
  Run("ds_read_b32 v4, v2");
  EXPECT_EQ(Lane(4), 0u) << "outside";
}

TEST_F(IsaTest, MemoryGoesByLaneAndByBase) {
  wave_.SetPair(0, TestMemory::kBase);
  SetLanes(0, 0, 4);
  SetLanes(1, 1000, 1);
  EXPECT_EQ(Run("global_store_dword v0, v1, s[0:1] offset:16"), Step::kNext);
  EXPECT_EQ(memory_.Word(16 + 4 * 5), 1005u);
  EXPECT_EQ(Run("s_load_dwordx2 s[4:5], s[0:1], 0x10"), Step::kNext);
  EXPECT_EQ(wave_.sgpr[5], 1001u);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    wave_.vgpr[2][lane] = static_cast<u32>(TestMemory::kBase) + 16 + 4 * (63 - lane);
    wave_.vgpr[3][lane] = static_cast<u32>(TestMemory::kBase >> 32);
  }
  EXPECT_EQ(Run("global_load_dword v4, v[2:3], off"), Step::kNext);
  EXPECT_EQ(Lane(4, 0), 1063u);
  EXPECT_EQ(Run("flat_load_sbyte v4, v[2:3] offset:1"), Step::kNext);
  EXPECT_EQ(Lane(4, 0), 4u);
}

TEST_F(IsaTest, PrivateMemoryWithoutABufferIsALanesOwnAndHasItsEnd) {
  wave_.scratch_lane_bytes = 32;
  wave_.scratch.resize(32 * kLanes);
  SetLanes(0, 100, 1);
  SetLanes(1, 200, 1);
  SetLanes(4, 4, 0);
  wave_.sgpr[7] = 8;
  EXPECT_EQ(Run("scratch_store_dwordx2 off, v[0:1], off offset:16"), Step::kNext);
  EXPECT_EQ(Run("scratch_load_dword v2, v4, s7 offset:8"), Step::kNext);
  EXPECT_EQ(Lane(2), 203u);
  EXPECT_EQ(Lane(2, 5), 205u);
  EXPECT_EQ(Run("scratch_store_byte v4, v0, off"), Step::kNext);
  EXPECT_EQ(Run("scratch_load_ubyte v2, off, s7 offset:-4"), Step::kNext);
  EXPECT_EQ(Lane(2), 103u);
  EXPECT_EQ(Run("scratch_load_dwordx2 v[2:3], off, off offset:28"), Step::kMemoryFault);
  EXPECT_EQ(Run("scratch_store_dword off, v0, off offset:32"), Step::kMemoryFault);
}

TEST_F(IsaTest, PrivateMemoryIsALanesOwn) {
  wave_.scratch_lane_bytes = 16;
  wave_.scratch.resize(16 * kLanes);
  SetLanes(0, 500, 1);
  SetLanes(1, 4, 0);
  Run("buffer_store_dword v0, off, s[0:3], 0");
  Run("buffer_store_dword v1, off, s[0:3], 0 offset:16");  // outside: dropped
  Run("buffer_load_dword v2, off, s[0:3], 0");
  EXPECT_EQ(Lane(2, 9), 509u);
  Run("buffer_store_dword v0, v1, s[0:3], 0 offen offset:4");
  Run("buffer_load_ushort v2, off, s[0:3], 0 offset:8");
  EXPECT_EQ(Lane(2, 9), 509u);
  Run("buffer_load_dword v2, off, s[0:3], 0 offset:16");
  EXPECT_EQ(Lane(2, 9), 0u) << "outside";
  EXPECT_EQ(WhyNot("buffer_load_dword v2, off, s[0:3], s32 offset:8"), "this form of it");
}

TEST_F(IsaTest, EveryLaneOfAnAtomicCounts) {
  wave_.SetPair(0, TestMemory::kBase);
  SetLanes(0, 0, 0);
  SetLanes(1, 2, 0);
  Run("global_atomic_add v0, v1, s[0:1]");
  EXPECT_EQ(memory_.Word(0), 128u);
  Run("global_atomic_add v2, v0, v1, s[0:1] glc");
  EXPECT_EQ(Lane(2, 63), 128u + 126);
  SetLanes(2, 77, 0);   // new
  SetLanes(3, 256, 0);  // expected
  Run("global_atomic_cmpswap v0, v[2:3], s[0:1]");
  EXPECT_EQ(memory_.Word(0), 77u);
}

TEST_F(IsaTest, AnAddressThatIsNotMappedFaults) {
  SetLanes(0, 0x1000, 0);
  SetLanes(1, 0, 0);
  EXPECT_EQ(Run("global_load_dword v2, v[0:1], off"), Step::kMemoryFault);
  EXPECT_EQ(wave_.fault_address, 0x1000u);
}

TEST_F(IsaTest, ATrapAbortsUnlessItIsForADebugger) {
  EXPECT_EQ(Run("s_trap 2"), Step::kAbort);
  EXPECT_EQ(Run("s_trap 3"), Step::kNext);
  EXPECT_EQ(WhyNot("s_trap 1"), "this form of it");
}

TEST_F(IsaTest, AWaveReadsWhereItRuns) {
  EXPECT_EQ(Run("s_getreg_b32 s3, hwreg(HW_REG_HW_ID)"), Step::kNoPlace);
  EXPECT_TRUE(wave_.asked_place);
  wave_.has_place = true;
  wave_.hw_id = 2 << 4 | 9 << 8 | 5 << 13;
  wave_.xcc_id = 3;
  Run("s_getreg_b32 s3, hwreg(HW_REG_HW_ID)");
  EXPECT_EQ(wave_.sgpr[3], wave_.hw_id);
  Run("s_getreg_b32 s3, hwreg(HW_REG_HW_ID, 8, 4)");
  EXPECT_EQ(wave_.sgpr[3], 9u);
  Run("s_getreg_b32 s3, hwreg(HW_REG_HW_ID, 13, 3)");
  EXPECT_EQ(wave_.sgpr[3], 5u);
  Run("s_getreg_b32 s3, hwreg(20)");
  EXPECT_EQ(wave_.sgpr[3], 3u);
  Run("s_getreg_b32 s3, hwreg(HW_REG_XCC_ID, 0, 4)");
  EXPECT_EQ(wave_.sgpr[3], 3u);
  EXPECT_EQ(WhyNot("s_getreg_b32 s3, hwreg(5)"), "this form of it");
  EXPECT_EQ(WhyNot("s_getreg_b32 s3, hwreg(HW_REG_HW_ID, 8, 32)"),
            "'hwreg(HW_REG_HW_ID, 8, 32)' in it");
  EXPECT_EQ(WhyNot("s_getreg_b32 s3, hwreg(HW_REG_MODE, 4, 2)"),
            "'hwreg(HW_REG_MODE, 4, 2)' in it");
}

TEST_F(IsaTest, WhatIsNotCoveredSaysWhatItIs) {
  EXPECT_EQ(WhyNot("v_mfma_f32_32x32x1f32 a[0:31], v0, v1, a[0:31]"), "the instruction");
  EXPECT_EQ(WhyNot("v_add_u32_e64 v0, v1, a2"), "'a2' in it");
  EXPECT_EQ(WhyNot("v_add_f32_e64 v0, v1, v2 mul:2"), "'mul:2' in it");
  EXPECT_EQ(WhyNot("v_add_u32_e64 v0, v1, v2 clamp"), "'clamp' in it");
  EXPECT_EQ(WhyNot("v_readlane_b32_sdwa s0, v1, v2"), "the instruction");
  EXPECT_EQ(WhyNot("s_setreg_imm32_b32 hwreg(HW_REG_MODE, 0, 2), 1"), "this form of it");
}

TEST_F(IsaTest, LlvmDecodesWhatIsThere) {
  std::string why, text;
  const auto disassembler = Disassembler::Open("gfx90a", &why);
  ASSERT_NE(disassembler, nullptr) << why;
  const std::uint8_t code[] = {0x00, 0x00, 0x81, 0xbf, 0, 0, 0, 0};  // s_endpgm
  EXPECT_EQ(disassembler->Decode(code, sizeof(code), &text), 4u);
  EXPECT_NE(text.find("s_endpgm"), std::string::npos) << text;
  const std::uint8_t nonsense[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  EXPECT_EQ(disassembler->Decode(nonsense, sizeof(nonsense), &text), 0u) << text;
}

}  // namespace
}  // namespace virtual_gpu::isa

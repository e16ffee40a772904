// scalar_ops.cc: the scalar unit's arithmetic.
#include <bit>
#include <cstdlib>

#include "opcodes.h"
#include "wave.h"

namespace virtual_gpu::isa {
namespace {

template <typename T>
void Put(Wave& w, const Operand& to, T value) {
  const u64 bits = ToBits(value);
  if constexpr (sizeof(T) == 8)
    w.SetPair(to.reg, bits);
  else
    w.sgpr[to.reg] = static_cast<u32>(bits);
}

// What becomes of SCC.
enum class Scc { kKept, kNonZero };

template <typename Lambda>
struct ScalarSignature;
template <typename C, typename R, typename... A>
struct ScalarSignature<R (C::*)(A...) const> {
  template <auto F, Scc scc, unsigned first, std::size_t... N>
  static Step Run(const Instruction& i, Wave& w, std::index_sequence<N...>) {
    const R value = F(ScalarSource<A>(w, i.op[N + first])...);
    Put(w, i.op[0], value);
    if constexpr (scc == Scc::kNonZero) w.scc = value != 0;
    return Step::kNext;
  }
  template <auto F, Scc scc, unsigned first>
  static Step Handle(const Instruction& i, Wave& w) {
    return Run<F, scc, first>(i, w, std::index_sequence_for<A...>());
  }
  template <auto F, std::size_t... N>
  static void Test(const Instruction& i, Wave& w, std::index_sequence<N...>) {
    w.scc = F(ScalarSource<A>(w, i.op[N])...);
  }
  template <auto F>
  static Step Compare(const Instruction& i, Wave& w) {
    Test<F>(i, w, std::index_sequence_for<A...>());
    return Step::kNext;
  }
};
template <auto F>
using SignatureOf = ScalarSignature<decltype(&decltype(F)::operator())>;
template <auto F>
inline constexpr Handler kPlain = &SignatureOf<F>::template Handle<F, Scc::kKept, 1>;
template <auto F>
inline constexpr Handler kLogic = &SignatureOf<F>::template Handle<F, Scc::kNonZero, 1>;
template <auto F>  // op[0] = F(op[0], op[1])
inline constexpr Handler kOnto = &SignatureOf<F>::template Handle<F, Scc::kKept, 0>;
template <auto F>
inline constexpr Handler kTest = &SignatureOf<F>::template Compare<F>;

// F also says what SCC becomes.
template <auto F>
Step Carry(const Instruction& i, Wave& w) {
  bool scc = w.scc;
  w.sgpr[i.op[0].reg] = F(ScalarSource<u32>(w, i.op[1]), ScalarSource<u32>(w, i.op[2]), &scc);
  w.scc = scc;
  return Step::kNext;
}

u32 AddU(u32 a, u32 b, bool* scc) {
  const u64 sum = u64{a} + b;
  *scc = sum >> 32 != 0;
  return static_cast<u32>(sum);
}
u32 AddCarry(u32 a, u32 b, bool* scc) {
  const u64 sum = u64{a} + b + (*scc ? 1 : 0);
  *scc = sum >> 32 != 0;
  return static_cast<u32>(sum);
}
u32 SubU(u32 a, u32 b, bool* scc) {
  *scc = b > a;
  return a - b;
}
u32 SubBorrow(u32 a, u32 b, bool* scc) {
  const u64 minus = u64{b} + (*scc ? 1 : 0);
  *scc = minus > a;
  return static_cast<u32>(a - minus);
}
u32 AddI(u32 a, u32 b, bool* scc) {
  i32 sum;
  *scc = __builtin_add_overflow(static_cast<i32>(a), static_cast<i32>(b), &sum);
  return a + b;
}
u32 SubI(u32 a, u32 b, bool* scc) {
  i32 difference;
  *scc = __builtin_sub_overflow(static_cast<i32>(a), static_cast<i32>(b), &difference);
  return a - b;
}
template <unsigned shift>
u32 ShiftAdd(u32 a, u32 b, bool* scc) {
  const u64 sum = (u64{a} << shift) + b;
  *scc = sum >> 32 != 0;
  return static_cast<u32>(sum);
}
template <typename T, bool larger>
Step Extreme(const Instruction& i, Wave& w) {
  const T a = ScalarSource<T>(w, i.op[1]), b = ScalarSource<T>(w, i.op[2]);
  w.scc = larger ? a > b : a < b;
  Put(w, i.op[0], w.scc ? a : b);
  return Step::kNext;
}
template <typename T>
Step Select(const Instruction& i, Wave& w) {
  Put(w, i.op[0], ScalarSource<T>(w, i.op[w.scc ? 1 : 2]));
  return Step::kNext;
}
template <typename T>
Step MoveIf(const Instruction& i, Wave& w) {
  if (w.scc) Put(w, i.op[0], ScalarSource<T>(w, i.op[1]));
  return Step::kNext;
}
// The half-word immediates are printed with or without their sign.
u32 Immediate16(const Operand& o) { return static_cast<u32>(i32{static_cast<i16>(o.bits)}); }
Step MoveK(const Instruction& i, Wave& w) {
  w.sgpr[i.op[0].reg] = Immediate16(i.op[1]);
  return Step::kNext;
}
Step AddK(const Instruction& i, Wave& w) {
  bool scc = false;
  w.sgpr[i.op[0].reg] = AddI(w.sgpr[i.op[0].reg], Immediate16(i.op[1]), &scc);
  w.scc = scc;
  return Step::kNext;
}
Step MulK(const Instruction& i, Wave& w) {
  w.sgpr[i.op[0].reg] *= Immediate16(i.op[1]);
  return Step::kNext;
}
template <auto F>
Step CompareK(const Instruction& i, Wave& w) {
  w.scc = F(static_cast<i32>(w.sgpr[i.op[0].reg]), static_cast<i32>(Immediate16(i.op[1])));
  return Step::kNext;
}
template <auto F>
Step CompareUnsignedK(const Instruction& i, Wave& w) {
  w.scc = F(w.sgpr[i.op[0].reg], static_cast<u32>(static_cast<u16>(i.op[1].bits)));
  return Step::kNext;
}
template <auto F>
Step SaveExec(const Instruction& i, Wave& w) {
  const u64 exec = w.exec(), with = ScalarSource<u64>(w, i.op[1]);
  w.SetPair(kExec, F(with, exec));
  w.SetPair(i.op[0].reg, exec);
  w.scc = w.exec() != 0;
  return Step::kNext;
}
template <auto F>
Step WriteExec(const Instruction& i, Wave& w) {
  const u64 exec = w.exec(), with = ScalarSource<u64>(w, i.op[1]);
  w.SetPair(kExec, F(with, exec));
  w.SetPair(i.op[0].reg, w.exec());
  w.scc = w.exec() != 0;
  return Step::kNext;
}

template <typename T>
T BitField(T value, u32 packed) {
  const unsigned width = (packed >> 16) & 0x7f, all = sizeof(T) * 8;
  const unsigned from = packed & (all - 1);
  if (width == 0) return 0;
  using U = std::make_unsigned_t<T>;
  if (from + width >= all) return static_cast<T>(value >> from);
  return static_cast<T>(static_cast<T>(static_cast<U>(value) << (all - width - from)) >>
                        (all - width));
}
template <typename T>
u32 FirstOne(T value) {
  return value == 0 ? ~0u : static_cast<u32>(std::countr_zero(value));
}
template <typename T>
u32 LeadingZeros(T value) {
  return value == 0 ? ~0u : static_cast<u32>(std::countl_zero(value));
}
u32 LeadingSigns(u32 value) {
  const u32 flipped = static_cast<i32>(value) < 0 ? ~value : value;
  return LeadingZeros(flipped);
}
u32 ReverseBits(u32 v) {
  u32 out = 0;
  for (unsigned bit = 0; bit < 32; ++bit) out |= (v >> bit & 1u) << (31 - bit);
  return out;
}
u32 MulHighSigned(u32 a, u32 b) {
  return static_cast<u32>(static_cast<u64>(i64{static_cast<i32>(a)} * static_cast<i32>(b)) >> 32);
}

constexpr Opcode kScalar[] = {
    {"s_mov_b32", kPlain<([](u32 a) -> u32 { return a; })>},
    {"s_mov_b64", kPlain<([](u64 a) -> u64 { return a; })>},
    {"s_cmov_b32", MoveIf<u32>},
    {"s_cmov_b64", MoveIf<u64>},
    {"s_movk_i32", MoveK},
    {"s_addk_i32", AddK},
    {"s_mulk_i32", MulK},
    {"s_add_u32", Carry<AddU>},
    {"s_addc_u32", Carry<AddCarry>},
    {"s_sub_u32", Carry<SubU>},
    {"s_subb_u32", Carry<SubBorrow>},
    {"s_add_i32", Carry<AddI>},
    {"s_sub_i32", Carry<SubI>},
    {"s_lshl1_add_u32", Carry<ShiftAdd<1>>},
    {"s_lshl2_add_u32", Carry<ShiftAdd<2>>},
    {"s_lshl3_add_u32", Carry<ShiftAdd<3>>},
    {"s_lshl4_add_u32", Carry<ShiftAdd<4>>},
    {"s_mul_i32", kPlain<([](u32 a, u32 b) -> u32 { return a * b; })>},
    {"s_mul_hi_u32",
     kPlain<([](u32 a, u32 b) -> u32 { return static_cast<u32>(u64{a} * b >> 32); })>},
    {"s_mul_hi_i32", kPlain<([](u32 a, u32 b) -> u32 { return MulHighSigned(a, b); })>},
    {"s_min_i32", Extreme<i32, false>},
    {"s_min_u32", Extreme<u32, false>},
    {"s_max_i32", Extreme<i32, true>},
    {"s_max_u32", Extreme<u32, true>},
    {"s_cselect_b32", Select<u32>},
    {"s_cselect_b64", Select<u64>},
    {"s_and_b32", kLogic<([](u32 a, u32 b) -> u32 { return a & b; })>},
    {"s_and_b64", kLogic<([](u64 a, u64 b) -> u64 { return a & b; })>},
    {"s_or_b32", kLogic<([](u32 a, u32 b) -> u32 { return a | b; })>},
    {"s_or_b64", kLogic<([](u64 a, u64 b) -> u64 { return a | b; })>},
    {"s_xor_b32", kLogic<([](u32 a, u32 b) -> u32 { return a ^ b; })>},
    {"s_xor_b64", kLogic<([](u64 a, u64 b) -> u64 { return a ^ b; })>},
    {"s_andn2_b32", kLogic<([](u32 a, u32 b) -> u32 { return a & ~b; })>},
    {"s_andn2_b64", kLogic<([](u64 a, u64 b) -> u64 { return a & ~b; })>},
    {"s_orn2_b32", kLogic<([](u32 a, u32 b) -> u32 { return a | ~b; })>},
    {"s_orn2_b64", kLogic<([](u64 a, u64 b) -> u64 { return a | ~b; })>},
    {"s_nand_b32", kLogic<([](u32 a, u32 b) -> u32 { return ~(a & b); })>},
    {"s_nand_b64", kLogic<([](u64 a, u64 b) -> u64 { return ~(a & b); })>},
    {"s_nor_b32", kLogic<([](u32 a, u32 b) -> u32 { return ~(a | b); })>},
    {"s_nor_b64", kLogic<([](u64 a, u64 b) -> u64 { return ~(a | b); })>},
    {"s_xnor_b32", kLogic<([](u32 a, u32 b) -> u32 { return ~(a ^ b); })>},
    {"s_xnor_b64", kLogic<([](u64 a, u64 b) -> u64 { return ~(a ^ b); })>},
    {"s_not_b32", kLogic<([](u32 a) -> u32 { return ~a; })>},
    {"s_not_b64", kLogic<([](u64 a) -> u64 { return ~a; })>},
    {"s_lshl_b32", kLogic<([](u32 a, u32 b) -> u32 { return a << (b & 31); })>},
    {"s_lshl_b64", kLogic<([](u64 a, u32 b) -> u64 { return a << (b & 63); })>},
    {"s_lshr_b32", kLogic<([](u32 a, u32 b) -> u32 { return a >> (b & 31); })>},
    {"s_lshr_b64", kLogic<([](u64 a, u32 b) -> u64 { return a >> (b & 63); })>},
    {"s_ashr_i32", kLogic<([](i32 a, u32 b) -> i32 { return a >> (b & 31); })>},
    {"s_ashr_i64", kLogic<([](i64 a, u32 b) -> i64 { return a >> (b & 63); })>},
    {"s_bfe_u32", kLogic<([](u32 a, u32 b) -> u32 { return BitField(a, b); })>},
    {"s_bfe_i32", kLogic<([](i32 a, u32 b) -> i32 { return BitField(a, b); })>},
    {"s_bfe_u64", kLogic<([](u64 a, u32 b) -> u64 { return BitField(a, b); })>},
    {"s_bfe_i64", kLogic<([](i64 a, u32 b) -> i64 { return BitField(a, b); })>},
    {"s_bfm_b32", kPlain<([](u32 a, u32 b) -> u32 { return ((1u << (a & 31)) - 1) << (b & 31); })>},
    {"s_bfm_b64",
     kPlain<([](u32 a, u32 b) -> u64 { return ((u64{1} << (a & 63)) - 1) << (b & 63); })>},
    {"s_brev_b32", kPlain<([](u32 a) -> u32 { return ReverseBits(a); })>},
    {"s_bcnt1_i32_b32", kLogic<([](u32 a) -> u32 { return static_cast<u32>(std::popcount(a)); })>},
    {"s_bcnt1_i32_b64", kLogic<([](u64 a) -> u32 { return static_cast<u32>(std::popcount(a)); })>},
    {"s_ff1_i32_b32", kPlain<([](u32 a) -> u32 { return FirstOne(a); })>},
    {"s_ff1_i32_b64", kPlain<([](u64 a) -> u32 { return FirstOne(a); })>},
    {"s_flbit_i32_b32", kPlain<([](u32 a) -> u32 { return LeadingZeros(a); })>},
    {"s_flbit_i32_b64", kPlain<([](u64 a) -> u32 { return LeadingZeros(a); })>},
    {"s_flbit_i32", kPlain<([](u32 a) -> u32 { return LeadingSigns(a); })>},
    {"s_sext_i32_i8", kPlain<([](u32 a) -> i32 { return static_cast<i8>(a); })>},
    {"s_sext_i32_i16", kPlain<([](u32 a) -> i32 { return static_cast<i16>(a); })>},
    {"s_abs_i32", kLogic<([](u32 a) -> u32 { return static_cast<i32>(a) < 0 ? 0u - a : a; })>},
    {"s_absdiff_i32", kLogic<([](i32 a, i32 b) -> u32 {
       return a > b ? static_cast<u32>(a) - static_cast<u32>(b)
                    : static_cast<u32>(b) - static_cast<u32>(a);
     })>},
    {"s_bitset0_b32", kOnto<([](u32 a, u32 b) -> u32 { return a & ~(1u << (b & 31)); })>},
    {"s_bitset1_b32", kOnto<([](u32 a, u32 b) -> u32 { return a | 1u << (b & 31); })>},
    {"s_pack_ll_b32_b16", kPlain<([](u32 a, u32 b) -> u32 { return (a & 0xffff) | b << 16; })>},
    {"s_pack_lh_b32_b16",
     kPlain<([](u32 a, u32 b) -> u32 { return (a & 0xffff) | (b & 0xffff0000u); })>},
    {"s_pack_hh_b32_b16",
     kPlain<([](u32 a, u32 b) -> u32 { return a >> 16 | (b & 0xffff0000u); })>},
    {"s_and_saveexec_b64", SaveExec<([](u64 a, u64 exec) -> u64 { return a & exec; })>},
    {"s_or_saveexec_b64", SaveExec<([](u64 a, u64 exec) -> u64 { return a | exec; })>},
    {"s_xor_saveexec_b64", SaveExec<([](u64 a, u64 exec) -> u64 { return a ^ exec; })>},
    {"s_andn2_saveexec_b64", SaveExec<([](u64 a, u64 exec) -> u64 { return a & ~exec; })>},
    {"s_andn1_saveexec_b64", SaveExec<([](u64 a, u64 exec) -> u64 { return ~a & exec; })>},
    {"s_orn2_saveexec_b64", SaveExec<([](u64 a, u64 exec) -> u64 { return a | ~exec; })>},
    {"s_andn2_wrexec_b64", WriteExec<([](u64 a, u64 exec) -> u64 { return a & ~exec; })>},
    {"s_andn1_wrexec_b64", WriteExec<([](u64 a, u64 exec) -> u64 { return ~a & exec; })>},
    {"s_cmp_eq_i32", kTest<([](u32 a, u32 b) -> bool { return a == b; })>},
    {"s_cmp_lg_i32", kTest<([](u32 a, u32 b) -> bool { return a != b; })>},
    {"s_cmp_gt_i32", kTest<([](i32 a, i32 b) -> bool { return a > b; })>},
    {"s_cmp_ge_i32", kTest<([](i32 a, i32 b) -> bool { return a >= b; })>},
    {"s_cmp_lt_i32", kTest<([](i32 a, i32 b) -> bool { return a < b; })>},
    {"s_cmp_le_i32", kTest<([](i32 a, i32 b) -> bool { return a <= b; })>},
    {"s_cmp_eq_u32", kTest<([](u32 a, u32 b) -> bool { return a == b; })>},
    {"s_cmp_lg_u32", kTest<([](u32 a, u32 b) -> bool { return a != b; })>},
    {"s_cmp_gt_u32", kTest<([](u32 a, u32 b) -> bool { return a > b; })>},
    {"s_cmp_ge_u32", kTest<([](u32 a, u32 b) -> bool { return a >= b; })>},
    {"s_cmp_lt_u32", kTest<([](u32 a, u32 b) -> bool { return a < b; })>},
    {"s_cmp_le_u32", kTest<([](u32 a, u32 b) -> bool { return a <= b; })>},
    {"s_cmp_eq_u64", kTest<([](u64 a, u64 b) -> bool { return a == b; })>},
    {"s_cmp_lg_u64", kTest<([](u64 a, u64 b) -> bool { return a != b; })>},
    {"s_bitcmp0_b32", kTest<([](u32 a, u32 b) -> bool { return (a >> (b & 31) & 1) == 0; })>},
    {"s_bitcmp1_b32", kTest<([](u32 a, u32 b) -> bool { return (a >> (b & 31) & 1) != 0; })>},
    {"s_bitcmp0_b64", kTest<([](u64 a, u32 b) -> bool { return (a >> (b & 63) & 1) == 0; })>},
    {"s_bitcmp1_b64", kTest<([](u64 a, u32 b) -> bool { return (a >> (b & 63) & 1) != 0; })>},
    {"s_cmpk_eq_i32", CompareK<([](i32 a, i32 b) -> bool { return a == b; })>},
    {"s_cmpk_lg_i32", CompareK<([](i32 a, i32 b) -> bool { return a != b; })>},
    {"s_cmpk_gt_i32", CompareK<([](i32 a, i32 b) -> bool { return a > b; })>},
    {"s_cmpk_ge_i32", CompareK<([](i32 a, i32 b) -> bool { return a >= b; })>},
    {"s_cmpk_lt_i32", CompareK<([](i32 a, i32 b) -> bool { return a < b; })>},
    {"s_cmpk_le_i32", CompareK<([](i32 a, i32 b) -> bool { return a <= b; })>},
    {"s_cmpk_eq_u32", CompareUnsignedK<([](u32 a, u32 b) -> bool { return a == b; })>},
    {"s_cmpk_lg_u32", CompareUnsignedK<([](u32 a, u32 b) -> bool { return a != b; })>},
    {"s_cmpk_gt_u32", CompareUnsignedK<([](u32 a, u32 b) -> bool { return a > b; })>},
    {"s_cmpk_ge_u32", CompareUnsignedK<([](u32 a, u32 b) -> bool { return a >= b; })>},
    {"s_cmpk_lt_u32", CompareUnsignedK<([](u32 a, u32 b) -> bool { return a < b; })>},
    {"s_cmpk_le_u32", CompareUnsignedK<([](u32 a, u32 b) -> bool { return a <= b; })>},
};

}  // namespace

std::span<const Opcode> ScalarOpcodes() { return kScalar; }

}  // namespace virtual_gpu::isa

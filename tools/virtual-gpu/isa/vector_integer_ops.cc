// vector_integer_ops.cc: what the vector unit does to integers and bits, each lane by itself.
#include <algorithm>
#include <bit>

#include "opcodes.h"
#include "wave.h"

namespace virtual_gpu::isa {
namespace {

// Lanes' bits in and out of a pair of scalar registers: op[1] is what comes out, op[4] goes in.
template <auto F, bool with_carry_in>
Step Carry(const Instruction& i, Wave& w) {
  const Reader<u32> a(w, i.op[2]), b(w, i.op[3]);
  const u64 carry_in = with_carry_in ? w.Pair(i.op[4].reg) : 0;
  u64 carry_out = 0;
  const Writer<u32> out(w, i);
  ForEachLane(w, [&](unsigned lane) {
    const u64 wide = F(u64{a(lane)}, u64{b(lane)}, carry_in >> lane & 1);
    out(lane, static_cast<u32>(wide));
    carry_out |= (wide >> 32 & 1) << lane;
  });
  w.SetPair(i.op[1].reg, carry_out);
  return Step::kNext;
}

template <typename Narrow, typename Wide>
Step MadWide(const Instruction& i, Wave& w) {
  const Reader<Narrow> a(w, i.op[2]), b(w, i.op[3]);
  const Reader<Wide> c(w, i.op[4]);
  const Writer<u64> out(w, i);
  u64 carry = 0;
  ForEachLane(w, [&](unsigned lane) {
    const u64 product = static_cast<u64>(Wide{a(lane)} * Wide{b(lane)});
    const u64 sum = product + static_cast<u64>(c(lane));
    carry |= u64{sum < product} << lane;
    out(lane, sum);
  });
  w.SetPair(i.op[1].reg, carry);
  return Step::kNext;
}

u32 Field(u32 value, u32 from, u32 width) {
  from &= 31;
  width &= 31;
  return width == 0 ? 0 : value >> from & ((u32{1} << width) - 1);
}
i32 SignedField(u32 value, u32 from, u32 width) {
  from &= 31;
  width &= 31;
  if (width == 0) return 0;
  if (from + width >= 32) return static_cast<i32>(value) >> from;
  return static_cast<i32>(value << (32 - from - width)) >> (32 - width);
}
i32 Signed24(u32 value) { return static_cast<i32>(value << 8) >> 8; }
u32 Unsigned24(u32 value) { return value & 0xffffff; }
u32 ReverseBits(u32 v) {
  u32 out = 0;
  for (unsigned bit = 0; bit < 32; ++bit) out |= (v >> bit & 1u) << (31 - bit);
  return out;
}
u32 Permuted(u32 a, u32 b, u32 selector) {
  const u64 bytes = u64{a} << 32 | b;
  u32 out = 0;
  for (unsigned n = 0; n < 4; ++n) {
    const u32 pick = selector >> (8 * n) & 0xff;
    u32 byte = 0xff;
    if (pick < 8)
      byte = static_cast<u32>(bytes >> (8 * pick)) & 0xff;
    else if (pick < 12)
      byte = (bytes >> (16 * (pick - 8) + 15) & 1) != 0 ? 0xff : 0;
    else if (pick == 12)
      byte = 0;
    out |= byte << (8 * n);
  }
  return out;
}
template <typename T>
T Median(T a, T b, T c) {
  return std::max(std::min(a, b), std::min(std::max(a, b), c));
}
u32 LeadingZeros(u32 v) { return v == 0 ? ~0u : static_cast<u32>(std::countl_zero(v)); }
u32 LeadingSigns(u32 v) { return LeadingZeros(static_cast<i32>(v) < 0 ? ~v : v); }
u32 TrailingZeros(u32 v) { return v == 0 ? ~0u : static_cast<u32>(std::countr_zero(v)); }

constexpr Opcode kOpcodes[] = {
    {"v_mov_b32", kLane<([](u32 a) -> u32 { return a; })>, nullptr, true},
    {"v_mov_b64", kLane<([](u64 a) -> u64 { return a; })>},
    {"v_not_b32", kLane<([](u32 a) -> u32 { return ~a; })>, nullptr, true},
    {"v_bfrev_b32", kLane<([](u32 a) -> u32 { return ReverseBits(a); })>},
    {"v_ffbh_u32", kLane<([](u32 a) -> u32 { return LeadingZeros(a); })>},
    {"v_ffbh_i32", kLane<([](u32 a) -> u32 { return LeadingSigns(a); })>},
    {"v_ffbl_b32", kLane<([](u32 a) -> u32 { return TrailingZeros(a); })>},
    {"v_bcnt_u32_b32",
     kLane<([](u32 a, u32 b) -> u32 { return static_cast<u32>(std::popcount(a)) + b; })>},
    {"v_add_u32", kLane<([](u32 a, u32 b) -> u32 { return a + b; })>, nullptr, true},
    {"v_sub_u32", kLane<([](u32 a, u32 b) -> u32 { return a - b; })>, nullptr, true},
    {"v_subrev_u32", kLane<([](u32 a, u32 b) -> u32 { return b - a; })>, nullptr, true},
    {"v_add_i32", kLane<([](u32 a, u32 b) -> u32 { return a + b; })>},
    {"v_sub_i32", kLane<([](u32 a, u32 b) -> u32 { return a - b; })>},
    {"v_add_co_u32", Carry<([](u64 a, u64 b, u64) { return a + b; }), false>, nullptr, true},
    {"v_addc_co_u32", Carry<([](u64 a, u64 b, u64 c) { return a + b + c; }), true>, nullptr, true},
    {"v_sub_co_u32", Carry<([](u64 a, u64 b, u64) { return a - b; }), false>, nullptr, true},
    {"v_subb_co_u32", Carry<([](u64 a, u64 b, u64 c) { return a - b - c; }), true>, nullptr, true},
    {"v_subrev_co_u32", Carry<([](u64 a, u64 b, u64) { return b - a; }), false>, nullptr, true},
    {"v_subbrev_co_u32", Carry<([](u64 a, u64 b, u64 c) { return b - a - c; }), true>, nullptr,
     true},
    {"v_mul_lo_u32", kLane<([](u32 a, u32 b) -> u32 { return a * b; })>},
    {"v_mul_hi_u32",
     kLane<([](u32 a, u32 b) -> u32 { return static_cast<u32>(u64{a} * b >> 32); })>},
    {"v_mul_hi_i32", kLane<([](i32 a, i32 b) -> u32 {
       return static_cast<u32>(static_cast<u64>(i64{a} * b) >> 32);
     })>},
    {"v_mul_u32_u24", kLane<([](u32 a, u32 b) -> u32 { return Unsigned24(a) * Unsigned24(b); })>,
     nullptr, true},
    {"v_mul_i32_i24",
     kLane<([](u32 a, u32 b) -> u32 { return static_cast<u32>(i64{Signed24(a)} * Signed24(b)); })>,
     nullptr, true},
    {"v_mul_hi_u32_u24", kLane<([](u32 a, u32 b) -> u32 {
       return static_cast<u32>(u64{Unsigned24(a)} * Unsigned24(b) >> 32);
     })>},
    {"v_mad_u32_u24",
     kLane<([](u32 a, u32 b, u32 c) -> u32 { return Unsigned24(a) * Unsigned24(b) + c; })>},
    {"v_mad_i32_i24", kLane<([](u32 a, u32 b, u32 c) -> u32 {
       return static_cast<u32>(i64{Signed24(a)} * Signed24(b)) + c;
     })>},
    {"v_mad_u64_u32", MadWide<u32, u64>},
    {"v_mad_i64_i32", MadWide<i32, i64>},
    {"v_and_b32", kLane<([](u32 a, u32 b) -> u32 { return a & b; })>, nullptr, true},
    {"v_or_b32", kLane<([](u32 a, u32 b) -> u32 { return a | b; })>, nullptr, true},
    {"v_xor_b32", kLane<([](u32 a, u32 b) -> u32 { return a ^ b; })>, nullptr, true},
    {"v_xnor_b32", kLane<([](u32 a, u32 b) -> u32 { return ~(a ^ b); })>},
    {"v_and_or_b32", kLane<([](u32 a, u32 b, u32 c) -> u32 { return (a & b) | c; })>},
    {"v_or3_b32", kLane<([](u32 a, u32 b, u32 c) -> u32 { return a | b | c; })>},
    {"v_xad_u32", kLane<([](u32 a, u32 b, u32 c) -> u32 { return (a ^ b) + c; })>},
    {"v_add3_u32", kLane<([](u32 a, u32 b, u32 c) -> u32 { return a + b + c; })>},
    {"v_lshl_add_u32", kLane<([](u32 a, u32 b, u32 c) -> u32 { return (a << (b & 31)) + c; })>},
    {"v_add_lshl_u32", kLane<([](u32 a, u32 b, u32 c) -> u32 { return (a + b) << (c & 31); })>},
    {"v_lshl_or_b32", kLane<([](u32 a, u32 b, u32 c) -> u32 { return a << (b & 31) | c; })>},
    {"v_lshl_add_u64", kLane<([](u64 a, u32 b, u64 c) -> u64 { return (a << (b & 63)) + c; })>},
    {"v_lshlrev_b32", kLane<([](u32 a, u32 b) -> u32 { return b << (a & 31); })>, nullptr, true},
    {"v_lshrrev_b32", kLane<([](u32 a, u32 b) -> u32 { return b >> (a & 31); })>, nullptr, true},
    {"v_ashrrev_i32", kLane<([](u32 a, i32 b) -> i32 { return b >> (a & 31); })>, nullptr, true},
    {"v_lshlrev_b64", kLane<([](u32 a, u64 b) -> u64 { return b << (a & 63); })>},
    {"v_lshrrev_b64", kLane<([](u32 a, u64 b) -> u64 { return b >> (a & 63); })>},
    {"v_ashrrev_i64", kLane<([](u32 a, i64 b) -> i64 { return b >> (a & 63); })>},
    {"v_bfe_u32", kLane<([](u32 a, u32 b, u32 c) -> u32 { return Field(a, b, c); })>},
    {"v_bfe_i32", kLane<([](u32 a, u32 b, u32 c) -> i32 { return SignedField(a, b, c); })>},
    {"v_bfi_b32", kLane<([](u32 a, u32 b, u32 c) -> u32 { return (a & b) | (~a & c); })>},
    {"v_bfm_b32", kLane<([](u32 a, u32 b) -> u32 { return ((1u << (a & 31)) - 1) << (b & 31); })>},
    {"v_alignbit_b32", kLane<([](u32 a, u32 b, u32 c) -> u32 {
       return static_cast<u32>((u64{a} << 32 | b) >> (c & 31));
     })>},
    {"v_alignbyte_b32", kLane<([](u32 a, u32 b, u32 c) -> u32 {
       return static_cast<u32>((u64{a} << 32 | b) >> (8 * (c & 3)));
     })>},
    {"v_perm_b32", kLane<([](u32 a, u32 b, u32 c) -> u32 { return Permuted(a, b, c); })>},
    {"v_min_i32", kLane<([](i32 a, i32 b) -> i32 { return std::min(a, b); })>},
    {"v_min_u32", kLane<([](u32 a, u32 b) -> u32 { return std::min(a, b); })>},
    {"v_max_i32", kLane<([](i32 a, i32 b) -> i32 { return std::max(a, b); })>},
    {"v_max_u32", kLane<([](u32 a, u32 b) -> u32 { return std::max(a, b); })>},
    {"v_min3_i32", kLane<([](i32 a, i32 b, i32 c) -> i32 {
       return std::min({a, b, c});
     })>},
    {"v_min3_u32", kLane<([](u32 a, u32 b, u32 c) -> u32 {
       return std::min({a, b, c});
     })>},
    {"v_max3_i32", kLane<([](i32 a, i32 b, i32 c) -> i32 {
       return std::max({a, b, c});
     })>},
    {"v_max3_u32", kLane<([](u32 a, u32 b, u32 c) -> u32 {
       return std::max({a, b, c});
     })>},
    {"v_med3_i32", kLane<([](i32 a, i32 b, i32 c) -> i32 { return Median(a, b, c); })>},
    {"v_med3_u32", kLane<([](u32 a, u32 b, u32 c) -> u32 { return Median(a, b, c); })>},
    {"v_add_u16", kLane<([](u16 a, u16 b) -> u16 { return static_cast<u16>(a + b); })>},
    {"v_sub_u16", kLane<([](u16 a, u16 b) -> u16 { return static_cast<u16>(a - b); })>},
    {"v_subrev_u16", kLane<([](u16 a, u16 b) -> u16 { return static_cast<u16>(b - a); })>},
    {"v_mul_lo_u16", kLane<([](u32 a, u32 b) -> u16 { return static_cast<u16>(a * b); })>},
    {"v_lshlrev_b16", kLane<([](u32 a, u32 b) -> u16 { return static_cast<u16>(b << (a & 15)); })>},
    {"v_lshrrev_b16", kLane<([](u32 a, u16 b) -> u16 { return static_cast<u16>(b >> (a & 15)); })>},
    {"v_ashrrev_i16", kLane<([](u32 a, u16 b) -> u16 {
       return static_cast<u16>(static_cast<i16>(b) >> (a & 15));
     })>},
};

}  // namespace

std::span<const Opcode> VectorIntegerOpcodes() { return kOpcodes; }

}  // namespace virtual_gpu::isa

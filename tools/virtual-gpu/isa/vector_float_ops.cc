// vector_float_ops.cc: what the vector unit does to floats, each lane by itself.
//
// Why        Add, multiply, fused multiply-add, divide and square root are the host's, correctly
//            rounded as the device's. The approximations (rcp, rsq, exp, log, sin, cos) are the host's
//            best value, where hardware is allowed 1 ulp. Denormals are kept, rounding is to nearest.
#include <algorithm>
#include <cmath>

#include "opcodes.h"
#include "wave.h"

namespace virtual_gpu::isa {
namespace {

constexpr double kTurn = 6.283185307179586476925;

template <typename T>
T Median(T a, T b, T c) {
  return std::fmax(std::fmin(a, b), std::fmin(std::fmax(a, b), c));
}
template <typename T>
T Fraction(T a) {
  return a - std::floor(a);
}

// Infinities and what is no number have themselves as mantissa, and the exponent 0.
template <typename T>
T Mantissa(T a) {
  int exponent = 0;
  return std::isfinite(a) ? std::frexp(a, &exponent) : a;
}
template <typename T>
i32 Exponent(T a) {
  int exponent = 0;
  if (std::isfinite(a)) std::frexp(a, &exponent);
  return exponent;
}

// A division is v_div_scale twice, v_rcp, some v_fma, v_div_fmas and v_div_fixup. The last one is
// given both operands and yields the quotient that the sequence was made to yield; so the scaling
// before it need not be imitated.
template <typename T>
Step DivideScale(const Instruction& i, Wave& w) {
  const Reader<T> source(w, i.op[2]);
  const Writer<T> out(w, i);
  ForEachLane(w, [&](unsigned lane) { out(lane, source(lane)); });
  w.SetPair(i.op[1].reg, 0);
  return Step::kNext;
}

template <auto F>
Step Packed(const Instruction& i, Wave& w) {
  // Each half takes one register of each source's pair, by op_sel and op_sel_hi.
  constexpr unsigned kSources = 3;
  VectorRegister halves[2];
  for (unsigned half = 0; half < 2; ++half) {
    const unsigned picks = half == 0 ? i.op_sel : i.op_sel_hi;
    const unsigned negs = half == 0 ? i.neg_lo : i.neg_hi;
    const auto source = [&](unsigned n) {
      const Operand& o = i.op[n + 1 < i.operands ? n + 1 : 1];
      const bool is_register = o.kind != Operand::Kind::kConstant;
      return Reader<float>(w, o, is_register ? picks >> n & 1 : 0);
    };
    const Reader<float> sources[kSources] = {source(0), source(1), source(2)};
    const auto value = [&](unsigned n, unsigned lane) {
      const float v = sources[n](lane);
      return (negs >> n & 1) != 0 ? -v : v;
    };
    ForEachLane(w, [&](unsigned lane) {
      halves[half][lane] =
          static_cast<u32>(ToBits(F(value(0, lane), value(1, lane), value(2, lane))));
    });
  }
  ForEachLane(w, [&](unsigned lane) {
    for (unsigned half = 0; half < 2; ++half) {
      w.vgpr[i.op[0].reg + half][lane] = halves[half][lane];
    }
  });
  return Step::kNext;
}
// Low half: source 0 by op_sel[0]; high half: source 1 by op_sel[1].
Step PackedMove(const Instruction& i, Wave& w) {
  const auto source = [&](unsigned n) {
    const Operand& o = i.op[n + 1];
    return Reader<u32>(w, o, o.kind == Operand::Kind::kConstant ? 0 : i.op_sel >> n & 1);
  };
  const Reader<u32> low = source(0), high = source(1);
  ForEachLane(w, [&](unsigned lane) {
    const u32 first = low(lane), second = high(lane);
    w.vgpr[i.op[0].reg][lane] = first;
    w.vgpr[i.op[0].reg + 1u][lane] = second;
  });
  return Step::kNext;
}

// SDWA has room for two sources.
template <auto F>
constexpr Opcode Float(const char* name, bool sdwa = true) {
  return {name, kLane<F>, nullptr, sdwa, true};
}

constexpr Opcode kOpcodes[] = {
    Float<([](float a, float b) -> float { return a + b; })>("v_add_f32"),
    Float<([](float a, float b) -> float { return a - b; })>("v_sub_f32"),
    Float<([](float a, float b) -> float { return b - a; })>("v_subrev_f32"),
    Float<([](float a, float b) -> float { return a * b; })>("v_mul_f32"),
    Float<([](float a, float b) -> float { return std::fmin(a, b); })>("v_min_f32"),
    Float<([](float a, float b) -> float { return std::fmax(a, b); })>("v_max_f32"),
    Float<([](float a, float b, float c) -> float { return std::fma(a, b, c); })>("v_fma_f32",
                                                                                  false),
    Float<([](float a, float b, float c) -> float { return std::fmin(std::fmin(a, b), c); })>(
        "v_min3_f32", false),
    Float<([](float a, float b, float c) -> float { return std::fmax(std::fmax(a, b), c); })>(
        "v_max3_f32", false),
    Float<([](float a, float b, float c) -> float { return Median(a, b, c); })>("v_med3_f32",
                                                                                false),
    Float<([](float a) -> float { return std::floor(a); })>("v_floor_f32"),
    Float<([](float a) -> float { return std::ceil(a); })>("v_ceil_f32"),
    Float<([](float a) -> float { return std::trunc(a); })>("v_trunc_f32"),
    Float<([](float a) -> float { return std::nearbyint(a); })>("v_rndne_f32"),
    Float<([](float a) -> float { return Fraction(a); })>("v_fract_f32"),
    Float<([](float a, i32 b) -> float { return std::ldexp(a, b); })>("v_ldexp_f32"),
    Float<([](float a) -> float { return 1.0f / a; })>("v_rcp_f32"),
    Float<([](float a) -> float { return 1.0f / a; })>("v_rcp_iflag_f32"),
    Float<([](float a) -> float { return 1.0f / std::sqrt(a); })>("v_rsq_f32"),
    Float<([](float a) -> float { return std::sqrt(a); })>("v_sqrt_f32"),
    Float<([](float a) -> float { return std::exp2(a); })>("v_exp_f32"),
    Float<([](float a) -> float { return std::log2(a); })>("v_log_f32"),
    Float<([](float a) -> float { return static_cast<float>(std::sin(a * kTurn)); })>("v_sin_f32"),
    Float<([](float a) -> float { return static_cast<float>(std::cos(a * kTurn)); })>("v_cos_f32"),
    {"v_frexp_mant_f32", kLane<([](float a) -> float { return Mantissa(a); })>},
    {"v_frexp_exp_i32_f32", kLane<([](float a) -> i32 { return Exponent(a); })>},
    {"v_mac_f32", kLaneOnto<([](float a, float b, float c) -> float { return a * b + c; })>},
    Float<([](float a, float b, float c) -> float { return a * b + c; })>("v_mad_f32", false),
    {"v_madak_f32", kLane<([](float a, float b, float c) -> float { return a * b + c; })>},
    {"v_madmk_f32", kLane<([](float a, float b, float c) -> float { return a * b + c; })>},
    {"v_fmaak_f32", kLane<([](float a, float b, float c) -> float { return std::fma(a, b, c); })>},
    {"v_fmamk_f32", kLane<([](float a, float b, float c) -> float { return std::fma(a, b, c); })>},
    {"v_fmac_f32",
     kLaneOnto<([](float a, float b, float c) -> float { return std::fma(a, b, c); })>},
    {"v_div_scale_f32", DivideScale<float>},
    {"v_div_fmas_f32",
     kLane<([](float a, float b, float c) -> float { return std::fma(a, b, c); })>},
    {"v_div_fixup_f32", kLane<([](float, float b, float c) -> float { return c / b; })>},
    {"v_add_f64", kLane<([](double a, double b) -> double { return a + b; })>},
    {"v_mul_f64", kLane<([](double a, double b) -> double { return a * b; })>},
    {"v_min_f64", kLane<([](double a, double b) -> double { return std::fmin(a, b); })>},
    {"v_max_f64", kLane<([](double a, double b) -> double { return std::fmax(a, b); })>},
    {"v_fma_f64",
     kLane<([](double a, double b, double c) -> double { return std::fma(a, b, c); })>},
    {"v_fmac_f64",
     kLaneOnto<([](double a, double b, double c) -> double { return std::fma(a, b, c); })>},
    {"v_floor_f64", kLane<([](double a) -> double { return std::floor(a); })>},
    {"v_ceil_f64", kLane<([](double a) -> double { return std::ceil(a); })>},
    {"v_trunc_f64", kLane<([](double a) -> double { return std::trunc(a); })>},
    {"v_rndne_f64", kLane<([](double a) -> double { return std::nearbyint(a); })>},
    {"v_fract_f64", kLane<([](double a) -> double { return Fraction(a); })>},
    {"v_frexp_mant_f64", kLane<([](double a) -> double { return Mantissa(a); })>},
    {"v_frexp_exp_i32_f64", kLane<([](double a) -> i32 { return Exponent(a); })>},
    {"v_ldexp_f64", kLane<([](double a, i32 b) -> double { return std::ldexp(a, b); })>},
    {"v_rcp_f64", kLane<([](double a) -> double { return 1.0 / a; })>},
    {"v_rsq_f64", kLane<([](double a) -> double { return 1.0 / std::sqrt(a); })>},
    {"v_sqrt_f64", kLane<([](double a) -> double { return std::sqrt(a); })>},
    {"v_div_scale_f64", DivideScale<double>},
    {"v_div_fmas_f64",
     kLane<([](double a, double b, double c) -> double { return std::fma(a, b, c); })>},
    {"v_div_fixup_f64", kLane<([](double, double b, double c) -> double { return c / b; })>},
    {"v_pk_fma_f32", Packed<([](float a, float b, float c) { return std::fma(a, b, c); })>},
    {"v_pk_mul_f32", Packed<([](float a, float b, float) { return a * b; })>},
    {"v_pk_add_f32", Packed<([](float a, float b, float) { return a + b; })>},
    {"v_pk_mov_b32", PackedMove},
};

}  // namespace

std::span<const Opcode> VectorFloatOpcodes() { return kOpcodes; }

}  // namespace virtual_gpu::isa

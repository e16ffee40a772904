// vector_convert_ops.cc: conversions between the vector unit's types.
#include <cmath>
#include <limits>

#include "opcodes.h"
#include "wave.h"

namespace virtual_gpu::isa {
namespace {

// Out of range: the nearest end; NaN: 0.
template <typename To, typename From>
To Saturated(From value) {
  if (std::isnan(value)) return 0;
  const double wide = std::trunc(static_cast<double>(value));
  if (wide <= static_cast<double>(std::numeric_limits<To>::min())) {
    return std::numeric_limits<To>::min();
  }
  if (wide >= static_cast<double>(std::numeric_limits<To>::max())) {
    return std::numeric_limits<To>::max();
  }
  return static_cast<To>(wide);
}

template <unsigned byte>
constexpr auto kFromByte =
    [](u32 a) -> float { return static_cast<float>(a >> (8 * byte) & 0xff); };

constexpr Opcode kOpcodes[] = {
    {"v_cvt_f32_i32", kLane<([](i32 a) -> float { return static_cast<float>(a); })>},
    {"v_cvt_f32_u32", kLane<([](u32 a) -> float { return static_cast<float>(a); })>, nullptr, true},
    {"v_cvt_i32_f32", kLane<([](float a) -> i32 { return Saturated<i32>(a); })>},
    {"v_cvt_u32_f32", kLane<([](float a) -> u32 { return Saturated<u32>(a); })>},
    {"v_cvt_f64_f32", kLane<([](float a) -> double { return a; })>},
    {"v_cvt_f32_f64", kLane<([](double a) -> float { return static_cast<float>(a); })>},
    {"v_cvt_f64_i32", kLane<([](i32 a) -> double { return a; })>},
    {"v_cvt_f64_u32", kLane<([](u32 a) -> double { return a; })>},
    {"v_cvt_i32_f64", kLane<([](double a) -> i32 { return Saturated<i32>(a); })>},
    {"v_cvt_u32_f64", kLane<([](double a) -> u32 { return Saturated<u32>(a); })>},
    {"v_cvt_f32_ubyte0", kLane<kFromByte<0>>},
    {"v_cvt_f32_ubyte1", kLane<kFromByte<1>>},
    {"v_cvt_f32_ubyte2", kLane<kFromByte<2>>},
    {"v_cvt_f32_ubyte3", kLane<kFromByte<3>>},
};

}  // namespace

std::span<const Opcode> VectorConvertOpcodes() { return kOpcodes; }

}  // namespace virtual_gpu::isa

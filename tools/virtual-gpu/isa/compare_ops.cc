// compare_ops.cc: vector comparisons: a bit per lane into a pair of scalar registers.
#include <cmath>

#include "opcodes.h"
#include "wave.h"

namespace virtual_gpu::isa {
namespace {

// _x: into EXEC as well (gfx9).
template <typename T, auto F, bool into_exec>
Step Compare(const Instruction& i, Wave& w) {
  const Reader<T> a(w, i.op[1]), b(w, i.op[2]);
  u64 mask = 0;
  ForEachLane(w, [&](unsigned lane) { mask |= u64{F(a(lane), b(lane))} << lane; });
  w.SetPair(i.op[0].reg, mask);
  if (into_exec) w.SetPair(kExec, mask);
  return Step::kNext;
}

constexpr auto kLt = [](auto a, auto b) { return a < b; };
constexpr auto kEq = [](auto a, auto b) { return a == b; };
constexpr auto kLe = [](auto a, auto b) { return a <= b; };
constexpr auto kGt = [](auto a, auto b) { return a > b; };
constexpr auto kNe = [](auto a, auto b) { return a != b; };
constexpr auto kGe = [](auto a, auto b) { return a >= b; };
constexpr auto kLg = [](auto a, auto b) { return a < b || a > b; };
constexpr auto kOrdered = [](auto a, auto b) { return a == a && b == b; };
constexpr auto kUnordered = [](auto a, auto b) { return a != a || b != b; };
constexpr auto kNge = [](auto a, auto b) { return !(a >= b); };
constexpr auto kNlg = [](auto a, auto b) { return !(a < b || a > b); };
constexpr auto kNgt = [](auto a, auto b) { return !(a > b); };
constexpr auto kNle = [](auto a, auto b) { return !(a <= b); };
constexpr auto kNlt = [](auto a, auto b) { return !(a < b); };

// op[2] has a bit for each class that counts: signalling and quiet NaN, then -infinity to +infinity.
template <typename T>
u32 ClassBit(T value) {
  if (std::isnan(value)) {
    constexpr u64 kQuiet = sizeof(T) == 8 ? u64{1} << 51 : u64{1} << 22;
    return (ToBits(value) & kQuiet) != 0 ? 1 : 0;
  }
  const bool negative = std::signbit(value);
  u32 size = 0;  // from zero outwards
  switch (std::fpclassify(value)) {
    case FP_ZERO:
      size = 0;
      break;
    case FP_SUBNORMAL:
      size = 1;
      break;
    case FP_NORMAL:
      size = 2;
      break;
    default:
      size = 3;
  }
  return negative ? 5 - size : 6 + size;
}
template <typename T, bool into_exec>
Step Class(const Instruction& i, Wave& w) {
  const Reader<T> a(w, i.op[1]);
  const Reader<u32> classes(w, i.op[2]);
  u64 mask = 0;
  ForEachLane(w,
              [&](unsigned lane) { mask |= u64{classes(lane) >> ClassBit(a(lane)) & 1} << lane; });
  w.SetPair(i.op[0].reg, mask);
  if (into_exec) w.SetPair(kExec, mask);
  return Step::kNext;
}

#define ONE(name, type, T, F)                                      \
  {"v_cmp_" name "_" type, Compare<T, F, false>, nullptr, true}, { \
    "v_cmpx_" name "_" type, Compare<T, F, true>, nullptr, true    \
  }
#define INTEGERS(type, T)                                                    \
  ONE("lt", type, T, kLt), ONE("eq", type, T, kEq), ONE("le", type, T, kLe), \
      ONE("gt", type, T, kGt), ONE("ne", type, T, kNe), ONE("ge", type, T, kGe)
#define FLOATS(type, T)                                                                      \
  ONE("lt", type, T, kLt), ONE("eq", type, T, kEq), ONE("le", type, T, kLe),                 \
      ONE("gt", type, T, kGt), ONE("lg", type, T, kLg), ONE("ge", type, T, kGe),             \
      ONE("o", type, T, kOrdered), ONE("u", type, T, kUnordered), ONE("nge", type, T, kNge), \
      ONE("nlg", type, T, kNlg), ONE("ngt", type, T, kNgt), ONE("nle", type, T, kNle),       \
      ONE("neq", type, T, kNe), ONE("nlt", type, T, kNlt)

constexpr Opcode kOpcodes[] = {INTEGERS("i32", i32),
                               INTEGERS("u32", u32),
                               INTEGERS("i64", i64),
                               INTEGERS("u64", u64),
                               INTEGERS("i16", i16),
                               INTEGERS("u16", u16),
                               FLOATS("f32", float),
                               FLOATS("f64", double),
                               {"v_cmp_class_f32", Class<float, false>},
                               {"v_cmpx_class_f32", Class<float, true>},
                               {"v_cmp_class_f64", Class<double, false>},
                               {"v_cmpx_class_f64", Class<double, true>}};

}  // namespace

std::span<const Opcode> CompareOpcodes() { return kOpcodes; }

}  // namespace virtual_gpu::isa

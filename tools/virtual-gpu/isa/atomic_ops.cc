// atomic_ops.cc: read-modify-write of the lanes' memory, one lane after the other.
#include <algorithm>

#include "addressing.h"
#include "opcodes.h"

namespace virtual_gpu::isa {
namespace {

// op: [destination, if the old value is wanted,] address, data, base. Data of a compare-and-swap is
// the new value, then the one to compare with.
template <typename T, auto F>
Step Atomic(const Instruction& i, Wave& w) {
  const unsigned first = i.returns ? 1 : 0;
  const Addresses address(w, i, i.op[first], BaseOperand(i, first + 2));
  const Reader<T> operand(w, i.op[first + 1]);
  const Reader<T> compare(w, i.op[first + 1], sizeof(T) / 4);
  const AtomicStep step = [](u64 old, u64 with, u64 expected) -> u64 {
    return ToBits(F(FromBits<T>(old), FromBits<T>(with), FromBits<T>(expected)));
  };
  Step outcome = Step::kNext;
  ForEachLane(w, [&](unsigned lane) {
    if (outcome != Step::kNext) return;
    const u64 at = address(lane);
    u64 old = 0;
    if (!w.memory->Atomic(at, sizeof(T), step, ToBits(operand(lane)), ToBits(compare(lane)),
                          &old)) {
      w.fault_address = at;
      outcome = Step::kMemoryFault;
      return;
    }
    if (!i.returns) return;
    w.vgpr[i.op[0].reg][lane] = static_cast<u32>(old);
    if constexpr (sizeof(T) == 8) w.vgpr[i.op[0].reg + 1u][lane] = static_cast<u32>(old >> 32);
  });
  return outcome;
}
// The reader of the comparison looks at registers behind the operand's.
bool Fits(const Instruction& i) { return i.op[i.returns ? 2 : 1].reg + 4u <= kVgprsMax; }

constexpr auto kSwap = [](auto, auto b, auto) { return b; };
constexpr auto kCompareSwap = [](auto a, auto b, auto c) { return a == c ? b : a; };
constexpr auto kAdd = [](auto a, auto b, auto) { return a + b; };
constexpr auto kSub = [](auto a, auto b, auto) { return a - b; };
constexpr auto kMin = [](auto a, auto b, auto) { return std::min(a, b); };
constexpr auto kMax = [](auto a, auto b, auto) { return std::max(a, b); };
constexpr auto kAnd = [](auto a, auto b, auto) { return a & b; };
constexpr auto kOr = [](auto a, auto b, auto) { return a | b; };
constexpr auto kXor = [](auto a, auto b, auto) { return a ^ b; };
constexpr auto kInc = [](auto a, auto b, auto) { return a >= b ? decltype(a){0} : a + 1; };
constexpr auto kDec = [](auto a, auto b, auto) { return a == 0 || a > b ? b : a - 1; };

#define BOTH(name, T, F) \
  {"global_atomic_" name, Atomic<T, F>, Fits}, { "flat_atomic_" name, Atomic<T, F>, Fits }
#define SIZES(name, T32, T64, F) BOTH(name, T32, F), BOTH(name "_x2", T64, F)

constexpr Opcode kOpcodes[] = {
    SIZES("swap", u32, u64, kSwap), SIZES("cmpswap", u32, u64, kCompareSwap),
    SIZES("add", u32, u64, kAdd),   SIZES("sub", u32, u64, kSub),
    SIZES("smin", i32, i64, kMin),  SIZES("umin", u32, u64, kMin),
    SIZES("smax", i32, i64, kMax),  SIZES("umax", u32, u64, kMax),
    SIZES("and", u32, u64, kAnd),   SIZES("or", u32, u64, kOr),
    SIZES("xor", u32, u64, kXor),   SIZES("inc", u32, u64, kInc),
    SIZES("dec", u32, u64, kDec),   BOTH("add_f32", float, kAdd),
    BOTH("add_f64", double, kAdd),  BOTH("min_f64", double, kMin),
    BOTH("max_f64", double, kMax),
};

}  // namespace

std::span<const Opcode> AtomicOpcodes() { return kOpcodes; }

}  // namespace virtual_gpu::isa

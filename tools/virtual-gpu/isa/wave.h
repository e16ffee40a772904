// wave.h: the registers of one wave of 64 lanes, and how instructions get at them.
//
// Why        Readers and Writer are made once per instruction and used once per lane, so that where an
//            operand lives is looked at once.
// Threads    one.
// Ownership  a Wave borrows its workgroup's LDS and the memory behind it.
// Units      registers of 32 bits; addresses and LDS offsets in bytes.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <tuple>
#include <type_traits>
#include <vector>

#include "instruction.h"
#include "memory_port.h"

namespace virtual_gpu::isa {

inline constexpr unsigned kLanes = 64;
inline constexpr unsigned kVgprsMax = 512;
inline constexpr unsigned kVgprSlack = 4;  // what handlers may look at behind an operand

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

using VectorRegister = std::array<u32, kLanes>;

struct Wave {
  std::array<u32, kSgprs + 16> sgpr = {};  // some more: a range may start at the end
  std::vector<VectorRegister> vgpr;
  bool scc = false;
  u64 pc = 0;
  u64 executed = 0;  // instructions
  u64 slept = 0;     // by s_sleep, in instructions' time
  u32 hw_id = 0, xcc_id = 0;
  bool has_place = false, asked_place = false;  // the two above are known; were asked for
  u64 fault_address = 0;
  std::vector<std::byte>* lds = nullptr;
  MemoryPort* memory = nullptr;
  std::vector<std::byte> scratch;  // of all lanes
  u64 scratch_lane_bytes = 0;

  u64 Pair(unsigned reg) const { return sgpr[reg] | u64{sgpr[reg + 1]} << 32; }
  void SetPair(unsigned reg, u64 value) {
    sgpr[reg] = static_cast<u32>(value);
    sgpr[reg + 1] = static_cast<u32>(value >> 32);
  }
  u64 exec() const { return Pair(kExec); }
};

template <typename F>
void ForEachLane(const Wave& wave, const F& f) {
  const u64 exec = wave.exec();
  if (exec == ~u64{0}) {
    for (unsigned lane = 0; lane < kLanes; ++lane) f(lane);
    return;
  }
  for (u64 rest = exec; rest != 0; rest &= rest - 1)
    f(static_cast<unsigned>(std::countr_zero(rest)));
}

// A constant, as an operand of type T has it.
template <typename T>
T ConstantAs(const Operand& o) {
  if constexpr (std::is_floating_point_v<T>) {
    if (o.is_float) return static_cast<T>(o.value);
    if constexpr (sizeof(T) == 8) {
      if (o.literal) return std::bit_cast<double>(static_cast<u64>(o.bits) << 32);
      return std::bit_cast<double>(o.bits);
    } else {
      return std::bit_cast<float>(static_cast<u32>(o.bits));
    }
  } else {
    if (o.is_float) {
      if constexpr (sizeof(T) == 8) return static_cast<T>(std::bit_cast<u64>(o.value));
      return static_cast<T>(std::bit_cast<u32>(static_cast<float>(o.value)));
    }
    // A literal has 32 bits; what it is to 64 follows from the type.
    if constexpr (sizeof(T) == 8) {
      if (o.literal && std::is_signed_v<T>) return static_cast<T>(static_cast<i32>(o.bits));
    }
    return static_cast<T>(o.bits);
  }
}

template <typename T>
T FromBits(u64 bits) {
  if constexpr (sizeof(T) == 8)
    return std::bit_cast<T>(bits);
  else if constexpr (std::is_same_v<T, float>)
    return std::bit_cast<float>(static_cast<u32>(bits));
  else
    return static_cast<T>(bits);
}

template <typename T>
u64 ToBits(T value) {
  if constexpr (sizeof(T) == 8)
    return std::bit_cast<u64>(value);
  else if constexpr (std::is_same_v<T, float>)
    return std::bit_cast<u32>(value);
  else
    return static_cast<std::make_unsigned_t<T>>(value);
}

template <typename T>
T ScalarSource(const Wave& w, const Operand& o) {
  switch (o.kind) {
    case Operand::Kind::kSgpr:
      return FromBits<T>(sizeof(T) == 8 ? w.Pair(o.reg) : w.sgpr[o.reg]);
    case Operand::Kind::kScc:
      return static_cast<T>(w.scc ? 1 : 0);
    default:
      return ConstantAs<T>(o);
  }
}

// `sub` picks a further register of the operand: 1 is the high half of a pair.
template <typename T>
class Reader {
 public:
  Reader(const Wave& w, const Operand& o, unsigned sub = 0) : operand_(o) {
    if (o.kind == Operand::Kind::kVgpr) {
      low_ = &w.vgpr[o.reg + sub];
      if constexpr (sizeof(T) == 8) high_ = &w.vgpr[o.reg + sub + 1];
    } else if (o.kind == Operand::Kind::kSgpr && sub != 0) {
      scalar_ = FromBits<T>(sizeof(T) == 8 ? w.Pair(o.reg + sub) : w.sgpr[o.reg + sub]);
    } else {
      scalar_ = ScalarSource<T>(w, o);
    }
    plain_ = !o.negative && !o.absolute && o.select_bits == 32;
  }

  T operator()(unsigned lane) const {
    T value = scalar_;
    if (low_ != nullptr) {
      u64 bits = (*low_)[lane];
      if constexpr (sizeof(T) == 8) bits |= u64{(*high_)[lane]} << 32;
      value = FromBits<T>(bits);
    }
    return plain_ ? value : Modified(value);
  }

 private:
  T Modified(T value) const {
    if (operand_.select_bits != 32) {
      u32 bits = static_cast<u32>(ToBits(value)) >> operand_.select_from;
      const unsigned unused = 32u - operand_.select_bits;
      bits = operand_.sign_extend ? static_cast<u32>(static_cast<i32>(bits << unused) >> unused)
                                  : bits << unused >> unused;
      value = FromBits<T>(bits);
    }
    if constexpr (std::is_floating_point_v<T>) {
      if (operand_.absolute) value = std::fabs(value);
      if (operand_.negative) value = -value;
    } else if (operand_.negative || operand_.absolute) {  // of bits that are a float's
      constexpr u64 kSign = u64{1} << (sizeof(T) * 8 - 1);
      u64 bits = ToBits(value);
      if (operand_.absolute) bits &= ~kSign;
      if (operand_.negative) bits ^= kSign;
      value = FromBits<T>(bits);
    }
    return value;
  }

  const Operand& operand_;
  const VectorRegister* low_ = nullptr;
  const VectorRegister* high_ = nullptr;
  T scalar_ = {};
  bool plain_ = true;
};

template <typename T>
class Writer {
 public:
  Writer(Wave& w, const Instruction& i, unsigned sub = 0)
      : i_(i), low_(&w.vgpr[i.op[0].reg + sub]) {
    if constexpr (sizeof(T) == 8) high_ = &w.vgpr[i.op[0].reg + sub + 1];
  }
  void operator()(unsigned lane, T value) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (i_.clamp) value = value >= T{1} ? T{1} : value > T{0} ? value : T{0};
    }
    const u64 bits = ToBits(value);
    if constexpr (sizeof(T) == 8) {
      (*high_)[lane] = static_cast<u32>(bits >> 32);
    } else if (i_.dst_bits != 32) {
      (*low_)[lane] = Placed(static_cast<u32>(bits), (*low_)[lane]);
      return;
    }
    (*low_)[lane] = static_cast<u32>(bits);
  }

 private:
  u32 Placed(u32 value, u32 old) const {
    const u32 mask = ((1u << i_.dst_bits) - 1) << i_.dst_from;
    const u32 placed = (value << i_.dst_from) & mask;
    if (i_.dst_preserve) return (old & ~mask) | placed;
    if (!i_.dst_sign) return placed;
    const unsigned above = 32u - i_.dst_bits - i_.dst_from;
    return static_cast<u32>(static_cast<i32>(placed << above) >> above);
  }

  const Instruction& i_;
  VectorRegister* low_;
  VectorRegister* high_ = nullptr;
};

// Handlers of vector instructions that do one thing per lane: op[0] = F(op[1], op[2], ...).
template <typename Lambda>
struct LaneSignature;
template <typename C, typename R, typename... A>
struct LaneSignature<R (C::*)(A...) const> {
  template <auto F, std::size_t... N>
  static Step Run(const Instruction& i, Wave& w, std::index_sequence<N...>) {
    const std::tuple<Reader<A>...> sources{Reader<A>(w, i.op[N + 1])...};
    const Writer<R> out(w, i);
    ForEachLane(w, [&](unsigned lane) { out(lane, F(std::get<N>(sources)(lane)...)); });
    return Step::kNext;
  }
  template <auto F>
  static Step Handle(const Instruction& i, Wave& w) {
    return Run<F>(i, w, std::index_sequence_for<A...>());
  }
  // op[0] is also the last source.
  template <auto F, std::size_t... N>
  static Step RunOnto(const Instruction& i, Wave& w, std::index_sequence<N...>) {
    const std::tuple<Reader<A>...> sources{
        Reader<A>(w, N + 1 == sizeof...(A) ? i.op[0] : i.op[N + 1])...};
    const Writer<R> out(w, i);
    ForEachLane(w, [&](unsigned lane) { out(lane, F(std::get<N>(sources)(lane)...)); });
    return Step::kNext;
  }
  template <auto F>
  static Step HandleOnto(const Instruction& i, Wave& w) {
    return RunOnto<F>(i, w, std::index_sequence_for<A...>());
  }
};

template <auto F>
inline constexpr Handler kLane =
    &LaneSignature<decltype(&decltype(F)::operator())>::template Handle<F>;
template <auto F>
inline constexpr Handler kLaneOnto =
    &LaneSignature<decltype(&decltype(F)::operator())>::template HandleOnto<F>;

}  // namespace virtual_gpu::isa

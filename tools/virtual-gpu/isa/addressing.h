// addressing.h: the addresses of global_ and flat_ instructions, a lane each.
//
// Why        "v[0:1], off" is a whole address per lane; "v0, s[2:3]" is a base and an offset per lane;
//            flat_ has neither word.
// Limits     flat addresses of LDS and of private memory are not mapped, so they fault.
#pragma once

#include "wave.h"

namespace virtual_gpu::isa {

class Addresses {
 public:
  // `lane` is the operand with the vector register, `base` comes after it or is missing.
  Addresses(const Wave& w, const Instruction& i, const Operand& lane, const Operand& base)
      : low_(w.vgpr[lane.reg]),
        high_(base.kind == Operand::Kind::kSgpr ? nullptr : &w.vgpr[lane.reg + 1u]),
        base_(static_cast<u64>(i.offset)) {
    if (base.kind == Operand::Kind::kSgpr) base_ += w.Pair(base.reg);
  }
  u64 operator()(unsigned lane) const {
    const u64 high = high_ == nullptr ? 0 : u64{(*high_)[lane]} << 32;
    return base_ + (high | low_[lane]);
  }

 private:
  const VectorRegister& low_;
  const VectorRegister* high_;
  u64 base_;
};

inline const Operand& BaseOperand(const Instruction& i, unsigned at) {
  static constexpr Operand kNone;
  return at < i.operands ? i.op[at] : kNone;
}

}  // namespace virtual_gpu::isa

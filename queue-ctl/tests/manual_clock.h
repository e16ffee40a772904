// manual_clock.h: a clock that moves when the test says so.
#pragma once

#include "clock.h"

namespace xsched_hsa::testing {

class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::uint64_t now_us) : now_us_(now_us) {}
  std::uint64_t NowUs() const override { return now_us_; }
  void Advance(std::uint64_t us) { now_us_ += us; }

 private:
  std::uint64_t now_us_;
};

}  // namespace xsched_hsa::testing

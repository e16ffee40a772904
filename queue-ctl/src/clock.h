// clock.h: the controller's time, injectable.
//
// Units      CLOCK_MONOTONIC microseconds, the clock of every lease in shared_page.h.
#pragma once

#include <cstdint>

namespace xsched_hsa {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::uint64_t NowUs() const = 0;
};

class SteadyClock final : public Clock {
 public:
  std::uint64_t NowUs() const override;
};

}  // namespace xsched_hsa

// linger.h: how long an urgent queue that ran dry still counts as active.
//
// Why        A request of a host-bound program is a train of kernels with gaps between them. Most gaps
//            are shorter than the policy's linger; one that is longer (the program lost its processor)
//            looks like the request's end: others are let go, and stopped again a moment later, twice
//            a runlist cycle in the middle of a request. So a queue that comes back at once lingers
//            longer from then on, by what it would have needed, and gets used to less again over its
//            next requests.
// Threads    the pump's.
// Units      microseconds.
#pragma once

#include <cstdint>

namespace xsched_hsa {

class Linger {
 public:
  // It was taken for done, having been without work since `idle_since_us`.
  void Drained(std::uint64_t idle_since_us) { drained_us_ = idle_since_us; }
  // It is active, and became so at `at_us`. Counts once for each Drained.
  void Active(std::uint64_t at_us, std::uint64_t base_us);
  // `base_us` is the policy's.
  std::uint64_t Us(std::uint64_t base_us) const { return base_us + extra_us_; }

 private:
  std::uint64_t drained_us_ = 0;  // 0: it was not, or what came of it is known
  std::uint64_t extra_us_ = 0;
};

}  // namespace xsched_hsa

// lateness.h: how long the pump sleeps where the host's processors are short.
//
// Why        The pump polls every 25 us or more while a queue is active, and it is preferred to the program's
//            own threads (thread.h). Where many programs do so on few processors, the pumps take all of them:
//            the programs that feed the queues stand, and so does what is waited for. A pump that wakes up
//            milliseconds after it asked to gains nothing by asking for microseconds.
// Threads    the pump's only.
// Units      _ns, host time.
// Limits     kMostNs, far below a lease.
#pragma once

#include <algorithm>
#include <cstdint>

namespace xsched_hsa {

class Lateness {
 public:
  static constexpr std::uint64_t kMattersNs = 500'000, kMostNs = 5'000'000;

  // How long to sleep where `wanted_ns` is wanted.
  std::uint64_t Sleep(std::uint64_t wanted_ns) const {
    return late_ns_ < kMattersNs ? wanted_ns : std::max(wanted_ns, late_ns_);
  }
  // What came of it. Whoever was woken before his time knows nothing of lateness.
  void Slept(std::uint64_t asked_ns, std::uint64_t slept_ns) {
    if (slept_ns < asked_ns) return;
    // A single late one is chance; the mean of the last eight or so is not.
    late_ns_ = (late_ns_ * 7 + std::min(slept_ns - asked_ns, kMostNs)) / 8;
  }

 private:
  std::uint64_t late_ns_ = 0;
};

}  // namespace xsched_hsa

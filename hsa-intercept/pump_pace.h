// pump_pace.h: how often the pump may look where there are many programs on few processors.
//
// Why        The pump polls every 25 us or more while a queue is at work, and it is preferred to the program's own
//            threads (thread.h). Dozens of them take all of a small machine: the programs that feed the queues stand,
//            and so does what is waited for. So beyond two programs a processor each sleeps the longer, the more
//            programs there are and the more its own looks cost: all of them together come to a quarter of the
//            processors, the nearer the more programs there are.
// Threads    the pump's only.
// Units      _ns, host time.
// Trust      the number of programs is the controller's, of this user's only (docs/security-model.md).
// Limits     kMostNs, far below a lease. What wakes the pump (a doorbell, the controller) does not wait for it.
#pragma once

#include <algorithm>
#include <cstdint>

namespace xsched_hsa {

class PumpPace {
 public:
  static constexpr std::uint64_t kMostNs = 5'000'000;

  // A round took so long. `programs`: as many as the controller has; another process's word. `processors`: those
  // that this program may use.
  void Looked(std::uint64_t took_ns, std::uint32_t programs, std::uint32_t processors) {
    // One during which the pump lost its processor says nothing; the mean of eight or so is not shaken by it.
    cost_ns_ = (cost_ns_ * 7 + std::min(took_ns + kSwitchNs, kCostMostNs)) / 8;
    const std::uint64_t ample = 2 * std::uint64_t{processors};
    const std::uint64_t others = programs > ample ? programs - ample : 0;
    least_ns_ = std::min(cost_ns_ * others * 4 / std::max(processors, 1u), kMostNs);
  }
  // How long to sleep where `wanted_ns` is wanted.
  std::uint64_t Sleep(std::uint64_t wanted_ns) const { return std::max(wanted_ns, least_ns_); }

 private:
  static constexpr std::uint64_t kSwitchNs = 5'000;  // to it and back
  static constexpr std::uint64_t kCostMostNs = 100'000;
  std::uint64_t cost_ns_ = 0;
  std::uint64_t least_ns_ = 0;
};

}  // namespace xsched_hsa

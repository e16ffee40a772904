// kernel_times.h: how long each kernel took lately, learnt from the movement of read indexes.
//
// Why        The window exposes predicted microseconds, not packets: a hundred 2 us kernels and one
//            18 ms kernel are different things to whoever waits behind them.
// Threads    any; entries are relaxed atomics, a lost update costs a little accuracy.
// Units      nanoseconds.
// Limits     kEntries kernels; when full, a bucket's oldest choice is overwritten. Entry 0 is
//            "unknown" and stands for packets that are not kernel dispatches as well.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace xsched_hsa {

class KernelTimes {
 public:
  static constexpr std::uint32_t kEntries = 1024;
  static constexpr std::uint64_t kUnknownNs = 100'000;  // before the first observation
  static constexpr std::uint64_t kBarrierNs = 1'000;

  // The entry of an AQL packet (64 bytes, header already valid). Never fails.
  std::uint16_t KeyOf(const unsigned char* packet);

  std::uint64_t PredictNs(std::uint16_t key) const;
  void Observe(std::uint16_t key, std::uint64_t ns);

 private:
  struct Entry {
    std::atomic<std::uint64_t> hash{0};
    std::atomic<std::uint64_t> ns{0};  // exponentially weighted, 0 before the first observation
  };
  static constexpr std::uint16_t kUnknown = 0, kBarrier = 1, kFirst = 2;
  std::array<Entry, kEntries> entries_;
};

}  // namespace xsched_hsa

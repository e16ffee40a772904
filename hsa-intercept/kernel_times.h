// kernel_times.h: how long each kernel took lately, learnt from the movement of read indexes.
//
// Why        The window exposes predicted microseconds, not packets: a hundred 2 us kernels and one
//            18 ms kernel are different things to whoever waits behind them. The same kernel with
//            the same grid may still take different times (a loop bound in its arguments), but
//            programs repeat themselves: what ran before a packet tells the occurrences apart. So a
//            packet has two keys, one for itself and one for itself after its two predecessors, and
//            the second is believed once it has been seen. Beside each time stands how far off it was
//            lately: what may be risked on a prediction depends on that.
// Threads    any; entries are relaxed atomics, a lost update costs a little accuracy.
// Units      nanoseconds.
// Limits     kEntries keys; where a place is contended, an older key is overwritten. Times are cut at 4.3 s.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace xsched_hsa {

struct KernelKey {
  std::uint16_t itself = 0;  // 0: not a kernel dispatch, never learnt
  std::uint16_t in_context = 0;
};

// What was dispatched last on a queue; zero at its beginning.
struct KernelContext {
  std::uint64_t last = 0, before_last = 0;
};

// What a packet is expected to take, and how far to trust that.
struct KernelEstimate {
  std::uint64_t ns = 0;
  std::uint64_t spread_ns =
      0;              // how far off predictions were, on average; all of `ns` after one time only
  bool seen = false;  // it has been seen to end, ever
};

class KernelTimes {
 public:
  static constexpr std::uint32_t kEntries = 4096;
  static constexpr std::uint64_t kUnknownNs = 100'000;  // before the first observation
  static constexpr std::uint64_t kBarrierNs = 1'000;

  // The keys of an AQL packet (64 bytes, header already valid), and the context of the next one.
  KernelKey KeyOf(const unsigned char* packet, KernelContext* context);

  std::uint64_t PredictNs(KernelKey key) const;
  // The same, with what is known of its worth.
  KernelEstimate EstimateOf(KernelKey key) const;
  void Observe(KernelKey key, std::uint64_t ns);

 private:
  struct Entry {
    std::atomic<std::uint64_t> hash{0};
    std::atomic<std::uint32_t> ns{0};  // exponentially weighted, 0 before the first observation
    std::atomic<std::uint32_t> spread_ns{0};  // of |observed - predicted|, likewise
  };
  std::uint16_t EntryOf(std::uint64_t hash);
  void ObserveEntry(std::uint16_t at, std::uint64_t ns);

  std::array<Entry, kEntries> entries_;
};

}  // namespace xsched_hsa

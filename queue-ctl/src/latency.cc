#include "latency.h"

#include <algorithm>

#include "session.h"

namespace xsched_hsa {

LatencyCopy CopyLatency(const LatencyHistogram& histogram) {
  const auto bounded = [](const std::atomic<std::uint64_t>& word) {
    const std::uint64_t value = word.load(std::memory_order_acquire);
    return value <= kCounterMax ? value : 0;
  };
  LatencyCopy copy;
  copy.sum_us = bounded(histogram.sum_us);
  copy.max_us = bounded(histogram.max_us);
  // Counted here: `count` may already have more, or lie.
  for (std::uint32_t i = 0; i < kLatencyBuckets; ++i) {
    copy.buckets[i] = bounded(histogram.buckets[i]);
    copy.count += copy.buckets[i];
  }
  return copy;
}

LatencyCopy LatencyCopy::Since(const LatencyCopy& before) const {
  LatencyCopy result = *this;
  result.count = 0;
  result.sum_us -= std::min(result.sum_us, before.sum_us);
  for (std::uint32_t i = 0; i < kLatencyBuckets; ++i) {
    result.buckets[i] -= std::min(result.buckets[i], before.buckets[i]);
    result.count += result.buckets[i];
  }
  return result;
}

std::uint64_t LatencyCopy::PercentileUs(double fraction) const {
  if (count == 0) return 0;
  const double wanted = fraction * static_cast<double>(count);
  std::uint64_t passed = 0;
  for (std::uint32_t i = 0; i < kLatencyBuckets; ++i) {
    passed += buckets[i];
    if (static_cast<double>(passed) < wanted || passed == 0) continue;
    const std::uint64_t end = i + 1 < kLatencyBuckets ? LatencyBucketFloorUs(i + 1) - 1 : max_us;
    return max_us != 0 ? std::min(end, max_us) : end;
  }
  return max_us;
}

RequestCopy CopyRequests(const ProcessPage& page) {
  const RequestPage& requests = page.requests;
  const auto bounded = [](const std::atomic<std::uint64_t>& word) {
    const std::uint64_t value = word.load(std::memory_order_relaxed);
    return value <= kCounterMax ? value : 0;
  };
  return {bounded(requests.begun), bounded(requests.ended),      bounded(requests.missed),
          bounded(requests.open),  CopyLatency(requests.marked), CopyLatency(requests.bursts)};
}

}  // namespace xsched_hsa

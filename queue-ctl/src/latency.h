// latency.h: reading the latency histograms of a page that its program may be writing or abusing.
//
// Units      microseconds. A percentile is the end of its bucket: at most 12.5 % too high.
// Errors     implausible counts read as 0; percentiles of nothing are 0.
#pragma once

#include <array>
#include <cstdint>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa {

struct LatencyCopy {
  std::uint64_t count = 0, sum_us = 0, max_us = 0;
  std::array<std::uint64_t, kLatencyBuckets> buckets{};

  // What came after `before`; its max_us stays that of everything.
  LatencyCopy Since(const LatencyCopy& before) const;
  std::uint64_t PercentileUs(double fraction) const;
};

LatencyCopy CopyLatency(const LatencyHistogram& histogram);

}  // namespace xsched_hsa

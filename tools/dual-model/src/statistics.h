// statistics.h: percentiles of measured latencies.
//
// Percentiles are nearest-rank: the smallest sample that at least p percent of the samples do not
// exceed. No interpolation, so every figure in a report is a request that happened; with few
// requests P99 is simply the largest. Units: whatever the samples have. Pure functions; an empty
// sample gives 0.
#pragma once

#include <cstddef>
#include <vector>

namespace dual_model {

struct LatencySummary {
  std::size_t requests = 0;
  double p50_ms = 0, p95_ms = 0, p99_ms = 0, max_ms = 0, mean_ms = 0;
};

// `sorted` ascending; percent in (0, 100].
double NearestRank(const std::vector<double>& sorted, double percent);
LatencySummary Summarise(std::vector<double> latencies_ms);

}  // namespace dual_model

#include "statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dual_model {

double NearestRank(const std::vector<double>& sorted, double percent) {
  if (sorted.empty()) return 0;
  // The product may come out a hair above a whole number; that must not move the rank.
  const double rank = std::ceil(percent * double(sorted.size()) / 100 - 1e-9);
  return sorted[std::clamp<std::size_t>(std::size_t(std::max(rank, 1.0)), 1, sorted.size()) - 1];
}

LatencySummary Summarise(std::vector<double> latencies_ms) {
  LatencySummary summary;
  summary.requests = latencies_ms.size();
  if (latencies_ms.empty()) return summary;
  std::sort(latencies_ms.begin(), latencies_ms.end());
  summary.p50_ms = NearestRank(latencies_ms, 50);
  summary.p95_ms = NearestRank(latencies_ms, 95);
  summary.p99_ms = NearestRank(latencies_ms, 99);
  summary.max_ms = latencies_ms.back();
  summary.mean_ms =
      std::accumulate(latencies_ms.begin(), latencies_ms.end(), 0.0) / double(latencies_ms.size());
  return summary;
}

}  // namespace dual_model

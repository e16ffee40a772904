// distribution.h: what many measurements of one thing say. Nearest-rank percentiles, no units of its own.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "statistics.h"

namespace device_measurements {

// {} of no samples.
inline nlohmann::json Distribution(std::vector<double> samples) {
  if (samples.empty()) return nlohmann::json::object();
  std::sort(samples.begin(), samples.end());
  return {{"n", samples.size()},
          {"min", samples.front()},
          {"p50", dual_model::NearestRank(samples, 50)},
          {"p90", dual_model::NearestRank(samples, 90)},
          {"p99", dual_model::NearestRank(samples, 99)},
          {"max", samples.back()}};
}

inline double Median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return dual_model::NearestRank(samples, 50);
}

}  // namespace device_measurements

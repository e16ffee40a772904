// lag_histogram.h: how late the device's events were processed against their simulated time.
//
// Why        The host's scheduler is the noise floor of every simulated figure; it is reported with
//            them instead of being hidden.
// Threads    Add under the GPU's lock; Quantile too.
// Units      host nanoseconds; buckets grow by a quarter, so a quantile is right to 25 %.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace virtual_gpu {

class LagHistogram {
 public:
  void Add(std::int64_t lag_ns) {
    if (lag_ns < 0) lag_ns = 0;
    ++counts_[Bucket(lag_ns)];
    ++total_;
    if (lag_ns > max_ns_) max_ns_ = lag_ns;
  }
  // Upper edge of the bucket in which the quantile lies; 0 when there is nothing.
  std::int64_t Quantile(double q) const {
    if (total_ == 0) return 0;
    const auto wanted = static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(total_)));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted) return std::min(max_ns_, Edge(i));
    }
    return max_ns_;
  }
  std::uint64_t total() const { return total_; }
  std::int64_t max_ns() const { return max_ns_; }

 private:
  static constexpr double kGrowth = 1.25;
  static constexpr double kFirstNs = 100;
  static std::size_t Bucket(std::int64_t ns) {
    if (static_cast<double>(ns) <= kFirstNs) return 0;
    const double index =
        std::ceil(std::log(static_cast<double>(ns) / kFirstNs) / std::log(kGrowth));
    return index >= kBuckets - 1 ? kBuckets - 1 : static_cast<std::size_t>(index);
  }
  static std::int64_t Edge(std::size_t bucket) {
    return static_cast<std::int64_t>(kFirstNs * std::pow(kGrowth, static_cast<double>(bucket)));
  }
  static constexpr std::size_t kBuckets = 96;  // up to 160 s
  std::array<std::uint64_t, kBuckets> counts_ = {};
  std::uint64_t total_ = 0;
  std::int64_t max_ns_ = 0;
};

}  // namespace virtual_gpu

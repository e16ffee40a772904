#include "linger.h"

#include <algorithm>

namespace xsched_hsa {
namespace {
constexpr std::uint64_t kSoon = 8;       // of the policy's linger: not another request
constexpr std::uint64_t kMost = 3;       // of it: more than that is not waited for in addition
constexpr std::uint64_t kForgets = 512;  // requests: one in a hundred decides a P99
}  // namespace

void Linger::Active(std::uint64_t at_us, std::uint64_t base_us) {
  if (drained_us_ == 0) return;
  const std::uint64_t gap_us = at_us > drained_us_ ? at_us - drained_us_ : 0;
  drained_us_ = 0;
  if (gap_us >= kSoon * base_us) {
    extra_us_ -= std::min(extra_us_, extra_us_ / kForgets + 1);
    return;
  }
  const std::uint64_t needed_us = gap_us + gap_us / 4;
  if (needed_us > base_us) extra_us_ = std::max(extra_us_, needed_us - base_us);
  extra_us_ = std::min(extra_us_, kMost * base_us);
}

}  // namespace xsched_hsa

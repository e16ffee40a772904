// weighted_fair.cc: programs of one priority share the device time by weight; strict priority between
// priorities.
//
// Each program has a virtual time: the device time it has used over its weight. The next turn goes to
// the one that is furthest behind. A program that comes back from idleness is behind those that ran by
// four slices at most, or it would make up for time it did not want; none at all, and a program that
// pauses after each iteration would lose its share. It may end the running turn if it is more than a
// slice behind the holder, so that a program with little work need not wait for long turns.
//
// Shares are of *device time* as the layers measure it (shared_page.h: device_us), between programs,
// not queues: HIP puts many streams on few queues, so a queue's share would be nobody's.
//
// Counterpart of XSched's CFS and of its UP and PUP (docs/policies.md).
//
// Parameters read: window_us, linger_us, slice_ms, turn_tail_ms, hold_max_ms, guaranteed_share_percent,
// cap_period_ms.
#include <algorithm>
#include <cstdlib>
#include <limits>

#include "levels.h"
#include "policies_list.h"
#include "turns.h"

namespace xsched_hsa {
namespace {

constexpr std::int64_t kCreditSlices = 4;

class FairOrder final : public TurnOrder {
 public:
  explicit FairOrder(std::int64_t slice_us) : slice_us_(slice_us) {}

  // Negative virtual_us: it was idle when last asked; 0: it is new.
  void Prepare(const Snapshot&, std::span<Contender*> level) const override {
    std::int64_t floor = std::numeric_limits<std::int64_t>::max();
    for (Contender* contender : level) {
      if (contender->virtual_us <= 0) continue;
      contender->virtual_us +=
          static_cast<std::int64_t>(contender->used_us) * 100 / contender->weight;
      if (contender->active) floor = std::min(floor, contender->virtual_us);
    }
    if (floor == std::numeric_limits<std::int64_t>::max()) floor = 1;
    for (Contender* contender : level) {
      if (!contender->active) {
        contender->virtual_us = -std::abs(contender->virtual_us);
      } else if (contender->virtual_us <= 0) {
        const bool is_new = contender->virtual_us == 0;
        const std::int64_t credit = is_new ? 0 : kCreditSlices * slice_us_;
        contender->virtual_us = std::max({-contender->virtual_us, floor - credit, std::int64_t{1}});
      }
    }
  }

  bool IsBefore(const Snapshot&, const Contender& a, const Contender& b) const override {
    if (a.virtual_us != b.virtual_us) return a.virtual_us < b.virtual_us;
    return a.last_turn_us < b.last_turn_us;
  }

  bool Interrupts(const Snapshot&, const Contender& waiting,
                  const Contender& holder) const override {
    return waiting.virtual_us + slice_us_ * 100 / waiting.weight < holder.virtual_us;
  }

 private:
  const std::int64_t slice_us_;
};

}  // namespace

std::unique_ptr<Policy> MakeWeightedFair(const PolicyParams& params) {
  return std::make_unique<TurnPolicy<FairOrder>>("weighted-fair", params, params.slice_us);
}

}  // namespace xsched_hsa

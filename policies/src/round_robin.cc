// round_robin.cc: programs of one priority take the GPU in equal turns, one after the other.
//
// A turn is slice_ms of device time; a program that has no work left gives the rest of it away. Weights
// are not looked at, and a program with little work waits for as many turns as there are others:
// weighted-fair is the better one where that matters. This one is for tenants that must be able to
// predict when they run.
//
// Counterpart of XSched's time slices without a share.
//
// Parameters read: window_us, linger_us, slice_ms, turn_tail_ms, hold_max_ms, guaranteed_share_percent,
// cap_period_ms.
#include "levels.h"
#include "policies_list.h"
#include "turns.h"

namespace xsched_hsa {
namespace {

class LeastRecent final : public TurnOrder {
 public:
  bool IsBefore(const Snapshot&, const Contender& a, const Contender& b) const override {
    return a.last_turn_us < b.last_turn_us;
  }
};

}  // namespace

std::unique_ptr<Policy> MakeRoundRobin(const PolicyParams& params) {
  return std::make_unique<TurnPolicy<LeastRecent>>("round-robin", params);
}

}  // namespace xsched_hsa

// strict_priority.cc: while a more urgent queue has work, less urgent queues are held.
//
// The decision is made ahead of time. When a request arrives there is no time to ask a controller, so
// this policy only prepares the ground, once per change of the set of queues:
//
//   armed  a queue for which a more urgent one exists on the same GPU. It keeps only `window_us` of
//          predicted work in front of the hardware, because what is exposed can't be taken back: the
//          window is what a request waits for at most, and what hides the pump's latency.
//   raise  a queue for which a less urgent one exists on the same GPU. Its own doorbell raises the
//          GPU's urgency, and every armed queue below that level stops publishing by itself. When it
//          has been without work for `linger_us` it is done, and the controller lowers the level.
//          Lingering keeps a burst of short kernels with host gaps between them from opening the gate
//          in each gap.
//
// A queue in the middle is both. A queue alone, or among equals, is neither: its packets then pass with
// nothing in their way. Queues of one process count like those of different processes: a program that
// made a low and a high stream means it.
//
// Strict, but not without end: aging.cc bounds how long a queue with work waits behind urgent work that
// never pauses, and gives it a guaranteed share of the time. Caps (caps.cc) bound what a program uses.
//
// Counterpart of XSched's HPF, which has neither bound.
//
// Parameters read: window_us, linger_us, hold_max_ms, guaranteed_share_percent, cap_period_ms, and mechanisms,
// delay_budget, squeeze_units.
#include "levels.h"
#include "policies_list.h"

namespace xsched_hsa {
namespace {

class StrictPriority final : public Policy {
 public:
  explicit StrictPriority(const PolicyParams& params) : params_(params) {}

  std::string_view Name() const override { return "strict-priority"; }

  void Decide(const Snapshot& snapshot, Answer* answer) const override {
    PrepareLevels(snapshot, params_, answer);
    AgeHeld(snapshot, params_, answer);
    ApplyCaps(snapshot, params_, answer);
  }

 private:
  const PolicyParams params_;
};

}  // namespace

std::unique_ptr<Policy> MakeStrictPriority(const PolicyParams& params) {
  return std::make_unique<StrictPriority>(params);
}

}  // namespace xsched_hsa

// preemption_plan.h: which mechanism serves an urgent request best just now.
//
// Why        Holding packets costs the device nothing but leaves the running kernels; suspending and
//            squeezing reach into them, but each costs everybody on the device a runlist cycle.
//            Which is best depends on how long the running kernels have still to go, on what a
//            cycle costs on this machine just now, and on how long requests take. None of these is
//            known beforehand; all are measured here (PlanModel), and the choice is a sum.
// Rule       Of the mechanisms whose predicted delay of the request is within the budget, the one
//            that takes least from the less urgent queue; if none is, the one that delays least.
//
//              delay of the request                       cost to the less urgent queue
//              hold     co_run x rest                     left - rest, or nothing
//              squeeze  cycles - slack, or nothing,       left x units taken + 2 cycles
//                       + left x sharing
//              suspend  cycles - slack, or nothing        left + cycles
//              share    what such requests took longer    nothing
//
//            left     of the request: all of it, or when a hold is looked at again, the rest. One that
//                     has outlived its prediction is taken to need an eighth more of what it took
//            cycles   one for each queue to be restricted (each change is a runlist cycle for all)
//            slack    of a cycle, how much a request does not feel: its host was not ready anyway
//            co_run   how much of the rest a request feels while both share the device, when it feels much
//            sharing  what a queue squeezed to so many units still takes: learnt for each eighth of
//                     the device; before that 0.8 x (units left / all)^4, the form of a contention
//                     model (docs/decisions.md). More units never count as less sharing. Where the
//                     best squeeze takes half of the budget at most, one step more is tried now and then
//            share    neither held nor restricted: where the less urgent kernels are short, requests may
//                     hardly feel them, and every hold is for nothing. Tried only where what runs is
//                     short against a request, and only kernels that have been seen to end: one that has
//                     not may be of any length. Where it costs too much, hardly ever again
// Threads    plain data and pure functions; the caller serialises a PlanModel.
// Units      nanoseconds of the host's clock. Shares are fractions of 1.
// See        docs/life-of-a-preemption.md, preemption_plan_test.cc
#pragma once

#include <cstdint>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa {

// The last measurements of one kind.
class Samples {
 public:
  static constexpr std::uint32_t kMax = 32;
  void Add(double value) { values_[count_++ % kMax] = value; }
  std::uint32_t count() const { return count_ < kMax ? count_ : kMax; }
  std::uint32_t ever() const { return count_; }
  // The one that this share of the others is below; `prior` when there is none.
  double Quantile(double share, double prior) const;

 private:
  double values_[kMax] = {};
  std::uint32_t count_ = 0;
};

// What is measured, per process and GPU; priors stand in until then. A budget is for all requests, so
// what a mechanism delays is taken at its worse end, not at its mean.
class PlanModel {
 public:
  static constexpr std::uint64_t kCyclePriorNs = 1'000'000;  // 0.1..5 ms is all anybody knows
  static constexpr std::uint64_t kRequestPriorNs = 3'000'000;

  static constexpr std::uint32_t kShares = 8;

  // The median: a call that had to wait for another one's cycle is no measure.
  std::uint64_t CycleNs() const;
  std::uint32_t cycle_samples() const { return cycle_ns_.ever(); }
  // A cycle where a mask was changed, for those who look; 0: not known. The plan does not choose by it: it is
  // only measured while queues are squeezed, so that one dear time would end all squeezing (docs/decisions.md).
  std::uint64_t MaskNs() const;
  // From an urgent doorbell, in another process, until this one's preemptor looks. Gates need no look: they
  // close at their next publication. 0: not known.
  std::uint64_t ReactionNs() const {
    return static_cast<std::uint64_t>(reaction_ns_.Quantile(0.5, 0));
  }
  // What a request takes by itself: the lower quartile of those that met no more than a hold. Were only
  // the last ones counted, what we do would become the measure of itself. All that we do makes requests
  // longer, so if the last ones' lower quartile is less, it is that.
  std::uint64_t RequestNs() const;
  std::uint64_t SlackNs() const;
  double co_run() const;
  // Of a request, what a queue takes that is left this share of the device.
  double SharingOf(double share_left) const;
  // Of a request, what the slowest but one of the last took longer, cycles and all, while a queue was
  // left this share; 0: not known.
  double DelayedBy(double share_left) const;
  // Of a request, what it takes longer beside a queue that is left alone; negative: not known.
  double Unrestricted() const;

  // A driver call that changes a queue at work took `call_ns`. It returns when all queues are off the
  // hardware; mapping them again takes about as long and is not seen.
  void ObserveCycle(std::uint64_t call_ns);
  void ObserveMask(std::uint64_t call_ns);  // in addition
  void ObserveReaction(std::uint64_t ns) { reaction_ns_.Add(static_cast<double>(ns)); }
  // Some requests have to meet only a hold, or that measure would never be had, or grow old; and some
  // a suspension, as long as a cycle is not far longer than a request, or the slack would never be.
  bool WantsHold() const { return since_hold_ >= kHoldEvery || request_ns_.ever() < kTriesFirst; }
  bool WantsSuspension() const {
    return slack_ns_.ever() < kTriesFirst && CycleNs() <= 2 * RequestNs();
  }
  // Leaving a queue alone is tried a few times where what runs is short now and was nearly always, and
  // seldom once it has turned out dear: devices and programs change.
  bool WantsShare(std::uint64_t rest_ns) const;
  // A squeeze that leaves a step more than one that is well known: tried a few times, if it is not dear.
  // Long after it is tried afresh: devices and programs change.
  bool WantsSqueeze(double share_left, double next_share, double dear) const;
  static constexpr std::uint32_t kTriesFirst = 4, kHoldEvery = 256, kShareEvery = 2048;

  // A request that found nothing of ours to decide about, and one that met the mechanism.
  void ObserveRequest(std::uint64_t took_ns);
  void ObserveOutcome(PlanMechanism mechanism, std::uint64_t took_ns, std::uint64_t rest_ns,
                      std::uint64_t cycles_ns, double share_left);

 private:
  Samples mask_ns_, reaction_ns_;
  Samples cycle_ns_, request_ns_, last_ns_, slack_ns_, co_run_, unrestricted_, rest_ns_;
  std::uint32_t since_hold_ = 0, since_share_ = 0, requests_ = 0;  // requests
  Samples sharing_[kShares];                                       // by eighths of the device left
  Samples delayed_[kShares];
  std::uint32_t squeezed_at_[kShares] = {};
};

struct PlanInputs {
  std::uint64_t rest_ns = 0;  // predicted: what the hardware still has of the less urgent queues
  std::uint64_t rest_spread_ns = 0;  // how far off that may be; told, and not reckoned with
  std::uint64_t elapsed_ns = 0;  // of the request; a hold is looked at again in the middle of it
  std::uint32_t queues = 1;      // how many of them have to be restricted
  bool can_batch = false;        // they can be suspended in one cycle together
  bool can_squeeze = false;
  bool can_suspend = false;
  bool can_share = false;
  std::uint32_t compute_units = 0;  // of the device
  std::uint32_t unit_step = 0;      // masks have a multiple of these: one per shader engine
  std::uint32_t units_ordered = 0;  // an operator's choice of units left; 0: free
  std::uint32_t budget_permille = 50;
};

struct PlanChoice {
  PlanMechanism mechanism = PlanMechanism::kHold;
  PlanReason reason = PlanReason::kOnlyHold;
  std::uint32_t units_left = 0;  // squeeze
  std::uint64_t delay_ns = 0;    // predicted, of the request
  std::uint64_t cost_ns = 0;     // predicted, to the less urgent queues
};

// False: never only hold what squeezing or suspending could reach. For the comparison of single
// mechanisms alone (tools/dual-model/ablation).
inline constinit bool g_hold_is_enough = true;

PlanChoice ChoosePlan(const PlanModel& model, const PlanInputs& inputs);

// How much a queue may expose: where a squeeze or a suspension is within the budget however much is on
// the hardware, a narrow window only starves the queue. 0: the policy's window.
inline constexpr std::uint64_t kWideWindowNs = 5'000'000;
std::uint64_t WideWindowNs(const PlanModel& model, PlanInputs inputs);

// After an urgent queue has drained: how long a suspended or squeezed queue stays so, in case the
// next request comes at once. Going back and forth costs a cycle each way, so as long as that, if
// the gaps seen lately are no longer.
std::uint64_t DwellNs(const PlanModel& model, const PlanInputs& inputs, std::uint64_t gap_ns);

}  // namespace xsched_hsa

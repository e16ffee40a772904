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
//              hold     co_run x rest                     request - rest, or nothing
//              squeeze  cycles - slack, or nothing,       request x units taken + 2 cycles
//                       + request x sharing
//              suspend  cycles - slack, or nothing        request + cycles
//
//            cycles   one for each queue to be restricted (each change is a runlist cycle for all)
//            slack    of a cycle, how much a request does not feel: its host was not ready anyway
//            co_run   how much of the rest a request feels while both share the device, when it feels much
//            sharing  what a queue squeezed to so many units still takes: learnt for each eighth of
//                     the device; before that 0.8 x (units left / all)^4, the form of a contention
//                     model (docs/decisions.md). More units never count as less sharing.
// Threads    plain data and pure functions; the caller serialises a PlanModel.
// Units      nanoseconds of the host's clock. Shares are fractions of 1.
// See        docs/life-of-a-preemption.md, preemption_plan_test.cc
#pragma once

#include <cstdint>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa {

// What is measured, per process and GPU. A zero means not measured yet; priors stand in.
class PlanModel {
 public:
  static constexpr std::uint64_t kCyclePriorNs = 1'000'000;  // 0.1..5 ms is all anybody knows
  static constexpr std::uint64_t kRequestPriorNs = 3'000'000;

  static constexpr std::uint32_t kCycleSamples = 8, kRequestSamples = 32, kShares = 8;

  // The median of the last samples: a call that had to wait for another one's cycle is no measure.
  std::uint64_t CycleNs() const;
  std::uint32_t cycle_samples() const { return cycle_samples_; }
  // What a request takes that nothing disturbs: the lower quartile of the last ones.
  std::uint64_t RequestNs() const;
  std::uint64_t SlackNs() const { return slack_ns_; }
  double co_run() const { return co_run_; }
  // Of a request, what a queue takes that is left this share of the device.
  double SharingOf(double share_left) const;

  // A driver call that changes a queue at work took `call_ns`. It returns when all queues are off the
  // hardware; mapping them again takes about as long and is not seen.
  void ObserveCycle(std::uint64_t call_ns);
  // A request that found nothing of ours on the hardware, and one that met the mechanism.
  void ObserveRequest(std::uint64_t took_ns);
  void ObserveOutcome(PlanMechanism mechanism, std::uint64_t took_ns, std::uint64_t rest_ns,
                      std::uint64_t cycles_ns, double share_left);

 private:
  void Mix(double* value, double seen, double least, double most);

  std::uint64_t slack_ns_ = 0;
  std::uint64_t requests_ns_[kRequestSamples] = {};  // the last ones
  std::uint32_t request_samples_ = 0;                // ever
  double co_run_ = 0.5;
  std::uint64_t cycles_ns_[kCycleSamples] = {};  // the last ones
  std::uint32_t cycle_samples_ = 0;              // ever
  double sharing_[kShares] = {};                 // by eighths left; only where seen_ says so
  bool seen_[kShares] = {};
};

struct PlanInputs {
  std::uint64_t rest_ns = 0;  // predicted: what the hardware still has of the less urgent queues
  std::uint32_t queues = 1;   // how many of them have to be restricted
  bool can_squeeze = false;
  bool can_suspend = false;
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

// How much a queue may expose: where a squeeze or a suspension is within the budget however much is
// on the hardware, a narrow window only starves the queue. 0: the policy's window.
inline constexpr std::uint64_t kWideWindowNs = 5'000'000;
std::uint64_t WideWindowNs(const PlanModel& model, PlanInputs inputs);

// After an urgent queue has drained: how long a suspended or squeezed queue stays so, in case the
// next request comes at once. Going back and forth costs a cycle each way, so as long as that, if
// the gaps seen lately are no longer.
std::uint64_t DwellNs(const PlanModel& model, const PlanInputs& inputs, std::uint64_t gap_ns);

}  // namespace xsched_hsa

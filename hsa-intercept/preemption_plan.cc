#include "preemption_plan.h"

#include <algorithm>

namespace xsched_hsa {
namespace {

// A new measurement's weight. Requests vary; one odd one must not turn the plan round.
constexpr double kWeight = 0.125;
// What a running kernel does to a request is mostly little and now and then all of its rest; the budget
// is about the latter. So what is worse counts at once, and what is better is believed slowly.
constexpr double kWorseWeight = 0.5, kBetterWeight = 1.0 / 32;
constexpr std::uint64_t kRestNoticeableNs = 200'000;  // below, co_run can't be told from noise

std::uint64_t Excess(std::uint64_t value, std::uint64_t over) {
  return value > over ? value - over : 0;
}
std::uint64_t Scaled(std::uint64_t ns, double share) {
  return static_cast<std::uint64_t>(static_cast<double>(ns) * share);
}
// The rank-th smallest, from 0.
std::uint64_t Sorted(const std::uint64_t* values, std::uint32_t count, std::uint32_t rank) {
  std::uint64_t sorted[PlanModel::kRequestSamples];
  std::copy(values, values + count, sorted);
  std::sort(sorted, sorted + count);
  return sorted[rank];
}
double PriorSharing(double share) { return 0.8 * share * share * share * share; }
std::uint32_t ShareIndex(double share) {
  return std::min(PlanModel::kShares - 1, static_cast<std::uint32_t>(share * PlanModel::kShares));
}

class Chooser {
 public:
  Chooser(const PlanModel& model, const PlanInputs& inputs)
      : budget_ns_(model.RequestNs() / 1000 * inputs.budget_permille) {}

  void Offer(const PlanChoice& choice) {
    const bool within = choice.delay_ns <= budget_ns_;
    const bool first = !any_;
    any_ = true;
    if (first || Better(choice, within)) {
      best_ = choice;
      best_within_ = within;
    }
  }
  PlanChoice Best() const {
    PlanChoice best = best_;
    best.reason = best_within_ ? PlanReason::kCheapestWithinBudget : PlanReason::kLeastDelay;
    return best;
  }

 private:
  bool Better(const PlanChoice& choice, bool within) const {
    if (within != best_within_) return within;
    return within ? choice.cost_ns < best_.cost_ns : choice.delay_ns < best_.delay_ns;
  }

  const std::uint64_t budget_ns_;
  bool any_ = false, best_within_ = false;
  PlanChoice best_;
};

}  // namespace

void PlanModel::Mix(double* value, double seen, double least, double most) {
  *value += kWeight * (std::clamp(seen, least, most) - *value);
}

void PlanModel::ObserveCycle(std::uint64_t call_ns) {
  cycles_ns_[cycle_samples_++ % kCycleSamples] = 2 * call_ns;
}

std::uint64_t PlanModel::CycleNs() const {
  const std::uint32_t count = std::min(cycle_samples_, kCycleSamples);
  if (count == 0) return kCyclePriorNs;
  // Of two, the smaller: what went wrong only ever made it longer.
  return Sorted(cycles_ns_, count, (count - 1) / 2);
}

double PlanModel::SharingOf(double share_left) const {
  const std::uint32_t index = ShareIndex(share_left);
  double sharing = seen_[index] ? sharing_[index] : PriorSharing(share_left);
  for (std::uint32_t i = 0; i < index; ++i) {
    if (seen_[i]) sharing = std::max(sharing, sharing_[i]);
  }
  return sharing;
}

void PlanModel::ObserveRequest(std::uint64_t took_ns) {
  requests_ns_[request_samples_++ % kRequestSamples] = took_ns;
}

std::uint64_t PlanModel::RequestNs() const {
  const std::uint32_t count = std::min(request_samples_, kRequestSamples);
  return count == 0 ? kRequestPriorNs : Sorted(requests_ns_, count, (count - 1) / 4);
}

void PlanModel::ObserveOutcome(PlanMechanism mechanism, std::uint64_t took_ns,
                               std::uint64_t rest_ns, std::uint64_t cycles_ns, double share_left) {
  const std::uint64_t base_ns = RequestNs();
  ObserveRequest(took_ns);
  const double delay = static_cast<double>(Excess(took_ns, base_ns));
  if (mechanism == PlanMechanism::kHold) {
    if (rest_ns < kRestNoticeableNs) return;
    const double seen = std::clamp(delay / static_cast<double>(rest_ns), 0.02, 1.5);
    co_run_ += (seen > co_run_ ? kWorseWeight : kBetterWeight) * (seen - co_run_);
    return;
  }
  if (mechanism == PlanMechanism::kSuspend) {
    double slack = static_cast<double>(slack_ns_);
    const double cycles = static_cast<double>(cycles_ns);
    Mix(&slack, cycles - delay, 0, std::min(cycles, static_cast<double>(base_ns)));
    slack_ns_ = static_cast<std::uint64_t>(slack);
    return;
  }
  const double from_cycle = static_cast<double>(Excess(cycles_ns, slack_ns_));
  const double sharing = std::clamp((delay - from_cycle) / static_cast<double>(base_ns), 0.0, 4.0);
  const std::uint32_t index = ShareIndex(share_left);
  if (!seen_[index]) sharing_[index] = PriorSharing(share_left);
  seen_[index] = true;
  sharing_[index] += (sharing - sharing_[index]) / 4;
}

PlanChoice ChoosePlan(const PlanModel& model, const PlanInputs& inputs) {
  const std::uint64_t request_ns = model.RequestNs();
  PlanChoice hold;
  hold.delay_ns = Scaled(inputs.rest_ns, model.co_run());
  hold.cost_ns = Excess(request_ns, inputs.rest_ns);
  const bool squeezable =
      inputs.can_squeeze && inputs.unit_step != 0 && inputs.compute_units > inputs.unit_step;
  if (!squeezable && !inputs.can_suspend) return hold;

  const std::uint64_t cycles_ns = model.CycleNs() * std::max(1u, inputs.queues);
  const std::uint64_t felt_ns = Excess(cycles_ns, model.SlackNs());
  Chooser chooser(model, inputs);
  if (g_hold_is_enough) chooser.Offer(hold);
  if (inputs.can_suspend && inputs.rest_ns != 0) {
    chooser.Offer({.mechanism = PlanMechanism::kSuspend,
                   .delay_ns = felt_ns,
                   .cost_ns = request_ns + cycles_ns});
  }
  for (std::uint32_t left = inputs.unit_step; squeezable && left < inputs.compute_units;
       left += inputs.unit_step) {
    if (inputs.units_ordered != 0 && left != inputs.units_ordered) continue;
    const double share = static_cast<double>(left) / inputs.compute_units;
    chooser.Offer({.mechanism = PlanMechanism::kSqueeze,
                   .units_left = left,
                   .delay_ns = felt_ns + Scaled(request_ns, model.SharingOf(share)),
                   .cost_ns = Scaled(request_ns, 1 - share) + 2 * cycles_ns});
  }
  PlanChoice best = chooser.Best();
  if (inputs.rest_ns == 0 && best.mechanism == PlanMechanism::kHold) {
    best.reason = PlanReason::kNothingExposed;
  }
  return best;
}

std::uint64_t WideWindowNs(const PlanModel& model, PlanInputs inputs) {
  constexpr std::uint64_t kEndlessNs = 1'000'000'000'000;
  if (model.cycle_samples() == 0) return 0;
  inputs.rest_ns = kEndlessNs;
  const PlanChoice choice = ChoosePlan(model, inputs);
  return choice.reason == PlanReason::kCheapestWithinBudget ? kWideWindowNs : 0;
}

std::uint64_t DwellNs(const PlanModel& model, const PlanInputs& inputs, std::uint64_t gap_ns) {
  const std::uint64_t cycles_ns = 2 * model.CycleNs() * std::max(1u, inputs.queues);
  return gap_ns != 0 && gap_ns <= cycles_ns ? cycles_ns : 0;
}

}  // namespace xsched_hsa

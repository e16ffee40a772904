#include "preemption_plan.h"

#include <algorithm>

namespace xsched_hsa {
namespace {

// Requests vary, and so do the looks that measure them. What a hold delays is rare and long, so of 32
// measures only the two worst don't count; what a cycle or a squeezed queue delays is much the same
// each time, and the worst four are rather the measure's own.
constexpr double kWorseHold = 15.0 / 16, kWorse = 7.0 / 8, kWorstButOne = 31.0 / 32;
constexpr double kCoRunPrior = 0.5;
// Of a request: what runs is short then, and what ran at the last requests was.
constexpr std::uint64_t kShortRestShare = 8, kShortRestsShare = 4;
constexpr double kDear = 0.5;                         // of a request: no further tries
constexpr std::uint64_t kRestNoticeableNs = 200'000;  // below, co_run can't be told from noise

std::uint64_t Excess(std::uint64_t value, std::uint64_t over) {
  return value > over ? value - over : 0;
}
std::uint64_t Scaled(std::uint64_t ns, double share) {
  return static_cast<std::uint64_t>(static_cast<double>(ns) * share);
}
double PriorSharing(double share) { return 0.8 * share * share * share * share; }
std::uint32_t ShareIndex(double share) {
  return std::min(PlanModel::kShares - 1, static_cast<std::uint32_t>(share * PlanModel::kShares));
}

class Chooser {
 public:
  Chooser(const PlanModel& model, const PlanInputs& inputs)
      : budget_ns_(model.RequestNs() / 1000 * inputs.budget_permille) {}

  // `margin`: of the budget, what the choice must leave, since little is known of it.
  void Offer(const PlanChoice& choice, double margin = 0) {
    const bool within = choice.delay_ns <= Scaled(budget_ns_, 1 - margin);
    const bool first = !any_;
    any_ = true;
    if (first || Better(choice, within)) {
      best_ = choice;
      best_within_ = within;
    }
  }
  std::uint64_t budget_ns() const { return budget_ns_; }
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

double Samples::Quantile(double share, double prior) const {
  const std::uint32_t held = count();
  if (held == 0) return prior;
  double sorted[kMax];
  std::copy(values_, values_ + held, sorted);
  std::sort(sorted, sorted + held);
  // Rounded down: of two, the smaller.
  return sorted[static_cast<std::uint32_t>(share * (held - 1))];
}

void PlanModel::ObserveCycle(std::uint64_t call_ns) {
  cycle_ns_.Add(2 * static_cast<double>(call_ns));
}
void PlanModel::ObserveRequest(std::uint64_t took_ns) {
  request_ns_.Add(static_cast<double>(took_ns));
  last_ns_.Add(static_cast<double>(took_ns));
  since_hold_ = 0;
}

std::uint64_t PlanModel::CycleNs() const {
  return static_cast<std::uint64_t>(cycle_ns_.Quantile(0.5, kCyclePriorNs));
}
void PlanModel::ObserveMask(std::uint64_t call_ns) {
  mask_ns_.Add(2 * static_cast<double>(call_ns));
}
std::uint64_t PlanModel::MaskNs() const {
  return static_cast<std::uint64_t>(mask_ns_.Quantile(0.5, 0));
}
std::uint64_t PlanModel::RequestNs() const {
  return static_cast<std::uint64_t>(std::min(request_ns_.Quantile(0.25, kRequestPriorNs),
                                             last_ns_.Quantile(0.25, kRequestPriorNs)));
}
std::uint64_t PlanModel::SlackNs() const {
  return static_cast<std::uint64_t>(slack_ns_.Quantile(1 - kWorse, 0));
}
double PlanModel::co_run() const { return co_run_.Quantile(kWorseHold, kCoRunPrior); }

double PlanModel::SharingOf(double share_left) const {
  const std::uint32_t index = ShareIndex(share_left);
  double sharing = sharing_[index].Quantile(kWorse, PriorSharing(share_left));
  for (std::uint32_t i = 0; i < index; ++i) {
    sharing = std::max(sharing, sharing_[i].Quantile(kWorse, 0));
  }
  return sharing;
}

double PlanModel::Unrestricted() const {
  if (unrestricted_.ever() < kTriesFirst) return -1;
  return unrestricted_.Quantile(kWorseHold, 0);
}

bool PlanModel::WantsShare(std::uint64_t rest_ns) const {
  const auto usual_ns = static_cast<std::uint64_t>(rest_ns_.Quantile(kWorse, 0));
  if (rest_ns * kShortRestShare > RequestNs() || usual_ns * kShortRestsShare > RequestNs() ||
      rest_ns_.ever() < 2 * kTriesFirst) {
    return false;
  }
  const bool known = unrestricted_.ever() >= kTriesFirst || unrestricted_.Quantile(1, 0) > kDear;
  return !known || since_share_ >= kShareEvery;
}

double PlanModel::DelayedBy(double share_left) const {
  return delayed_[ShareIndex(share_left)].Quantile(kWorstButOne, 0);
}

bool PlanModel::WantsSqueeze(double share_left, double next_share, double dear) const {
  const std::uint32_t next = ShareIndex(next_share);
  if (delayed_[ShareIndex(share_left)].count() < Samples::kMax) return false;
  const bool known = delayed_[next].ever() >= kTriesFirst || DelayedBy(next_share) > dear;
  return !known || requests_ - squeezed_at_[next] >= kShareEvery;
}

void PlanModel::ObserveOutcome(PlanMechanism mechanism, std::uint64_t took_ns,
                               std::uint64_t rest_ns, std::uint64_t cycles_ns, double share_left) {
  const std::uint64_t base_ns = RequestNs();
  ++since_hold_;
  ++since_share_;
  ++requests_;
  rest_ns_.Add(static_cast<double>(rest_ns));
  const double base = static_cast<double>(base_ns), cycles = static_cast<double>(cycles_ns);
  const double delay = static_cast<double>(Excess(took_ns, base_ns));
  if (mechanism != PlanMechanism::kHold) last_ns_.Add(static_cast<double>(took_ns));
  switch (mechanism) {
    case PlanMechanism::kHold:
      ObserveRequest(took_ns);
      if (rest_ns < kRestNoticeableNs) return;
      return co_run_.Add(std::clamp(delay / static_cast<double>(rest_ns), 0.0, 2.0));
    case PlanMechanism::kSuspend:
      return slack_ns_.Add(std::clamp(cycles - delay, 0.0, std::min(cycles, base)));
    case PlanMechanism::kShare:
      since_share_ = 0;
      return unrestricted_.Add(std::min(delay / base, 16.0));
    case PlanMechanism::kSqueeze: {
      const double felt = static_cast<double>(Excess(cycles_ns, SlackNs()));
      const std::uint32_t index = ShareIndex(share_left);
      if (requests_ - squeezed_at_[index] >= kShareEvery) delayed_[index] = Samples();  // afresh
      squeezed_at_[index] = requests_;
      delayed_[index].Add(delay / base);
      return sharing_[index].Add(std::clamp((delay - felt) / base, 0.0, 4.0));
    }
  }
}

namespace {

// A squeeze of which more was assumed than the budget, so that only tries speak for it. They are few, and
// the slowest request of a hundred is hardly among them: all but one, which may have been late for
// another reason, have to stay well within the budget, by all that they took longer.
constexpr double kTriedMargin = 0.5;
bool IsTried(const PlanInputs& inputs, double share_left) {
  return inputs.units_ordered == 0 && PriorSharing(share_left) > inputs.budget_permille / 1000.0;
}

PlanChoice SqueezeTo(const PlanModel& model, const PlanInputs& inputs, std::uint32_t units_left,
                     std::uint64_t left_ns) {
  const double share_left = static_cast<double>(units_left) / inputs.compute_units;
  const std::uint64_t cycles_ns = model.CycleNs() * std::max(1u, inputs.queues);
  const std::uint64_t predicted_ns =
      Excess(cycles_ns, model.SlackNs()) + Scaled(left_ns, model.SharingOf(share_left));
  const double seen = IsTried(inputs, share_left) ? model.DelayedBy(share_left) : 0;
  return {.mechanism = PlanMechanism::kSqueeze,
          .reason = PlanReason::kLearning,
          .units_left = units_left,
          .delay_ns = std::max(predicted_ns, Scaled(left_ns, seen)),
          .cost_ns = Scaled(left_ns, 1 - share_left) + 2 * cycles_ns};
}

// Where a squeeze is far within the budget, one that leaves a step more may be, too: what was assumed
// of it says less than a few tries.
bool TriesMore(const PlanModel& model, const PlanInputs& inputs, const PlanChoice& best,
               std::uint64_t budget_ns) {
  const std::uint32_t next = best.units_left + inputs.unit_step;
  if (best.mechanism != PlanMechanism::kSqueeze ||
      best.delay_ns > Scaled(budget_ns, kTriedMargin) || inputs.units_ordered != 0 ||
      next >= inputs.compute_units) {
    return false;
  }
  const double all = inputs.compute_units;
  return model.WantsSqueeze(best.units_left / all, next / all, inputs.budget_permille / 1000.0);
}

}  // namespace

PlanChoice ChoosePlan(const PlanModel& model, const PlanInputs& inputs) {
  const std::uint64_t request_ns = model.RequestNs();
  PlanChoice hold;
  hold.delay_ns = Scaled(inputs.rest_ns, model.co_run());
  const std::uint64_t left_ns =
      inputs.elapsed_ns < request_ns ? request_ns - inputs.elapsed_ns : inputs.elapsed_ns / 8;
  hold.cost_ns = Excess(left_ns, inputs.rest_ns);
  const bool squeezable =
      inputs.can_squeeze && inputs.unit_step != 0 && inputs.compute_units > inputs.unit_step;
  if (!squeezable && !inputs.can_suspend && !inputs.can_share) return hold;

  if (g_hold_is_enough && model.WantsHold()) {
    hold.reason = PlanReason::kLearning;
    return hold;
  }
  PlanChoice share{.mechanism = PlanMechanism::kShare, .reason = PlanReason::kLearning};
  if (inputs.can_share && model.WantsShare(inputs.rest_ns)) return share;
  const std::uint64_t cycles_ns = model.CycleNs() * std::max(1u, inputs.queues);
  Chooser chooser(model, inputs);
  if (g_hold_is_enough) chooser.Offer(hold);
  if (inputs.can_share && model.Unrestricted() >= 0) {
    share.delay_ns = Scaled(request_ns, model.Unrestricted());
    chooser.Offer(share);
  }
  if (inputs.can_suspend && inputs.rest_ns != 0) {
    const std::uint64_t suspension_ns = inputs.can_batch ? model.CycleNs() : cycles_ns;
    const PlanChoice suspend{.mechanism = PlanMechanism::kSuspend,
                             .reason = PlanReason::kLearning,
                             .delay_ns = Excess(suspension_ns, model.SlackNs()),
                             .cost_ns = left_ns + suspension_ns};
    if (g_hold_is_enough && model.WantsSuspension()) return suspend;
    chooser.Offer(suspend);
  }
  for (std::uint32_t left = inputs.unit_step; squeezable && left < inputs.compute_units;
       left += inputs.unit_step) {
    if (inputs.units_ordered != 0 && left != inputs.units_ordered) continue;
    const bool tried = IsTried(inputs, static_cast<double>(left) / inputs.compute_units);
    chooser.Offer(SqueezeTo(model, inputs, left, left_ns), tried ? kTriedMargin : 0);
  }
  PlanChoice best = chooser.Best();
  if (TriesMore(model, inputs, best, chooser.budget_ns())) {
    return SqueezeTo(model, inputs, best.units_left + inputs.unit_step, left_ns);
  }
  if (inputs.rest_ns == 0 && best.mechanism == PlanMechanism::kHold) {
    best.reason = PlanReason::kNothingExposed;
  }
  return best;
}

std::uint64_t WideWindowNs(const PlanModel& model, PlanInputs inputs) {
  constexpr std::uint64_t kEndlessNs = 1'000'000'000'000;
  if (model.cycle_samples() == 0) return 0;
  inputs.rest_ns = kEndlessNs;
  inputs.can_share = false;  // what is left alone is learnt with the policy's window
  const PlanChoice choice = ChoosePlan(model, inputs);
  const bool tries =
      choice.mechanism == PlanMechanism::kSqueeze && choice.reason == PlanReason::kLearning;
  return choice.reason == PlanReason::kCheapestWithinBudget || tries ? kWideWindowNs : 0;
}

std::uint64_t DwellNs(const PlanModel& model, const PlanInputs& inputs, std::uint64_t gap_ns) {
  const std::uint64_t cycles_ns = 2 * model.CycleNs() * std::max(1u, inputs.queues);
  return gap_ns != 0 && gap_ns <= cycles_ns ? cycles_ns : 0;
}

}  // namespace xsched_hsa

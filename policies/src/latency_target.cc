// latency_target.cc: keeps the P99 of urgent programs at their target, and costs the others no more
// than that needs.
//
// The order is that of strict-priority. What changes is how hard the others are pushed: a ladder from
// "only hold, wide windows" to "suspend at once, hardly anything exposed". Every `latency_samples_min`
// requests of a program that has a target (marked ones, or bursts of work where it marks none) its P99
// is compared: above the target, a step towards protection; below 0.7 of it for all, a step back. The
// width of that band keeps it from climbing up and down a step that changes the P99 by less. One step
// can change it by more (holding only, beside long kernels): a step back is a probe, which ends at its
// first request above the target, and is tried again after twice as many verdicts each time.
//
// It starts at strict-priority's own settings, not at the cheapest: a new program is protected first
// and made cheaper later.
//
// Parameters read: as strict-priority, of which mechanisms and delay_budget are the ladder's; and
// latency_samples_min.
#include <algorithm>
#include <iterator>
#include <utility>

#include "levels.h"
#include "memory.h"
#include "policies_list.h"

namespace xsched_hsa {
namespace {

struct Step {
  bool squeeze, suspend;
  std::uint32_t delay_budget_permille;
  double window;  // of window_us
};
constexpr Step kSteps[] = {
    {false, false, 1000, 8}, {true, false, 300, 4}, {true, true, 150, 2},
    {true, true, 80, 1},     {true, true, 30, 0.5}, {true, true, 0, 0.25},
};
constexpr std::int64_t kFirstStep = 3, kLastStep = std::size(kSteps) - 1;
constexpr std::uint64_t kLookUs = 1'000'000, kLookAtProbeUs = 50'000;
constexpr double kBackBelow = 0.7;
constexpr std::int64_t kPatienceMost = 64;

class LatencyTarget final : public Policy {
 public:
  explicit LatencyTarget(const PolicyParams& params) : params_(params) {}
  std::string_view Name() const override { return "latency-target"; }

  void Decide(const Snapshot& snapshot, Answer* answer) const override {
    PrepareLevels(snapshot, params_, answer);
    std::int64_t& word = answer->memory.words[kProtection];
    std::int64_t step = word == 0 ? kFirstStep : std::clamp<std::int64_t>(word - 1, 0, kLastStep);
    const Verdict verdict = Judge(snapshot, answer);
    answer->restart_latency = verdict != Verdict::kTooFew;
    step = NextStep(step, verdict, &answer->memory);
    word = step + 1;
    for (QueueAnswer& own : answer->queues) {
      if (own.intent.armed) Protect(kSteps[step], &own.intent);
    }
    AgeHeld(snapshot, params_, answer);
    ApplyCaps(snapshot, params_, answer);
  }

 private:
  enum class Verdict { kTooFew, kTooSlow, kMet, kFaster };

  static std::int64_t NextStep(std::int64_t step, Verdict verdict, PolicyMemory* memory) {
    if (verdict == Verdict::kTooFew) return step;
    auto& words = memory->words;
    const bool probed = std::exchange(words[kProbing], 0) != 0;
    if (verdict == Verdict::kTooSlow) {
      if (probed) {
        words[kLastPatience] = std::clamp<std::int64_t>(2 * words[kLastPatience], 1, kPatienceMost);
        words[kPatience] = words[kLastPatience];
      }
      return std::min(step + 1, kLastStep);
    }
    if (probed) words[kLastPatience] = 0;
    if (verdict == Verdict::kMet || step == 0) return step;
    if (words[kPatience] > 0) {
      --words[kPatience];
      return step;
    }
    words[kProbing] = 1;
    return step - 1;
  }

  // The slowest against its target decides.
  Verdict Judge(const Snapshot& snapshot, Answer* answer) const {
    double worst = 0;
    bool any = false, complete = true;
    const bool probing = answer->memory.words[kProbing] != 0;
    for (const QueueView& queue : snapshot.queues) {
      if (queue.latency_target_us == 0 || !queue.controllable) continue;
      any = true;
      if (queue.latency_samples < params_.latency_samples_min) {
        complete = false;
        if (!probing || queue.latency_samples == 0) continue;
      }
      worst = std::max(worst, static_cast<double>(queue.latency_p99_us) /
                                  static_cast<double>(queue.latency_target_us));
    }
    if (!any) return Verdict::kTooFew;
    answer->AskAt(snapshot.now_us + (probing ? kLookAtProbeUs : kLookUs));
    if (worst > 1) return Verdict::kTooSlow;
    if (!complete || worst == 0) return Verdict::kTooFew;
    return worst < kBackBelow ? Verdict::kFaster : Verdict::kMet;
  }

  void Protect(const Step& step, QueueIntent* intent) const {
    intent->preemption.squeeze = step.squeeze && params_.preemption.squeeze;
    intent->preemption.suspend = step.suspend && params_.preemption.suspend;
    intent->preemption.delay_budget_permille = step.delay_budget_permille;
    intent->window_us = std::max(static_cast<std::uint32_t>(params_.window_us * step.window), 1u);
  }

  const PolicyParams params_;
};

}  // namespace

std::unique_ptr<Policy> MakeLatencyTarget(const PolicyParams& params) {
  return std::make_unique<LatencyTarget>(params);
}

}  // namespace xsched_hsa

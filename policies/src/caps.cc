// caps.cc: a program uses at most cap_permille of a GPU's time, in any policy.
//
// A bucket of debt for each program: what it uses adds to it, what it may use drains it. A program
// whose debt is above what cap_period_us allows it is held until the debt is half paid, so that it
// is not held and released with each packet. Idle time is not saved up: debt stops at 0.
//
// A running kernel can't be cut by this, only what comes after it; a kernel longer than the period
// leaves a debt that is paid in full before the next one starts.
#include <algorithm>
#include <cstdlib>

#include "levels.h"
#include "memory.h"

namespace xsched_hsa {
namespace {

constexpr std::int64_t kAskMinUs = 500;

}  // namespace

void ApplyCaps(const Snapshot& snapshot, const PolicyParams& params, Answer* answer) {
  const auto& queues = snapshot.queues;
  for (std::size_t first = 0, last; first < queues.size(); first = last) {
    last = EndOfSession(snapshot, first);
    const std::uint32_t cap = queues[first].cap_permille;
    if (cap >= 1000) continue;
    std::int64_t debt = 0;
    bool was_held = false;
    for (std::size_t i = first; i < last; ++i) {
      debt = std::max(debt, std::abs(Word(queues[i], kCapDebtUs)));
      was_held = was_held || Word(queues[i], kCapDebtUs) < 0;
    }
    const auto paid = static_cast<std::int64_t>(snapshot.elapsed_us * cap / 1000);
    debt = std::max<std::int64_t>(
        debt - paid + static_cast<std::int64_t>(UsedTogether(snapshot, first, last)), 0);
    const auto allowed = static_cast<std::int64_t>(params.cap_period_us) * cap / 1000;
    const bool hold = debt > (was_held ? allowed / 2 : allowed);
    bool any_active = false;
    for (std::size_t i = first; i < last; ++i) {
      QueueAnswer& own = answer->queues[i];
      // The sign remembers the hold, which has two thresholds.
      Word(own, kCapDebtUs) = hold ? -debt : debt;
      if (!queues[i].controllable) continue;
      if (!own.intent.armed) ArmForReport(params, &own.intent);
      own.intent.report = true;
      own.intent.hold = own.intent.hold || hold;
      any_active = any_active || queues[i].active;
    }
    if (hold) {
      const std::int64_t wait = (debt - allowed / 2) * 1000 / cap;
      answer->AskAt(snapshot.now_us + static_cast<std::uint64_t>(std::max(wait, kAskMinUs)));
    } else if (any_active) {
      const std::int64_t left = allowed - debt;
      answer->AskAt(snapshot.now_us + static_cast<std::uint64_t>(std::max(left, kAskMinUs)));
    }
  }
}

}  // namespace xsched_hsa

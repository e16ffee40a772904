// aging.cc: no queue waits for ever.
//
// Between priorities the order is strict, so a high program that never drains would hold the others
// as long as it lives. A queue that has had work and has moved nothing for hold_max_us therefore
// counts as urgent as the most urgent one, for so long that over both spans it may run in
// guaranteed_share_permille of the time. It then runs *beside* the urgent work: what it gets of the
// device is what the hardware gives it, and the urgent work pays at most that. A share of 0 switches
// this off: strict to the letter.
//
// "Has moved nothing" is its published index, and nothing running on the hardware: a squeezed queue
// or one whose long kernel runs is not waiting.
#include <algorithm>

#include "levels.h"
#include "memory.h"

namespace xsched_hsa {
namespace {

// How long a boost lasts after a wait of hold_max_us.
std::uint64_t TurnUs(const PolicyParams& params) {
  const std::uint64_t share = std::min(params.guaranteed_share_permille, 900u);
  return std::max<std::uint64_t>(params.hold_max_us * share / (1000 - share), 1);
}

bool IsWaiting(const QueueView& queue, std::uint32_t level) {
  const bool outranked = level > static_cast<std::uint32_t>(queue.priority) + 1;
  const bool running = queue.exposed && !queue.suspended;
  return outranked && queue.pending_packets != 0 && !running;
}

}  // namespace

void AgeHeld(const Snapshot& snapshot, const PolicyParams& params, Answer* answer) {
  if (params.guaranteed_share_permille == 0) return;
  const auto now = static_cast<std::int64_t>(snapshot.now_us);
  int highest = 0;
  for (const QueueView& queue : snapshot.queues) {
    if (queue.controllable) highest = std::max(highest, queue.priority);
  }
  for (std::size_t i = 0; i < snapshot.queues.size(); ++i) {
    const QueueView& queue = snapshot.queues[i];
    QueueAnswer& own = answer->queues[i];
    if (!queue.controllable || !own.intent.armed || queue.priority >= highest) continue;
    answer->while_urgent = true;
    std::int64_t& held_since = Word(own, kHeldSinceUs);
    std::int64_t& boost_until = Word(own, kBoostUntilUs);
    const auto published = static_cast<std::int64_t>(queue.published_packets) + 1;
    const bool moved = published != Word(queue, kLastPublished);
    Word(own, kLastPublished) = published;
    if (boost_until != 0 && (now >= boost_until || snapshot.level == 0)) {
      boost_until = held_since = 0;
    }
    if (boost_until == 0) {
      if (!IsWaiting(queue, snapshot.level)) {
        held_since = 0;
      } else if (held_since == 0 || moved) {
        held_since = now;
      } else if (now - held_since >= static_cast<std::int64_t>(params.hold_max_us)) {
        boost_until = now + static_cast<std::int64_t>(TurnUs(params));
      }
    }
    if (boost_until == 0) continue;
    own.intent.boost = highest;
    answer->AskAt(static_cast<std::uint64_t>(boost_until));
  }
}

}  // namespace xsched_hsa

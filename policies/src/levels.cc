#include "levels.h"

#include <algorithm>

namespace xsched_hsa {

void PrepareLevels(const Snapshot& snapshot, const PolicyParams& params, Answer* answer) {
  answer->Reset(snapshot.queues.size());
  answer->memory = snapshot.memory;
  int lowest = INT32_MAX, highest = INT32_MIN;
  for (const QueueView& queue : snapshot.queues) {
    if (!queue.controllable) continue;
    lowest = std::min(lowest, queue.priority);
    highest = std::max(highest, queue.priority);
  }
  for (std::size_t i = 0; i < snapshot.queues.size(); ++i) {
    const QueueView& queue = snapshot.queues[i];
    QueueAnswer& own = answer->queues[i];
    own.memory = queue.memory;
    // A queue that can't be held can't be told when to raise either: it is neither side.
    if (!queue.controllable) continue;
    QueueIntent& intent = own.intent;
    intent.armed = highest > queue.priority;
    intent.raise = lowest < queue.priority;
    intent.window_us = params.window_us;
    intent.linger_us = params.linger_us;
    if (intent.armed) intent.preemption = params.preemption;
    if ((intent.armed || intent.raise) && params.hardware_priority) {
      intent.kfd_priority = queue.priority;
    }
  }
}

void ArmForReport(const PolicyParams& params, QueueIntent* intent) {
  intent->report = true;
  intent->armed = true;
  intent->window_us = params.window_us;
  intent->linger_us = params.linger_us;
}

std::size_t EndOfSession(const Snapshot& snapshot, std::size_t first) {
  std::size_t last = first;
  while (last < snapshot.queues.size() &&
         snapshot.queues[last].session == snapshot.queues[first].session) {
    ++last;
  }
  return last;
}

std::uint64_t UsedTogether(const Snapshot& snapshot, std::size_t first, std::size_t last) {
  std::uint64_t sum = 0, most = 0;
  for (std::size_t i = first; i < last; ++i) {
    sum += snapshot.queues[i].used_us;
    most = std::max(most, snapshot.queues[i].used_us);
  }
  return std::min(sum, std::max(most, snapshot.elapsed_us));
}

}  // namespace xsched_hsa

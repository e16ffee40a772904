// strict_priority.cc: while a more urgent queue has work, less urgent queues are held.
//
// The decision is made ahead of time. When a request arrives there is no time to ask a controller,
// so this policy only prepares the ground, once per change of the set of queues:
//
//   armed  a queue for which a more urgent one exists on the same GPU. It keeps only `window_us` of
//          predicted work in front of the hardware, because what is exposed can't be taken back:
//          the window is what a request waits for at most, and what hides the pump's latency.
//   raise  a queue for which a less urgent one exists on the same GPU. Its own doorbell raises the
//          GPU's urgency, and every armed queue below that level stops publishing by itself. When
//          it has been without work for `linger_us` it is done, and the controller lowers the
//          level. Lingering keeps a burst of short kernels with host gaps between them from opening
//          the gate in each gap.
//
// A queue in the middle is both. A queue alone, or among equals, is neither: its packets then pass
// with nothing in their way. Queues of one process count like those of different processes: a
// program that made a low and a high stream means it.
//
// Not here: a guaranteed share for the low queues, and an upper bound on how long one is held. A
// high queue that never runs dry holds the others for as long as it lives; that is what "strict"
// says.
//
// Parameters read: window_us, linger_us, hardware_priority, preemption.
#include "strict_priority.h"

#include <algorithm>
#include <map>
#include <utility>

namespace xsched_hsa {
namespace {

class StrictPriority final : public Policy {
 public:
  explicit StrictPriority(const PolicyParams& params) : params_(params) {}

  std::string_view Name() const override { return "strict-priority"; }

  void Decide(const Snapshot& snapshot, std::vector<QueueIntent>* intents) const override {
    struct Range {
      int lowest, highest;
    };
    std::map<std::pair<GroupId, std::uint64_t>, Range> arenas;
    for (const QueueView& queue : snapshot.queues) {
      if (!queue.controllable) continue;
      const auto [it, is_new] =
          arenas.try_emplace({queue.group, queue.gpu}, Range{queue.priority, queue.priority});
      it->second.lowest = std::min(it->second.lowest, queue.priority);
      it->second.highest = std::max(it->second.highest, queue.priority);
    }

    intents->assign(snapshot.queues.size(), QueueIntent{});
    for (std::size_t i = 0; i < snapshot.queues.size(); ++i) {
      const QueueView& queue = snapshot.queues[i];
      // A queue that can't be held can't be told when to raise either: it is neither side.
      if (!queue.controllable) continue;
      const Range& range = arenas.at({queue.group, queue.gpu});
      QueueIntent& intent = (*intents)[i];
      intent.armed = range.highest > queue.priority;
      intent.raise = range.lowest < queue.priority;
      intent.window_us = params_.window_us;
      intent.linger_us = params_.linger_us;
      if (intent.armed) intent.preemption = params_.preemption;
      if ((intent.armed || intent.raise) && params_.hardware_priority) {
        intent.kfd_priority = queue.priority;
      }
    }
  }

 private:
  const PolicyParams params_;
};

}  // namespace

std::unique_ptr<Policy> MakeStrictPriority(const PolicyParams& params) {
  return std::make_unique<StrictPriority>(params);
}

}  // namespace xsched_hsa

// policy.h: the contract between the controller and a policy.
//
// Why        Policies are pure: a snapshot of the queues that compete for one GPU in, intents out. No
//            clock, no I/O, no driver; so a policy is one file and is tested without a device.
//            Mechanisms may refuse an intent, and the next snapshot shows it so. What is *not* decided
//            here is the urgency level of a GPU: it follows from `raise` and the queues' activity
//            (queue-ctl/src/urgency.h), because it has to be exact between two decisions.
// Threads    Decide is called from the controller's one thread: after something that a policy can see
//            has changed (a queue, a class, an order; of a queue that reports, its activity or
//            deadline), at Answer::next_us, and if Answer::while_urgent, every few milliseconds while
//            somebody is urgent.
// Ownership  a policy holds only its parameters; a snapshot is valid during the call.
// Units      _us: microseconds. Priorities 0..15, higher is more urgent. _permille: thousandths.
// Errors     none: a policy always answers. The controller drops intents that break the rules below.
// Rules      Answer::queues has one entry per queue of the snapshot, in its order. Equal snapshots give
//            equal answers: whatever has to be remembered goes through PolicyMemory. Memory is all 0
//            for a new queue, and after a policy was switched on.
// See        docs/writing-a-policy.md, policies/tests/, registry.h for the list of policies.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace xsched_hsa {

// Queues compete only inside one group: a user's programs, or everybody's with cross_user.
using GroupId = std::uint64_t;

// A policy's own words, given back unchanged with the next snapshot. memory.h names them.
struct PolicyMemory {
  std::array<std::int64_t, 8> words{};
  bool operator==(const PolicyMemory&) const = default;
};

struct QueueView {
  std::uint64_t queue = 0;    // the controller's name for the queue, unique while it lives
  std::uint32_t session = 0;  // the process it belongs to; its queues stand side by side
  int priority = 0;           // as its rule, its program or an operator says
  bool controllable = true;   // false: its program bypasses the API; an intent would be refused
  // Has unfinished work, as its layer says. Known only while the last intent raised or reported.
  bool active = false;
  std::uint64_t active_since_us = 0;
  bool exposed = false;    // the hardware has packets of it (of a queue that reports)
  bool suspended = false;  // and is kept from running them
  std::uint64_t pending_packets = 0;
  std::uint64_t published_packets = 0;  // moves while it is let through
  // Device time since the last answer (shared_page.h says what it measures); 0 unless it is armed,
  // raises or reports.
  std::uint64_t used_us = 0;
  std::uint64_t burst_used_us = 0;  // since active_since_us
  std::uint64_t deadline_us = 0;    // of what it works on; 0: none

  // Its program's class.
  std::uint32_t weight = 100;
  std::uint32_t cap_permille = 1000;    // of the GPU's time; 1000: no cap
  std::uint32_t share_permille = 0;     // of the compute units; 0: what is left, by weight
  std::uint64_t latency_target_us = 0;  // P99 of its requests; 0: none
  std::uint64_t latency_p99_us = 0;     // since the last Answer::restart_latency
  std::uint64_t latency_samples = 0;    // behind it
  std::uint64_t request_us = 0;         // what a request takes, the median; 0: not known yet

  PolicyMemory memory;
};

// The queues of one group on one GPU: all of them compete.
struct Snapshot {
  std::uint64_t now_us = 0;
  std::uint64_t elapsed_us = 0;  // since the last answer; 0: this is the first
  std::uint32_t level = 0;  // urgency now: priority + 1 of the most urgent active queue; 0: none
  std::uint32_t compute_units = 0;  // of the GPU; 0: not known
  std::uint32_t unit_step = 0;      // its shader arrays: masks are multiples of it
  std::span<const QueueView> queues;
  PolicyMemory memory;
};

struct Preemption {
  bool squeeze = false, suspend = false;
  bool share = false;  // neither, nor hold, where requests hardly feel the queue
  std::uint32_t delay_budget_permille = 80;  // of a request: what it may lose to us
  std::uint32_t squeeze_units = 0;           // compute units left; 0: the plan's choice
  bool operator==(const Preemption&) const = default;
};

struct QueueIntent {
  bool armed = false;   // expose only a window of work; obey urgency
  bool raise = false;   // make the GPU urgent while this queue is active
  bool hold = false;    // publish nothing until told otherwise
  bool report = false;  // keep activity and device time fresh; ask again when activity changes
  std::uint32_t window_us = 0;
  std::uint32_t linger_us = 0;
  // How an armed queue may be preempted once its packets are on the hardware. Which of these, and
  // when, its layer chooses at the moment of the request (hsa-intercept/preemption_plan.h).
  Preemption preemption;
  int kfd_priority = -1;  // of the hardware queue; -1: leave it
  int boost = -1;         // counts as this priority for now; -1: as its own
  std::uint32_t standing_first = 0, standing_units = 0;  // compute units it keeps to; 0: all
  bool operator==(const QueueIntent&) const = default;
};

struct QueueAnswer {
  QueueIntent intent;
  PolicyMemory memory;
};

struct Answer {
  std::vector<QueueAnswer> queues;
  std::optional<std::uint64_t> next_us;  // ask again then
  bool while_urgent = false;             // ask again while the level is not 0
  bool restart_latency = false;          // latency_p99_us and its samples begin anew
  PolicyMemory memory;

  void Reset(std::size_t queue_count) {
    queues.assign(queue_count, QueueAnswer{});
    next_us.reset();
    while_urgent = restart_latency = false;
    memory = {};
  }
  void AskAt(std::uint64_t us) { next_us = next_us && *next_us < us ? *next_us : us; }
};

class Policy {
 public:
  virtual ~Policy() = default;
  virtual std::string_view Name() const = 0;
  // Replaces *answer, whatever is in it (the controller hands in the last one, for its storage).
  virtual void Decide(const Snapshot& snapshot, Answer* answer) const = 0;
};

}  // namespace xsched_hsa

// policy.h: the contract between the controller and a scheduling policy.
//
// Why        A policy decides, and does nothing else: it sees a snapshot of the queues and returns
// one
//            intent for each. How an intent is carried out (words in shared pages, leases, wakes)
//            is in queue-ctl/, which may refuse: a queue that can't be held keeps running, and the
//            next snapshot shows it so. What is *not* decided here is the urgency level of a GPU:
//            it follows from `raise` and the queues' activity (queue-ctl/src/urgency.h), because it
//            has to be exact between two decisions.
// Threads    Decide is called from the controller's one thread, after something a policy can see
// has
//            changed: a queue came or went, a priority or an operator's hold changed.
// Ownership  a policy holds only its parameters; a snapshot is valid during the call.
// Units      _us: microseconds. Priorities 0..15, higher is more urgent. Indexes count packets.
// Errors     none: a policy always answers. The controller drops intents that break the rules
// below. Rules      intents has one entry per queue of the snapshot, in its order. Equal snapshots
// give equal
//            intents (no clock, no randomness, no memory of the past unless it is in the snapshot).
// See        policies/tests/, registry.h for the list of policies.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace xsched_hsa {

// Queues compete only inside one group: a user's programs, or everybody's with --cross-user.
using GroupId = std::uint64_t;

struct QueueView {
  std::uint64_t queue = 0;    // the controller's name for the queue, unique while it lives
  std::uint32_t session = 0;  // the process it belongs to
  GroupId group = 0;
  std::uint64_t gpu = 0;     // GpuKey of shared_page.h
  int priority = 0;          // effective
  bool controllable = true;  // false: its program bypasses the API; an intent would be refused
  bool active = false;       // has unfinished work, as its layer says (only while `raise` is set)
  std::uint64_t pending_packets = 0;
};

struct Snapshot {
  std::uint64_t now_us = 0;
  std::span<const QueueView> queues;
};

struct Preemption {
  bool squeeze = false, suspend = false;
  bool share = false;  // neither, nor hold, where requests hardly feel the queue
  std::uint32_t delay_budget_permille = 80;  // of a request: what it may lose to us
  std::uint32_t squeeze_units = 0;           // compute units left; 0: the plan's choice
  bool operator==(const Preemption&) const = default;
};

struct QueueIntent {
  bool armed = false;  // expose only a window of work; obey urgency
  bool raise = false;  // make the GPU urgent while this queue is active
  bool hold = false;   // publish nothing until told otherwise
  std::uint32_t window_us = 0;
  std::uint32_t linger_us = 0;
  // How an armed queue may be preempted once its packets are on the hardware. Which of these, and
  // when, its layer chooses at the moment of the request (hsa-intercept/preemption_plan.h).
  Preemption preemption;
  int kfd_priority = -1;  // of the hardware queue; -1: leave it
  bool operator==(const QueueIntent&) const = default;
};

class Policy {
 public:
  virtual ~Policy() = default;
  virtual std::string_view Name() const = 0;
  // Replaces *intents.
  virtual void Decide(const Snapshot& snapshot, std::vector<QueueIntent>* intents) const = 0;
};

}  // namespace xsched_hsa

// session.h: what the controller knows of one connected program and its queues.
//
// Why        The pages belong to untrusted programs; these records are the controller's own truth.
// Threads    the controller's thread.
// Ownership  pages belong to whoever called Core::AddSession and outlive the session.
// Limits     kQueuesMax live queues; the last kDestroyedQueuesMax destroyed ones are kept one by
//            one, older ones only as a sum.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "latency.h"
#include "policies/policy.h"
#include "queue-ctl/shared_page.h"
#include "queue-ctl/wire.h"
#include "slot_reader.h"

namespace xsched_hsa {

inline constexpr std::size_t kDestroyedQueuesMax = 64;

struct LayerInfo {
  std::int32_t pid = 0;  // from SO_PEERCRED, as are uid and gid
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t namespace_pid = 0;
  std::uint32_t hsa_table_major = 0;
  std::uint32_t hsa_ext_table_bytes = 0;
  GateKind gate = GateKind::kNone;
  int priority = kPriorityNormal;
  std::string comm, exe, run_token;
};

// What the controller finds out about a program by itself (program_facts.h).
struct ProgramFacts {
  std::string exe;      // by the kernel, not by the program
  std::string cgroup;   // of the unified hierarchy, else of the first one
  std::string tag;      // XSCHED_HSA_TAG of its environment at its start: its own claim
  std::string command;  // its arguments, by blanks: its own claim, too
  int nice = 0;
  std::vector<std::int32_t> pids;   // outermost namespace first
  std::vector<std::uint32_t> uids;  // real, effective, saved, of files
  std::vector<std::uint32_t> gids;  // its own first
};

// How a program is to be treated. What is not there is left to whoever comes next: an operator's
// order, then the rule, then the program itself.
struct ProgramClass {
  std::optional<int> priority;
  std::optional<std::uint32_t> weight;  // 100 when nobody says
  std::optional<std::uint32_t> cap_permille, share_permille;
  std::optional<std::uint64_t> deadline_us, latency_target_us;
  bool operator==(const ProgramClass&) const = default;

  // With what `second` says where this says nothing.
  ProgramClass Or(const ProgramClass& second) const;
};

struct QueueRecord {
  SlotCopy slot;
  std::optional<int> priority_override;  // this queue's own, from set-priority
  bool operator_hold = false;
  bool operator_suspend = false;     // only with operator_hold
  std::uint32_t operator_units = 0;  // compute units it keeps to; 0: as the policy says
  QueueIntent intent;                // as written into the page
  PolicyMemory memory;
  bool active = false, exposed = false;  // as last seen
  std::uint64_t deadline_us = 0;         // likewise, of its page
  std::uint64_t active_since_us = 0;
  std::uint64_t device_us = 0, burst_device_us = 0;  // last seen; when it became active
  bool destroyed = false;
  QueueCounters final_counters;  // when destroyed
};

struct RequestCopy {
  std::uint64_t begun = 0, ended = 0, missed = 0, open = 0;
  LatencyCopy marked, bursts;
};
RequestCopy CopyRequests(const ProcessPage& page);

struct Session {
  std::uint32_t id = 0;
  std::uint32_t bit = 0;  // of GpuUrgency::closed
  LayerInfo layer;
  ProcessPage* page = nullptr;  // nullptr once the session has ended
  UserPage* user_page = nullptr;
  ProgramFacts facts;
  std::string rule;  // the name of the one that matched; empty: none
  ProgramClass rule_class;
  int request_max = kPriorityMax;  // what it may ask for itself
  ProgramClass overrides;          // an operator's; for all queues, also those to come
  bool operator_hold = false;      // likewise
  bool operator_suspend = false;
  std::uint32_t operator_units = 0;
  LatencyCopy latency_seen;  // when the policy last began anew
  std::uint32_t changes_seen = 0;
  std::map<std::uint32_t, QueueRecord> queues;  // live ones, by slot
  std::deque<QueueRecord> destroyed;
  std::uint64_t destroyed_count = 0;
  QueueCounters forgotten;  // destroyed queues that are no longer in `destroyed`
  std::uint64_t started_us = 0, ended_us = 0;
  std::uint32_t queues_passed_through = 0, faults = 0;  // as last seen

  std::uint32_t trace_mode = 0;      // kModeTrace while it is recorded
  RequestCopy requests;              // as last seen
  std::uint64_t decisions_made = 0;  // as last seen
  nlohmann::json decisions = nlohmann::json::array();

  std::uint64_t DecisionsMade() const {
    const std::uint64_t made = page != nullptr ? page->decisions_made.load() : decisions_made;
    return made <= kCounterMax ? made : 0;
  }
  bool alive() const { return page != nullptr; }
  int EffectivePriority(const QueueRecord& queue) const {
    // As Class() has it, without making the rest of it: asked for every queue at every decision.
    if (queue.priority_override) return *queue.priority_override;
    if (overrides.priority) return *overrides.priority;
    return rule_class.priority.value_or(std::min(queue.slot.requested_priority, request_max));
  }
  ProgramClass Class() const { return overrides.Or(rule_class); }
};

inline ProgramClass ProgramClass::Or(const ProgramClass& second) const {
  ProgramClass both = *this;
  if (!both.priority) both.priority = second.priority;
  if (!both.weight) both.weight = second.weight;
  if (!both.cap_permille) both.cap_permille = second.cap_permille;
  if (!both.share_permille) both.share_permille = second.share_permille;
  if (!both.deadline_us) both.deadline_us = second.deadline_us;
  if (!both.latency_target_us) both.latency_target_us = second.latency_target_us;
  return both;
}

}  // namespace xsched_hsa

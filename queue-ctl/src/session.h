// session.h: what the controller knows of one connected program and its queues.
//
// Why        The pages belong to untrusted programs; these records are the controller's own truth.
// Threads    the controller's thread.
// Ownership  pages belong to whoever called Core::AddSession and outlive the session.
// Limits     kQueuesMax live queues; the last kDestroyedQueuesMax destroyed ones are kept one by
// one,
//            older ones only as a sum.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "policies/policy.h"
#include "queue-ctl/shared_page.h"
#include "queue-ctl/wire.h"
#include "slot_reader.h"

namespace xsched_hsa {

inline constexpr std::size_t kDestroyedQueuesMax = 64;

struct LayerInfo {
  std::int32_t pid = 0;  // from SO_PEERCRED, as is the uid
  std::uint32_t uid = 0;
  std::uint32_t namespace_pid = 0;
  std::uint32_t hsa_table_major = 0;
  std::uint32_t hsa_ext_table_bytes = 0;
  GateKind gate = GateKind::kNone;
  int priority = kPriorityNormal;
  std::string comm, exe, run_token;
};

struct QueueRecord {
  SlotCopy slot;
  std::optional<int> priority_override;  // this queue's own, from set-priority
  bool operator_hold = false;
  QueueIntent intent;  // as written into the page
  bool destroyed = false;
  QueueCounters final_counters;  // when destroyed
};

struct Session {
  std::uint32_t id = 0;
  LayerInfo layer;
  ProcessPage* page = nullptr;  // nullptr once the session has ended
  UserPage* user_page = nullptr;
  std::optional<int> priority_override;         // all queues, also those to come
  bool operator_hold = false;                   // likewise
  std::map<std::uint32_t, QueueRecord> queues;  // live ones, by slot
  std::deque<QueueRecord> destroyed;
  std::uint64_t destroyed_count = 0;
  QueueCounters forgotten;  // destroyed queues that are no longer in `destroyed`
  std::uint64_t started_us = 0, ended_us = 0;
  std::uint32_t queues_passed_through = 0, faults = 0;  // as last seen

  std::uint32_t trace_mode = 0;  // kModeTrace while it is recorded
  std::uint64_t decisions_made = 0;  // as last seen
  nlohmann::json decisions = nlohmann::json::array();

  std::uint64_t DecisionsMade() const {
    const std::uint64_t made = page != nullptr ? page->decisions_made.load() : decisions_made;
    return made <= kCounterMax ? made : 0;
  }
  bool alive() const { return page != nullptr; }
  int EffectivePriority(const QueueRecord& queue) const {
    if (queue.priority_override) return *queue.priority_override;
    if (priority_override) return *priority_override;
    return queue.slot.requested_priority;
  }
};

}  // namespace xsched_hsa

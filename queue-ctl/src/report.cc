#include "report.h"

#include <algorithm>

#include "decisions.h"
#include "gpu_key.h"
#include "version.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

struct Totals {
  std::uint64_t processes = 0, queues = 0, faults = 0, passed_through = 0;
  QueueCounters counters;

  Totals& operator+=(const Totals& other) {
    processes += other.processes;
    queues += other.queues;
    faults += other.faults;
    passed_through += other.passed_through;
    counters += other.counters;
    return *this;
  }
};

double Ms(std::uint64_t us) { return static_cast<double>(us) / 1000.0; }

json ToJson(const Totals& totals) {
  return {{"processes", totals.processes},
          {"queues", totals.queues},
          {"packets_submitted", totals.counters.submitted},
          {"packets_published", totals.counters.published},
          {"packets_read", totals.counters.read},
          {"packets_held", totals.counters.packets_held},
          {"preemptions", totals.counters.holds},
          {"held_ms", Ms(totals.counters.held_us)},
          {"held_max_ms", Ms(totals.counters.held_us_max)},
          {"raises", totals.counters.raises},
          {"squeezes", totals.counters.squeezes},
          {"suspends", totals.counters.suspends},
          {"restricted_ms", Ms(totals.counters.restricted_us)},
          {"device_ms", Ms(totals.counters.device_us)},
          {"faults", totals.faults},
          {"queues_passed_through", totals.passed_through}};
}

// What of preemption beyond the hold works on the queue, as its layer says.
json MechanismNames(const QueueSlot* slot) {
  json names = json::array();
  const std::uint32_t bits = slot != nullptr ? slot->mechanisms_available.load() : 0;
  if ((bits & kMechanismSqueeze) != 0) names.push_back("squeeze");
  if ((bits & kMechanismSuspend) != 0) names.push_back("suspend");
  if ((bits & kMechanismPriority) != 0) names.push_back("priority");
  if ((bits & kMechanismShare) != 0) names.push_back("share");
  return names;
}

const char* StateName(const QueueRecord& queue, const QueueCounters& counters, bool gate_closed,
                      std::uint32_t restriction) {
  if (queue.destroyed) return "destroyed";
  if (queue.slot.state == SlotState::kForeign) return "foreign";
  if (restriction == kSuspended) return "suspended";
  if (restriction == kSqueezed) return "squeezed";
  if (restriction == kSharing) return "sharing";
  if (gate_closed || queue.intent.hold) {
    return counters.published > counters.read || !gate_closed ? "holding" : "held";
  }
  return counters.Pending() != 0 ? "running" : "idle";
}

// Whose word the priority is; of a queue's own order only where a queue is given.
const char* PriorityBy(const Session& session, const QueueRecord* queue) {
  if (queue != nullptr && queue->priority_override) return "order";
  if (session.overrides.priority) return "order";
  return session.rule_class.priority ? "rule" : "program";
}

int EffectivePriority(const Session& session, const QueueRecord& queue) {
  return std::max(session.EffectivePriority(queue), queue.intent.boost);
}

json DeadlineInMs(const QueueSlot* slot, std::uint64_t now_us) {
  const std::uint64_t deadline_us = slot != nullptr ? slot->deadline_us.load() : 0;
  if (deadline_us == 0 || deadline_us > kCounterMax) return nullptr;
  return (static_cast<double>(deadline_us) - static_cast<double>(now_us)) / 1000;
}

json StandingMask(const QueueIntent& intent) {
  if (intent.standing_units == 0) return nullptr;
  return {{"first", intent.standing_first}, {"units", intent.standing_units}};
}

json QueueJson(const Session& session, const QueueRecord& queue, const QueueSlot* slot,
               std::uint64_t now_us) {
  const QueueCounters counters = slot != nullptr ? CopyCounters(*slot) : queue.final_counters;
  const bool gate_closed = slot != nullptr && slot->gate_closed.load() != 0;
  const std::uint32_t restriction = slot != nullptr ? slot->restriction.load() : 0;
  json kfd_queue_id;
  if (queue.slot.kfd_queue_id != kUnknownKfdQueueId) kfd_queue_id = queue.slot.kfd_queue_id;
  return {{"serial", queue.slot.serial},
          {"gpu", FormatGpuKey(queue.slot.gpu_key)},
          {"kfd_queue_id", kfd_queue_id},
          {"priority", session.EffectivePriority(queue)},
          {"effective_priority", EffectivePriority(session, queue)},
          {"requested_priority", queue.slot.requested_priority},
          {"priority_by", PriorityBy(session, &queue)},
          {"state", StateName(queue, counters, gate_closed, restriction)},
          {"ring_packets", queue.slot.ring_packets},
          {"ring_base", queue.slot.ring_base},
          {"active", slot != nullptr && slot->active.load() != 0},
          {"submitted", counters.submitted},
          {"published", counters.published},
          {"read", counters.read},
          {"pending", counters.Pending()},
          {"packets_held", counters.packets_held},
          {"holds", counters.holds},
          {"held_ms", Ms(counters.held_us)},
          {"held_max_ms", Ms(counters.held_us_max)},
          {"raises", counters.raises},
          {"squeezes", counters.squeezes},
          {"suspends", counters.suspends},
          {"restricted_ms", Ms(counters.restricted_us)},
          {"device_ms", Ms(counters.device_us)},
          {"deadline_in_ms", DeadlineInMs(slot, now_us)},
          {"standing_mask", StandingMask(queue.intent)},
          {"turn", !queue.intent.hold || queue.operator_hold},
          {"mechanisms", MechanismNames(slot)},
          {"armed", queue.intent.armed},
          {"raise", queue.intent.raise},
          {"operator_hold", queue.operator_hold}};
}

Totals TotalsOf(const Session& session) {
  Totals totals;
  totals.processes = 1;
  totals.queues = session.destroyed_count + session.queues.size();
  const ProcessPage* page = session.page;
  totals.faults = page != nullptr ? page->faults.load() : session.faults;
  totals.passed_through =
      page != nullptr ? page->queues_passed_through.load() : session.queues_passed_through;
  totals.counters = session.forgotten;
  for (const QueueRecord& queue : session.destroyed) totals.counters += queue.final_counters;
  if (page == nullptr) return totals;
  for (const auto& [slot, queue] : session.queues) {
    totals.counters += CopyCounters(page->queues[slot]);
  }
  return totals;
}

const char* GateName(GateKind gate) {
  switch (gate) {
    case GateKind::kWindow:
      return "window";
    case GateKind::kIntercept:
      return "intercept";
    default:
      return "none";
  }
}

// What something costs here, as the layer last measured it; null: never.
json MeasuredMs(const ProcessPage* page, std::atomic<std::uint64_t> ProcessPage::*what) {
  if (page == nullptr) return {};
  const std::uint64_t ns = (page->*what).load(std::memory_order_relaxed);
  return ns == 0 || ns > kCounterMax ? json() : json(static_cast<double>(ns) / 1e6);
}

json LatencyJson(const LatencyCopy& latency) {
  if (latency.count == 0) {
    return {{"count", 0},        {"mean_ms", nullptr}, {"p50_ms", nullptr},
            {"p95_ms", nullptr}, {"p99_ms", nullptr},  {"max_ms", nullptr}};
  }
  return {{"count", latency.count},
          {"mean_ms", Ms(latency.sum_us) / static_cast<double>(latency.count)},
          {"p50_ms", Ms(latency.PercentileUs(0.5))},
          {"p95_ms", Ms(latency.PercentileUs(0.95))},
          {"p99_ms", Ms(latency.PercentileUs(0.99))},
          {"max_ms", Ms(latency.max_us)}};
}

json ClassJson(const Session& session) {
  const ProgramClass own = session.Class();
  const auto ms = [](const std::optional<std::uint64_t>& us) {
    return us ? json(Ms(*us)) : json();
  };
  return {{"priority", own.priority.value_or(session.layer.priority)},
          {"weight", own.weight.value_or(100)},
          {"cap_percent", own.cap_permille.value_or(1000) / 10.0},
          {"share_percent", own.share_permille.value_or(0) / 10.0},
          {"deadline_ms", ms(own.deadline_us)},
          {"latency_target_ms", ms(own.latency_target_us)}};
}

json ProcessJson(const Session& session, bool refreshed, std::uint64_t now_us) {
  json queues = json::array();
  for (const QueueRecord& queue : session.destroyed) {
    queues.push_back(QueueJson(session, queue, nullptr, now_us));
  }
  for (const auto& [slot, queue] : session.queues) {
    queues.push_back(QueueJson(session, queue, &session.page->queues[slot], now_us));
  }
  const LayerInfo& layer = session.layer;
  const Totals totals = TotalsOf(session);
  const RequestCopy requests =
      session.page != nullptr ? CopyRequests(*session.page) : session.requests;
  return {{"session", session.id},
          {"pid", layer.pid},
          {"namespace_pid", layer.namespace_pid},
          {"pids", session.facts.pids},
          {"uid", layer.uid},
          {"gid", layer.gid},
          {"cgroup", session.facts.cgroup},
          {"tag", session.facts.tag},
          {"rule", session.rule.empty() ? json() : json(session.rule)},
          {"class", ClassJson(session)},
          {"requests",
           {{"begun", requests.begun},
            {"ended", requests.ended},
            {"missed", requests.missed},
            {"open", requests.open},
            {"latency", LatencyJson(requests.marked)}}},
          {"bursts", LatencyJson(requests.bursts)},
          {"comm", layer.comm},
          {"exe", layer.exe},
          {"run_token", layer.run_token},
          {"alive", session.alive()},
          {"layer", session.alive() ? "up" : "ended"},
          {"gate", GateName(layer.gate)},
          {"hsa_table_major", layer.hsa_table_major},
          {"hsa_ext_table_bytes", layer.hsa_ext_table_bytes},
          {"priority", session.Class().priority.value_or(layer.priority)},
          {"requested_priority", layer.priority},
          {"priority_by", PriorityBy(session, nullptr)},
          {"queues_passed_through", totals.passed_through},
          {"faults", totals.faults},
          {"refreshed", refreshed},
          {"queues", std::move(queues)},
          {"queues_seen", totals.queues},
          {"cycle_ms", MeasuredMs(session.page, &ProcessPage::cycle_ns)},
          {"mask_ms", MeasuredMs(session.page, &ProcessPage::mask_ns)},
          {"reaction_ms", MeasuredMs(session.page, &ProcessPage::reaction_ns)},
          {"decisions_made", session.DecisionsMade()},
          {"totals", ToJson(totals)}};
}

bool MaySee(const Session& session, const Caller& caller) {
  return caller.administrator || session.layer.uid == caller.uid;
}

}  // namespace

bool IsListed(const Session& session, const Caller& caller, const ListFilter& filter) {
  if (!MaySee(session, caller)) return false;
  if (!session.alive() && !filter.all) return false;
  return filter.run_token.empty() || session.layer.run_token == filter.run_token;
}

namespace {

json PolicyNamesJson(const Core& core) {
  json names = {{"*", core.default_policy().name}};
  for (const auto& [gpu, setting] : core.gpu_policies()) names[FormatGpuKey(gpu)] = setting.name;
  return names;
}

}  // namespace

json ReportController(const Core& core, const ControllerInfo& info) {
  return {{"pid", info.pid},
          {"version", kVersion},
          {"abi_version", kAbiVersion},
          {"uptime_s", static_cast<double>(core.clock().NowUs() - info.started_us) / 1e6},
          {"policy", core.default_policy().name},
          {"policies", PolicyNamesJson(core)},
          {"socket", info.socket},
          {"cross_user", info.configuration != nullptr && info.configuration->config().cross_user},
          {"private", info.is_private}};
}

json ReportList(const Core& core, const ControllerInfo& info, const Caller& caller,
                const ListFilter& filter, const std::set<std::uint32_t>& stale) {
  json processes = json::array();
  Totals totals;
  const auto add = [&](const Session& session) {
    if (!IsListed(session, caller, filter)) return;
    processes.push_back(ProcessJson(session, session.alive() && stale.count(session.id) == 0,
                                    core.clock().NowUs()));
    if (filter.decisions) {
      processes.back()["decisions"] =
          session.alive() ? DecisionsJson(*session.page) : session.decisions;
    }
    totals += TotalsOf(session);
  };
  for (const auto& session : core.ended()) add(*session);
  for (const auto& [id, session] : core.sessions()) add(*session);
  return {{"ok", true},
          {"controller", ReportController(core, info)},
          {"processes", std::move(processes)},
          {"totals", ToJson(totals)}};
}

json ReportStats(const Core& core, const ControllerInfo& info, const Caller& caller) {
  Totals totals;
  for (const auto& session : core.ended()) {
    if (MaySee(*session, caller)) totals += TotalsOf(*session);
  }
  for (const auto& [id, session] : core.sessions()) {
    if (MaySee(*session, caller)) totals += TotalsOf(*session);
  }
  json counters = json::object();
  for (const auto& [name, count] : Named(core.counters())) counters[name] = count;
  counters["sessions_live"] = core.sessions().size();
  return {{"ok", true},
          {"controller", ReportController(core, info)},
          {"totals", ToJson(totals)},
          {"counters", counters}};
}

}  // namespace xsched_hsa

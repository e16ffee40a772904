#include "report.h"

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

json QueueJson(const Session& session, const QueueRecord& queue, const QueueSlot* slot) {
  const QueueCounters counters = slot != nullptr ? CopyCounters(*slot) : queue.final_counters;
  const bool gate_closed = slot != nullptr && slot->gate_closed.load() != 0;
  const std::uint32_t restriction = slot != nullptr ? slot->restriction.load() : 0;
  json kfd_queue_id;
  if (queue.slot.kfd_queue_id != kUnknownKfdQueueId) kfd_queue_id = queue.slot.kfd_queue_id;
  return {{"serial", queue.slot.serial},
          {"gpu", FormatGpuKey(queue.slot.gpu_key)},
          {"kfd_queue_id", kfd_queue_id},
          {"priority", session.EffectivePriority(queue)},
          {"requested_priority", queue.slot.requested_priority},
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

// What a runlist cycle costs here, as the layer last measured it; null: never.
json CycleMs(const ProcessPage& page) {
  const std::uint64_t ns = page.cycle_ns.load(std::memory_order_relaxed);
  return ns == 0 || ns > kCounterMax ? json() : json(static_cast<double>(ns) / 1e6);
}

json ProcessJson(const Session& session, bool refreshed) {
  json queues = json::array();
  for (const QueueRecord& queue : session.destroyed) {
    queues.push_back(QueueJson(session, queue, nullptr));
  }
  for (const auto& [slot, queue] : session.queues) {
    queues.push_back(QueueJson(session, queue, &session.page->queues[slot]));
  }
  const LayerInfo& layer = session.layer;
  const Totals totals = TotalsOf(session);
  return {{"session", session.id},
          {"pid", layer.pid},
          {"namespace_pid", layer.namespace_pid},
          {"uid", layer.uid},
          {"comm", layer.comm},
          {"exe", layer.exe},
          {"run_token", layer.run_token},
          {"alive", session.alive()},
          {"layer", session.alive() ? "up" : "ended"},
          {"gate", GateName(layer.gate)},
          {"hsa_table_major", layer.hsa_table_major},
          {"hsa_ext_table_bytes", layer.hsa_ext_table_bytes},
          {"priority", layer.priority},
          {"queues_passed_through", totals.passed_through},
          {"faults", totals.faults},
          {"refreshed", refreshed},
          {"queues", std::move(queues)},
          {"queues_seen", totals.queues},
          {"cycle_ms", session.page != nullptr ? CycleMs(*session.page) : json()},
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

json ReportController(const Core& core, const ControllerInfo& info) {
  return {{"pid", info.pid},
          {"version", kVersion},
          {"abi_version", kAbiVersion},
          {"uptime_s", static_cast<double>(core.clock().NowUs() - info.started_us) / 1e6},
          {"policy", std::string(core.policy().Name())},
          {"socket", info.socket},
          {"cross_user", info.cross_user},
          {"private", info.is_private}};
}

json ReportList(const Core& core, const ControllerInfo& info, const Caller& caller,
                const ListFilter& filter, const std::set<std::uint32_t>& stale) {
  json processes = json::array();
  Totals totals;
  const auto add = [&](const Session& session) {
    if (!IsListed(session, caller, filter)) return;
    processes.push_back(ProcessJson(session, session.alive() && stale.count(session.id) == 0));
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
  const CoreCounters& c = core.counters();
  return {{"ok", true},
          {"controller", ReportController(core, info)},
          {"totals", ToJson(totals)},
          {"counters",
           {{"sessions_started", c.sessions_started},
            {"sessions_live", core.sessions().size()},
            {"queues_seen", c.queues_seen},
            {"layer_events", c.layer_events},
            {"decisions", c.decisions},
            {"acknowledgements", c.acknowledgements},
            {"lowerings", c.lowerings},
            {"relays", c.relays},
            {"renewals", c.renewals},
            {"wakes", c.wakes},
            {"implausible_values", c.implausible_values},
            {"gpu_table_full", c.gpu_table_full}}}};
}

}  // namespace xsched_hsa

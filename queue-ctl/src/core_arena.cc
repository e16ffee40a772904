// core_arena.cc: who competes with whom, what their policy is told, and when it is asked.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "core.h"

namespace xsched_hsa {
namespace {

constexpr std::uint64_t kAskAgainMinUs = 100;             // whatever a policy says
constexpr std::uint64_t kDeadlineMaxUs = 86'400'000'000;  // further away is damage
constexpr std::uint64_t kUseLagUs = 5'000;  // what layers may be behind with a queue's use

const LatencyHistogram& LatencyOf(const ProcessPage& page) {
  const bool marks = page.requests.marked.count.load(std::memory_order_relaxed) != 0;
  return marks ? page.requests.marked : page.requests.bursts;
}

}  // namespace

void Core::RebuildArena(const GpuOfGroup& key) {
  Arena& arena = arenas_[key];
  arena.members.clear();
  for (const auto& [id, session] : sessions_) {
    if (session->queues.empty() || GroupOf(*session) != key.first) continue;
    for (auto& [index, queue] : session->queues) {
      if (queue.slot.gpu_key == key.second) {
        arena.members.push_back({session.get(), index, &queue});
      }
    }
  }
  if (arena.members.empty()) arenas_.erase(key);
}

void Core::Reconsider() {
  const std::set<GpuOfGroup> touched = std::move(touched_);
  touched_.clear();
  for (const GpuOfGroup& key : touched) {
    RebuildArena(key);
    if (const auto it = arenas_.find(key); it != arenas_.end()) Decide(key, &it->second);
  }
  SettleAll();
  orders_leased_ = RenewOrders();
  UpdateTimer();
  FlushWakes();
}

// Of queues whose intent reports, or raises; true if a policy wants to know what has changed.
bool Core::NoteActivity(Session& session, std::uint64_t now_us) {
  bool asks = false;
  for (auto& [index, queue] : session.queues) {
    const bool active = queue.active, exposed = queue.exposed;
    const std::uint64_t deadline_us = queue.deadline_us;
    NoteActivity(session, index, &queue, now_us);
    if (!queue.intent.report) continue;
    if (active == queue.active && exposed == queue.exposed && deadline_us == queue.deadline_us) {
      continue;
    }
    Touch(session, queue);
    asks = true;
  }
  return asks;
}

void Core::NoteActivity(Session& session, std::uint32_t index, QueueRecord* queue,
                        std::uint64_t now_us) {
  const QueueSlot& slot = session.page->queues[index];
  const bool active = slot.active.load(std::memory_order_acquire) != 0;
  if (active && !queue->active) {
    queue->active_since_us = now_us;
    queue->burst_device_us = CopyCounters(slot).device_us;
  }
  queue->active = active;
  queue->exposed = slot.exposed.load(std::memory_order_relaxed) != 0;
  queue->deadline_us = slot.deadline_us.load(std::memory_order_relaxed);
}

// `own`: the class of the member's session.
void Core::FillView(const Member& member, const ProgramClass& own, std::uint64_t now_us,
                    QueueView* view) {
  Session& session = *member.session;
  QueueRecord& queue = *member.queue;
  QueueSlot& slot = session.page->queues[member.index];
  NoteActivity(session, member.index, &queue, now_us);
  const QueueCounters counters = CopyCounters(slot);
  view->queue = static_cast<std::uint64_t>(session.id) << 32 | member.index;
  view->session = session.id;
  view->priority = session.EffectivePriority(queue);
  view->controllable = queue.slot.state == SlotState::kLive && queue.slot.gpu_key != 0 &&
                       session.layer.gate != GateKind::kNone;
  view->active = queue.active;
  view->active_since_us = queue.active_since_us;
  const bool suspended = slot.restriction.load(std::memory_order_relaxed) == kSuspended;
  view->exposed = queue.intent.report ? queue.exposed : counters.published > counters.read;
  view->suspended = suspended;
  view->pending_packets = counters.Pending();
  view->published_packets = counters.published;
  view->used_us = counters.device_us - std::min(counters.device_us, queue.device_us);
  queue.device_us = counters.device_us;
  view->burst_used_us = counters.device_us - std::min(counters.device_us, queue.burst_device_us);
  if (queue.deadline_us != 0 && queue.deadline_us < now_us + kDeadlineMaxUs) {
    view->deadline_us = queue.deadline_us;
  } else if (own.deadline_us && queue.active) {
    view->deadline_us = queue.active_since_us + *own.deadline_us;
  }
  view->weight = own.weight.value_or(100);
  view->cap_permille = own.cap_permille.value_or(1000);
  view->share_permille = own.share_permille.value_or(0);
  view->latency_target_us = own.latency_target_us.value_or(0);
  if (view->latency_target_us != 0 || view->deadline_us != 0) {
    const LatencyCopy all = CopyLatency(LatencyOf(*session.page));
    view->request_us = all.PercentileUs(0.5);
    const LatencyCopy recent = all.Since(session.latency_seen);
    view->latency_samples = recent.count;
    view->latency_p99_us = recent.PercentileUs(0.99);
  }
  view->memory = queue.memory;
}

void Core::RestartLatency(Arena* arena) {
  for (const Member& member : arena->members) {
    member.session->latency_seen = CopyLatency(LatencyOf(*member.session->page));
  }
}

// Such a policy is asked a thousand times a second: told are its 1st, 2nd, 4th, 8th unusable answer and so on.
void Core::CheckAnswer(PolicyEntry* entry, Arena* arena) {
  const std::size_t answered = arena->answer.queues.size(), asked = arena->members.size();
  if (answered == asked) return;
  arena->answer.Reset(asked);
  ++counters_.unusable_answers;
  const std::uint64_t times = ++entry->unusable_answers;
  if ((times & (times - 1)) != 0) return;
  spdlog::error(
      "policy {} returned {} intents for {} queues; all queues run freely ({} times so far); it is "
      "a mistake in the policy: choose another ('xsched-hsa-ctl policy set')",
      entry->policy->Name(), answered, asked, times);
}

void Core::Decide(const GpuOfGroup& key, Arena* arena) {
  const std::uint64_t now_us = clock_->NowUs();
  const auto own_policy = gpu_policies_.find(key.second);
  PolicyEntry& entry = own_policy != gpu_policies_.end() ? own_policy->second : default_policy_;
  Snapshot snapshot;
  snapshot.now_us = now_us;
  snapshot.elapsed_us = arena->asked_us != 0 ? now_us - arena->asked_us : 0;
  snapshot.level = arena->level;
  if (const auto shape = shapes_.find(key.second); shape != shapes_.end()) {
    snapshot.compute_units = shape->second.compute_units;
    snapshot.unit_step = shape->second.unit_step;
  }
  arena->views.assign(arena->members.size(), QueueView{});
  ProgramClass own;  // one for all queues of a session, which stand side by side
  for (std::size_t i = 0; i < arena->members.size(); ++i) {
    const Session& session = *arena->members[i].session;
    if (i == 0 || arena->members[i - 1].session != &session) own = session.Class();
    QueueView& view = arena->views[i];
    FillView(arena->members[i], own, now_us, &view);
    // A queue can't have used more than there was.
    view.used_us = std::min(view.used_us, snapshot.elapsed_us + kUseLagUs);
  }
  snapshot.queues = arena->views;
  snapshot.memory = arena->answer.memory;
  entry.policy->Decide(snapshot, &arena->answer);
  ++counters_.decisions;
  CheckAnswer(&entry, arena);
  Answer& answer = arena->answer;
  if (answer.next_us) answer.next_us = std::max(*answer.next_us, now_us + kAskAgainMinUs);
  if (answer.restart_latency) RestartLatency(arena);
  arena->asked_us = now_us;
  arena->raisers.clear();
  arena->reports = false;
  for (std::size_t i = 0; i < arena->members.size(); ++i) {
    const Member& member = arena->members[i];
    member.queue->memory = answer.queues[i].memory;
    QueueIntent intent = answer.queues[i].intent;
    if (!arena->views[i].controllable || Refuse(*member.session, *member.queue, intent)) {
      intent = QueueIntent{};
    }
    intent.hold |= member.queue->operator_hold;
    if (member.queue->operator_units != 0 && arena->views[i].controllable) {
      intent.standing_first = 0;
      intent.standing_units = member.queue->operator_units;
      intent.preemption.squeeze = true;
    }
    ApplyIntent(*member.session, member.index, member.queue, intent);
    if (intent.raise) arena->raisers.push_back(i);
    arena->reports |= intent.report;
  }
}

// ---------------------------------------------------------------------------------------- policies

void Core::DropMemory(std::optional<GpuKey> gpu) {
  for (auto& [key, arena] : arenas_) {
    if (gpu && key.second != *gpu) continue;
    arena.answer.memory = {};
    for (const Member& member : arena.members) member.queue->memory = {};
    touched_.insert(key);
  }
}

void Core::SetPolicies(const PolicySetting& for_all,
                       const std::map<GpuKey, PolicySetting>& for_gpus) {
  default_policy_ = {for_all, MakePolicy(for_all.name, for_all.params)};
  gpu_policies_.clear();
  for (const auto& [gpu, setting] : for_gpus) {
    gpu_policies_[gpu] = {setting, MakePolicy(setting.name, setting.params)};
  }
  DropMemory(std::nullopt);
  Reconsider();
}

void Core::SetPolicy(std::optional<GpuKey> gpu, const PolicySetting& setting) {
  if (!gpu) return SetPolicies(setting, {});
  gpu_policies_[*gpu] = {setting, MakePolicy(setting.name, setting.params)};
  DropMemory(gpu);
  Reconsider();
}

const PolicySetting& Core::PolicyOf(GpuKey gpu) const {
  const auto it = gpu_policies_.find(gpu);
  return it != gpu_policies_.end() ? it->second.setting : default_policy_.setting;
}

std::map<GpuKey, PolicySetting> Core::gpu_policies() const {
  std::map<GpuKey, PolicySetting> settings;
  for (const auto& [gpu, entry] : gpu_policies_) settings[gpu] = entry.setting;
  return settings;
}

// Groups change: whoever was urgent among some is so among others now.
void Core::SetCrossUser(bool cross_user) {
  if (options_.cross_user == cross_user) return;
  for (const auto& [id, session] : sessions_) Touch(*session);
  options_.cross_user = cross_user;
  for (const auto& [id, session] : sessions_) session->request_max = RequestMaxOf(*session);
  RebuildGroups();
  for (const auto& [id, session] : sessions_) Touch(*session);
  Reconsider();
}

}  // namespace xsched_hsa

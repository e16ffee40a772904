// core_apply.cc: from decisions to the words that layers obey, and the leases that keep them true.
#include <linux/futex.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "core.h"
#include "gpu_key.h"
#include "urgency.h"

namespace xsched_hsa {

void FutexWaker::Wake(ProcessPage& page) {
  page.wake.fetch_add(1, std::memory_order_seq_cst);
  // Not FUTEX_PRIVATE: the sleeper is another process.
  syscall(SYS_futex, &page.wake, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void FutexWaker::Ring(UserPage& page) {
  page.bell.fetch_add(1, std::memory_order_seq_cst);
  if (page.listeners.load(std::memory_order_seq_cst) == 0) return;
  syscall(SYS_futex, &page.bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

namespace {

std::uint32_t MechanismsOf(const QueueIntent& intent) {
  return (intent.preemption.squeeze ? kMechanismSqueeze : 0u) |
         (intent.preemption.suspend ? kMechanismSuspend : 0u) |
         (intent.preemption.share ? kMechanismShare : 0u) |
         (intent.kfd_priority >= 0 ? kMechanismPriority : 0u);
}

}  // namespace

void Core::Reconsider() {
  Decide();
  SettleAll();
  holds_leased_ = RenewHolds();
  UpdateTimer();
  FlushWakes();
}

void Core::Decide() {
  std::vector<QueueView> views;
  std::vector<std::pair<Session*, std::uint32_t>> owners;
  for (const auto& [id, session] : sessions_) {
    for (const auto& [i, queue] : session->queues) {
      QueueView view;
      view.queue = static_cast<std::uint64_t>(id) << 32 | i;
      view.session = id;
      view.group = GroupOf(*session);
      view.gpu = queue.slot.gpu_key;
      view.priority = session->EffectivePriority(queue);
      view.controllable = queue.slot.state == SlotState::kLive && queue.slot.gpu_key != 0 &&
                          session->layer.gate != GateKind::kNone;
      view.active = session->page->queues[i].active.load(std::memory_order_relaxed) != 0;
      view.pending_packets = CopyCounters(session->page->queues[i]).Pending();
      views.push_back(view);
      owners.emplace_back(session.get(), i);
    }
  }
  Snapshot snapshot{clock_->NowUs(), views};
  std::vector<QueueIntent> intents;
  policy_->Decide(snapshot, &intents);
  ++counters_.decisions;
  if (intents.size() != views.size()) {
    spdlog::error("policy {} returned {} intents for {} queues; all queues run freely",
                  policy_->Name(), intents.size(), views.size());
    intents.assign(views.size(), QueueIntent{});
  }
  for (std::size_t i = 0; i < views.size(); ++i) {
    auto [session, index] = owners[i];
    const QueueRecord& queue = session->queues.at(index);
    QueueIntent intent = intents[i];
    if (!views[i].controllable || Refuse(*session, queue, &intent)) intent = QueueIntent{};
    intent.hold |= queue.operator_hold;
    ApplyIntent(*session, index, intent);
  }
}

// True if the pages have no room for what the intent needs.
bool Core::Refuse(Session& session, const QueueRecord& queue, QueueIntent* intent) {
  if (!intent->armed && !intent->raise) return false;
  if (ClaimGpu(*session.user_page, queue.slot.gpu_key) != nullptr) return false;
  if (counters_.gpu_table_full++ == 0) {
    spdlog::warn("user {} has named more than {} GPUs; queues on {} are not scheduled",
                 session.layer.uid, kGpusMax, FormatGpuKey(queue.slot.gpu_key));
  }
  return true;
}

void Core::ApplyIntent(Session& session, std::uint32_t index, const QueueIntent& intent) {
  QueueRecord& queue = session.queues.at(index);
  QueueSlot& slot = session.page->queues[index];
  const bool overridden = queue.priority_override || session.priority_override;
  const int priority =
      overridden || queue.slot.implausible != 0 ? session.EffectivePriority(queue) : -1;
  const bool same_priority = slot.priority.load(std::memory_order_relaxed) == priority;
  if (queue.intent == intent && same_priority) return;

  slot.priority.store(priority, std::memory_order_relaxed);
  slot.window_us.store(intent.window_us, std::memory_order_relaxed);
  slot.linger_us.store(intent.linger_us, std::memory_order_relaxed);
  slot.delay_budget_permille.store(intent.preemption.delay_budget_permille,
                                   std::memory_order_relaxed);
  slot.squeeze_units.store(intent.preemption.squeeze_units, std::memory_order_relaxed);
  slot.kfd_priority.store(intent.kfd_priority, std::memory_order_relaxed);
  slot.mechanisms.store(MechanismsOf(intent), std::memory_order_relaxed);
  slot.hold_lease_until_us.store(intent.hold ? clock_->NowUs() + kLeaseUs : 0,
                                 std::memory_order_relaxed);
  slot.hold.store(intent.hold ? 1 : 0, std::memory_order_release);
  // Only an armed queue looks at its hold; window 0 leaves it unbounded otherwise.
  slot.mode.store((intent.armed || intent.hold ? kModeArmed : 0u) |
                      (intent.raise ? kModeRaise : 0u) | session.trace_mode,
                  std::memory_order_seq_cst);
  session.page->orders.fetch_add(1, std::memory_order_seq_cst);
  queue.intent = intent;
  wakes_.insert(session.id);
}

// ----------------------------------------------------------------------------------------- urgency

std::uint32_t Core::LevelNow(GroupId group, GpuKey gpu) const {
  std::uint32_t level = 0;
  for (const auto& [id, session] : sessions_) {
    if (GroupOf(*session) != group) continue;
    for (const auto& [i, queue] : session->queues) {
      if (!queue.intent.raise || queue.slot.gpu_key != gpu) continue;
      if (session->page->queues[i].active.load(std::memory_order_seq_cst) == 0) continue;
      level = std::max(level, static_cast<std::uint32_t>(session->EffectivePriority(queue)) + 1);
    }
  }
  return level;
}

void Core::SettleGroup(GroupId group) {
  std::set<UserPage*> pages;
  for (const auto& [id, session] : sessions_) {
    if (GroupOf(*session) == group) pages.insert(session->user_page);
  }
  for (UserPage* page : pages) {
    std::uint32_t leased = 0;
    for (std::uint32_t i = 0; i < kGpusMax; ++i) {
      const GpuKey key = page->gpus[i].gpu_key.load(std::memory_order_acquire);
      if (key == 0) continue;
      const SettleResult result = SettleUrgency(
          page->gpus[i], [&] { return LevelNow(group, key); }, *clock_);
      counters_.acknowledgements += result.acked;
      counters_.lowerings += result.lowered;
      counters_.relays += result.raised;
      if ((result.lowered || result.raised || result.acked) && level_listener_) {
        level_listener_(*page, i, result.level);
      }
      if (result.lowered) WakeArmed(group, key);
      if (result.lowered || result.raised) waker_->Ring(*page);
      if (result.level != 0) leased |= 1u << i;
    }
    if (leased != 0) {
      leased_[page] = leased;
    } else {
      leased_.erase(page);
    }
  }
}

void Core::SettleAll() {
  std::set<GroupId> groups;
  for (const auto& [id, session] : sessions_) groups.insert(GroupOf(*session));
  for (const GroupId group : groups) SettleGroup(group);
}

void Core::WakeArmed(GroupId group, GpuKey gpu) {
  for (const auto& [id, session] : sessions_) {
    if (GroupOf(*session) != group) continue;
    const bool armed =
        std::any_of(session->queues.begin(), session->queues.end(), [gpu](const auto& entry) {
          return entry.second.intent.armed && entry.second.slot.gpu_key == gpu;
        });
    if (armed) wakes_.insert(id);
  }
}

bool Core::RenewHolds() {
  bool any = false;
  const std::uint64_t until_us = clock_->NowUs() + kLeaseUs;
  for (const auto& [id, session] : sessions_) {
    for (const auto& [i, queue] : session->queues) {
      if (!queue.intent.hold) continue;
      session->page->queues[i].hold_lease_until_us.store(until_us, std::memory_order_release);
      any = true;
    }
  }
  return any;
}

void Core::UpdateTimer() {
  if (leased_.empty() && !holds_leased_) {
    renew_due_us_.reset();
  } else if (!renew_due_us_) {
    renew_due_us_ = clock_->NowUs() + kLeaseRenewUs;
  }
}

void Core::FlushWakes() {
  for (const std::uint32_t id : wakes_) {
    const auto it = sessions_.find(id);
    if (it == sessions_.end()) continue;
    waker_->Wake(*it->second->page);
    ++counters_.wakes;
  }
  wakes_.clear();
}

void Core::Shutdown() {
  std::set<UserPage*> user_pages;
  for (const auto& [id, session] : sessions_) {
    user_pages.insert(session->user_page);
    session->page->detached.store(1, std::memory_order_seq_cst);
    for (QueueSlot& slot : session->page->queues) {
      slot.hold.store(0, std::memory_order_relaxed);
      slot.hold_lease_until_us.store(0, std::memory_order_relaxed);
      slot.mode.store(0, std::memory_order_seq_cst);
    }
  }
  for (UserPage* page : user_pages) {
    for (GpuUrgency& gpu : page->gpus) {
      if (gpu.gpu_key.load(std::memory_order_acquire) == 0) continue;
      // An expired lease opens even what a layer raises after our last look.
      SettleUrgency(
          gpu, [] { return 0u; }, *clock_);
      gpu.lease_until_us.store(0, std::memory_order_seq_cst);
    }
    waker_->Ring(*page);
  }
  for (const auto& [id, session] : sessions_) waker_->Wake(*session->page);
  leased_.clear();
  holds_leased_ = false;
  renew_due_us_.reset();
}

}  // namespace xsched_hsa

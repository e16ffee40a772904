// core_apply.cc: from decisions to the words that layers obey, and the leases that keep them true.
#include <linux/futex.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
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

// True if the pages have no room for what the intent needs.
bool Core::Refuse(Session& session, const QueueRecord& queue, const QueueIntent& intent) {
  if (!intent.armed && !intent.raise && intent.standing_units == 0) return false;
  if (ClaimGpu(*session.user_page, queue.slot.gpu_key) != nullptr) return false;
  if (counters_.gpu_table_full++ == 0) {
    spdlog::warn(
        "pid {} ({}): the programs of user {} use more than {} GPUs, which is the most; their "
        "queues "
        "on {} are not scheduled",
        session.layer.pid, session.layer.comm, session.layer.uid, kGpusMax,
        FormatGpuKey(queue.slot.gpu_key));
  }
  return true;
}

void Core::ApplyIntent(Session& session, std::uint32_t index, QueueRecord* queue,
                       const QueueIntent& intent) {
  QueueSlot& slot = session.page->queues[index];
  const int own = session.EffectivePriority(*queue);
  const bool as_requested = own == queue->slot.requested_priority && queue->slot.implausible == 0;
  const int priority = intent.boost > own ? intent.boost : as_requested ? -1 : own;
  const bool same_priority = slot.priority.load(std::memory_order_relaxed) == priority;
  const std::uint32_t hold = !intent.hold                                      ? kHoldNone
                             : queue->operator_hold && queue->operator_suspend ? kHoldSuspend
                                                                               : kHoldPackets;
  const std::uint32_t old_hold = slot.hold.load(std::memory_order_relaxed);
  if (queue->intent == intent && same_priority && hold == old_hold) return;

  slot.priority.store(priority, std::memory_order_relaxed);
  slot.window_us.store(intent.window_us, std::memory_order_relaxed);
  slot.linger_us.store(intent.linger_us, std::memory_order_relaxed);
  slot.delay_budget_permille.store(intent.preemption.delay_budget_permille,
                                   std::memory_order_relaxed);
  slot.squeeze_units.store(intent.preemption.squeeze_units, std::memory_order_relaxed);
  slot.standing_first.store(intent.standing_first, std::memory_order_relaxed);
  slot.standing_units.store(intent.standing_units, std::memory_order_relaxed);
  const std::uint64_t lease_us = clock_->NowUs() + kLeaseUs;
  slot.standing_lease_until_us.store(intent.standing_units != 0 ? lease_us : 0,
                                     std::memory_order_relaxed);
  slot.kfd_priority.store(intent.kfd_priority, std::memory_order_relaxed);
  slot.mechanisms.store(MechanismsOf(intent), std::memory_order_relaxed);
  slot.hold_lease_until_us.store(intent.hold ? lease_us : 0, std::memory_order_relaxed);
  slot.hold.store(hold, std::memory_order_release);
  orders_leased_ |= intent.hold || intent.standing_units != 0;
  // Only an armed queue looks at its hold; window 0 leaves it unbounded otherwise.
  slot.mode.store((intent.armed || intent.hold ? kModeArmed : 0u) |
                      (intent.raise ? kModeRaise : 0u) | (intent.report ? kModeReport : 0u) |
                      session.trace_mode,
                  std::memory_order_seq_cst);
  // The preemptor looks again only where something of its concern has changed: turns change often.
  const QueueIntent& before = queue->intent;
  if (!same_priority || before.preemption != intent.preemption || before.armed != intent.armed ||
      before.kfd_priority != intent.kfd_priority ||
      before.standing_first != intent.standing_first ||
      before.standing_units != intent.standing_units || hold == kHoldSuspend ||
      old_hold == kHoldSuspend) {
    session.page->orders.fetch_add(1, std::memory_order_seq_cst);
  }
  queue->intent = intent;
  wakes_.insert(session.id);
}

// ----------------------------------------------------------------------------------------- urgency

std::uint32_t Core::LevelNow(const Arena& arena) const {
  std::uint32_t level = 0;
  for (const std::size_t i : arena.raisers) {
    const Member& member = arena.members[i];
    const QueueSlot& slot = member.session->page->queues[member.index];
    if (slot.active.load(std::memory_order_seq_cst) == 0) continue;
    const int priority = member.session->EffectivePriority(*member.queue);
    level = std::max(level, static_cast<std::uint32_t>(priority) + 1);
  }
  return level;
}

void Core::NoteLevel(const GpuOfGroup& key, Arena* arena, std::uint32_t level) {
  if (level != 0 && arena->level == 0) {
    arena->urgent_since_us = clock_->NowUs();
    arena->peak_level = 0;
  }
  arena->peak_level = std::max(arena->peak_level, level);
  if (level == 0 && arena->level != 0 && observer_ != nullptr && observer_->WantsPreemptions()) {
    std::uint32_t held = 0;
    for (const Member& member : arena->members) {
      const QueueSlot& slot = member.session->page->queues[member.index];
      held += member.queue->intent.armed &&
              (slot.gate_closed.load(std::memory_order_relaxed) != 0 ||
               slot.restriction.load(std::memory_order_relaxed) != kUnrestricted);
    }
    std::optional<std::uint32_t> uid;
    if (!options_.cross_user) uid = static_cast<std::uint32_t>(key.first);
    observer_->OnPreemption(uid, key.second, arena->peak_level,
                            clock_->NowUs() - arena->urgent_since_us, held);
  }
  arena->level = level;
}

void Core::SettleGroup(GroupId group) {
  const auto pages = groups_.find(group);
  if (pages == groups_.end()) return;
  for (UserPage* page : pages->second) {
    std::uint32_t leased = 0;
    for (std::uint32_t i = 0; i < kGpusMax; ++i) {
      const GpuKey key = page->gpus[i].gpu_key.load(std::memory_order_acquire);
      if (key == 0) continue;
      const auto it = arenas_.find({group, key});
      Arena* const arena = it != arenas_.end() ? &it->second : nullptr;
      const SettleResult result = SettleUrgency(
          page->gpus[i], [&] { return arena != nullptr ? LevelNow(*arena) : 0u; }, *clock_);
      counters_.acknowledgements += result.acked;
      counters_.lowerings += result.lowered;
      counters_.relays += result.raised;
      if ((result.lowered || result.raised || result.acked) && level_listener_) {
        level_listener_(*page, i, result.level);
      }
      if (result.lowered) WakeClosed(*page, &page->gpus[i]);
      if (arena != nullptr) NoteLevel({group, key}, arena, result.level);
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
  for (const auto& [group, pages] : groups_) SettleGroup(group);
}

// Whoever has said that a gate of his is closed, after the level was lowered (shared_page.h). The bits are the
// user's programs' word: they can wake their own kind, and nobody else's.
void Core::WakeClosed(const UserPage& page, GpuUrgency* gpu) {
  for (std::uint32_t word = 0; word < kSessionBits / 64; ++word) {
    if (gpu->closed[word].load(std::memory_order_seq_cst) == 0) continue;
    std::uint64_t bits = gpu->closed[word].exchange(0, std::memory_order_seq_cst);
    for (; bits != 0; bits &= bits - 1) {
      const std::uint32_t bit = word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
      const auto it = sessions_.find(session_of_bit_[bit]);
      if (it != sessions_.end() && it->second->user_page == &page) wakes_.insert(it->first);
    }
  }
}

// A lease that has lapsed was late: the layer has undone what it stood for, and must look again.
bool Core::RenewOrders() {
  bool any = false;
  const std::uint64_t now_us = clock_->NowUs();
  for (const auto& [id, session] : sessions_) {
    bool lapsed = false;
    const auto renew = [&](std::atomic<std::uint64_t>& lease_us) {
      lapsed |= lease_us.exchange(now_us + kLeaseUs, std::memory_order_acq_rel) < now_us;
      any = true;
    };
    for (const auto& [i, queue] : session->queues) {
      QueueSlot& slot = session->page->queues[i];
      if (queue.intent.hold) renew(slot.hold_lease_until_us);
      if (queue.intent.standing_units != 0) renew(slot.standing_lease_until_us);
    }
    if (!lapsed) continue;
    session->page->orders.fetch_add(1, std::memory_order_seq_cst);
    wakes_.insert(id);
  }
  return any;
}

void Core::UpdateTimer() {
  if (leased_.empty() && !orders_leased_) {
    renew_due_us_.reset();
  } else if (!renew_due_us_) {
    renew_due_us_ = clock_->NowUs() + kLeaseRenewUs;
  }
}

std::optional<std::uint64_t> Core::NextDueUs() const {
  std::optional<std::uint64_t> due_us = renew_due_us_;
  for (const auto& [key, arena] : arenas_) {
    const auto& next_us = arena.answer.next_us;
    if (next_us && (!due_us || *next_us < *due_us)) due_us = next_us;
  }
  return due_us;
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
  arenas_.clear();
  orders_leased_ = false;
  renew_due_us_.reset();
}

}  // namespace xsched_hsa

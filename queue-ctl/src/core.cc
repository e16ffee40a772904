// core.cc: sessions, slots, operators' orders. The part that turns decisions into words of the
// shared pages is core_apply.cc.
#include "core.h"

#include <spdlog/spdlog.h>

#include <new>

#include "decisions.h"
#include "gpu_key.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

// What the controller owns in a slot, as a new queue must find it.
void ResetControllerLine(QueueSlot& slot) {
  slot.mode.store(0, std::memory_order_relaxed);
  slot.hold.store(0, std::memory_order_relaxed);
  slot.hold_lease_until_us.store(0, std::memory_order_relaxed);
  slot.priority.store(-1, std::memory_order_relaxed);
  slot.window_us.store(0, std::memory_order_relaxed);
  slot.linger_us.store(0, std::memory_order_relaxed);
  slot.mechanisms.store(0, std::memory_order_relaxed);
  slot.delay_budget_permille.store(0, std::memory_order_relaxed);
  slot.squeeze_units.store(0, std::memory_order_relaxed);
  slot.kfd_priority.store(-1, std::memory_order_relaxed);
  slot.standing_first.store(0, std::memory_order_relaxed);
  slot.standing_units.store(0, std::memory_order_relaxed);
}

}  // namespace

Core::Core(const Options& options, const Clock* clock, std::unique_ptr<Policy> policy, Waker* waker)
    : options_(options), clock_(clock), policy_(std::move(policy)), waker_(waker) {}

void Core::InitUserPage(UserPage* page, std::uint32_t uid) {
  new (page) UserPage{};
  page->magic = kPageMagic;
  page->abi_version = kAbiVersion;
  page->size_bytes = sizeof(UserPage);
  page->uid = uid;
}

void Core::InitProcessPage(ProcessPage* page, std::uint32_t session_id) {
  new (page) ProcessPage{};
  page->magic = kPageMagic;
  page->abi_version = kAbiVersion;
  page->size_bytes = sizeof(ProcessPage);
  page->session_id = session_id;
  for (QueueSlot& slot : page->queues) ResetControllerLine(slot);
}

std::uint32_t Core::AddSession(const LayerInfo& layer, ProcessPage* page, UserPage* user_page) {
  if (sessions_.size() >= kSessionsMax) return 0;
  // Ids are never 0, and not reused while their session lives.
  do {
    ++last_session_id_;
  } while (last_session_id_ == 0 || sessions_.count(last_session_id_) != 0);

  auto session = std::make_unique<Session>();
  session->id = last_session_id_;
  session->layer = layer;
  session->page = page;
  session->user_page = user_page;
  session->started_us = clock_->NowUs();
  InitProcessPage(page, session->id);
  sessions_.emplace(session->id, std::move(session));
  ++counters_.sessions_started;
  return last_session_id_;
}

void Core::EndSession(std::uint32_t id) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  std::unique_ptr<Session> session = std::move(it->second);
  if (end_listener_) end_listener_(*session);
  // A last look, for the counters of queues that came and went since the last event.
  ScanSession(*session);
  while (!session->queues.empty()) Retire(*session, session->queues.begin()->first, false);
  session->queues_passed_through = session->page->queues_passed_through.load();
  session->faults = session->page->faults.load();
  session->decisions_made = session->DecisionsMade();
  session->decisions = DecisionsJson(*session->page);
  // The program may still run (it has only lost its socket): it must not obey us any longer.
  session->page->detached.store(1, std::memory_order_seq_cst);
  waker_->Wake(*session->page);
  session->page = nullptr;
  UserPage* const user_page = session->user_page;
  session->user_page = nullptr;
  session->ended_us = clock_->NowUs();
  sessions_.erase(it);
  wakes_.erase(id);
  ended_.push_back(std::move(session));
  if (ended_.size() > kEndedMax) ended_.pop_front();

  Reconsider();
  bool page_used = false;
  for (const auto& [other_id, other] : sessions_) page_used |= other->user_page == user_page;
  if (!page_used) {
    leased_.erase(user_page);
    UpdateTimer();
  }
}

void Core::OnLayerEvent(std::uint32_t id) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  ++counters_.layer_events;
  Session& session = *it->second;
  if (ScanSession(session)) {
    Reconsider();
    return;
  }
  // The common case, a raise or the end of one: the policy has nothing to add.
  SettleGroup(GroupOf(session));
  UpdateTimer();
  FlushWakes();
}

void Core::OnTimer() {
  if (!renew_due_us_ || clock_->NowUs() < *renew_due_us_) return;
  ++counters_.renewals;
  renew_due_us_.reset();
  SettleAll();
  holds_leased_ = RenewHolds();
  UpdateTimer();
  FlushWakes();
}

bool Core::HasUser(std::uint32_t uid) const {
  for (const auto& [id, session] : sessions_) {
    if (session->layer.uid == uid) return true;
  }
  return false;
}

GroupId Core::GroupOf(const Session& session) const {
  return options_.cross_user ? GroupId{1} << 32 : GroupId{session.layer.uid};
}

// ------------------------------------------------------------------------------------------- slots

bool Core::ScanSession(Session& session) {
  bool changed = false;
  for (std::uint32_t i = 0; i < kQueuesMax; ++i) changed |= ScanSlot(session, i);
  return changed;
}

bool Core::ScanSlot(Session& session, std::uint32_t index) {
  const SlotCopy copy = CopySlot(session.page->queues[index]);
  auto it = session.queues.find(index);
  if (copy.implausible != 0 &&
      (it == session.queues.end() || it->second.slot.implausible != copy.implausible)) {
    NoteImplausible(session, copy.implausible);
  }
  if (copy.state == SlotState::kFree) return Retire(session, index, /*by_layer=*/false);

  bool changed = false;
  // Another queue in the slot before we saw the first one go.
  if (it != session.queues.end() && it->second.slot.serial != copy.serial) {
    changed = Retire(session, index, false);
    it = session.queues.end();
  }
  if (it == session.queues.end()) {
    it = session.queues.emplace(index, QueueRecord{}).first;
    it->second.operator_hold = session.operator_hold;
    it->second.slot = copy;
    ++counters_.queues_seen;
    changed = true;
  }
  if (copy.state == SlotState::kRetired) return Retire(session, index, true) || changed;

  const SlotCopy& known = it->second.slot;
  changed |= known.state != copy.state || known.gpu_key != copy.gpu_key ||
             known.requested_priority != copy.requested_priority;
  it->second.slot = copy;
  return changed;
}

// Moves a queue to the destroyed ones. `by_layer`: its slot says kSlotRetired and is ours to free.
bool Core::Retire(Session& session, std::uint32_t index, bool by_layer) {
  const auto it = session.queues.find(index);
  if (it == session.queues.end()) return false;
  QueueSlot& slot = session.page->queues[index];
  it->second.destroyed = true;
  it->second.final_counters = CopyCounters(slot);
  session.destroyed.push_back(it->second);
  session.queues.erase(it);
  ++session.destroyed_count;
  if (session.destroyed.size() > kDestroyedQueuesMax) {
    session.forgotten += session.destroyed.front().final_counters;
    session.destroyed.pop_front();
  }
  ResetControllerLine(slot);
  if (by_layer) {
    // A program that changed the state meanwhile keeps what it wrote; the next scan looks again.
    std::uint32_t expected = kSlotRetired;
    slot.state.compare_exchange_strong(expected, kSlotFree, std::memory_order_release);
  }
  return true;
}

void Core::NoteImplausible(Session& session, int count) {
  if (counters_.implausible_values == 0) {
    spdlog::warn(
        "session {} (pid {}, {}): implausible values in its page are ignored; further ones "
        "are only counted",
        session.id, session.layer.pid, session.layer.comm);
  }
  counters_.implausible_values += static_cast<std::uint64_t>(count);
}

// ------------------------------------------------------------------------------------------ orders

Status Core::FindOwners(const Caller& caller, const Target& target, std::vector<Session*>* owners) {
  const std::string name = "pid " + std::to_string(target.pid);
  bool foreign_owner = false;
  // The pid as we see it; failing that, the one the program itself sees (in a container).
  for (const bool by_namespace : {false, true}) {
    for (const auto& [id, session] : sessions_) {
      const auto pid = by_namespace ? static_cast<std::int32_t>(session->layer.namespace_pid)
                                    : session->layer.pid;
      if (pid != target.pid) continue;
      if (caller.administrator || caller.uid == session->layer.uid) {
        owners->push_back(session.get());
      } else if (!by_namespace) {
        foreign_owner = true;
      }
    }
    if (!owners->empty()) break;
    if (foreign_owner) {
      return Status::Permission(name + " belongs to another user; only root may change it");
    }
  }
  if (owners->empty()) {
    return Status::NotFound(name +
                            " has no session here; 'xsched-hsa-ctl list' shows those there are");
  }
  if (!target.serial) return {};
  for (Session* session : *owners) {
    for (const auto& [slot, queue] : session->queues) {
      if (queue.slot.serial == *target.serial) return {};
    }
  }
  return Status::NotFound(name + " has no queue " + std::to_string(*target.serial));
}

Status Core::SetPriority(const Caller& caller, const Target& target, std::optional<int> priority,
                         int* changed) {
  *changed = 0;
  if (priority && (*priority < 0 || *priority > kPriorityMax)) {
    return Status::Bad("priority " + std::to_string(*priority) + " is not in 0..15");
  }
  std::vector<Session*> owners;
  Status status = FindOwners(caller, target, &owners);
  if (!status.ok()) return status;
  for (Session* session : owners) {
    if (!target.serial) session->priority_override = priority;
    for (auto& [slot, queue] : session->queues) {
      if (target.serial && queue.slot.serial != *target.serial) continue;
      // An order for the whole process ends the single queues' own.
      queue.priority_override = target.serial ? priority : std::nullopt;
      ++*changed;
    }
  }
  Reconsider();
  return {};
}

Status Core::SetHold(const Caller& caller, const Target& target, bool hold, int* changed) {
  *changed = 0;
  std::vector<Session*> owners;
  Status status = FindOwners(caller, target, &owners);
  if (!status.ok()) return status;
  int uncontrollable = 0;
  for (Session* session : owners) {
    if (!target.serial) session->operator_hold = hold;
    for (auto& [slot, queue] : session->queues) {
      if (target.serial && queue.slot.serial != *target.serial) continue;
      if (hold && queue.slot.state == SlotState::kForeign) {
        ++uncontrollable;
        continue;
      }
      queue.operator_hold = hold;
      ++*changed;
    }
  }
  Reconsider();
  if (uncontrollable != 0 && *changed == 0) {
    return Status::Bad("pid " + std::to_string(target.pid) +
                       ": its queues can't be held, the program writes them without the HSA API");
  }
  return {};
}

std::uint32_t Core::AskRefresh(std::uint32_t id) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return 0;
  ProcessPage& page = *it->second->page;
  const std::uint32_t ticket = page.refresh.fetch_add(1, std::memory_order_seq_cst) + 1;
  waker_->Wake(page);
  return ticket;
}

bool Core::IsRefreshed(std::uint32_t id, std::uint32_t ticket) const {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return true;  // nobody left to wait for
  const std::uint32_t served = it->second->page->refreshed.load(std::memory_order_acquire);
  return static_cast<std::int32_t>(served - ticket) >= 0;
}

}  // namespace xsched_hsa

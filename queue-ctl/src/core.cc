// core.cc: sessions and slots. core_orders.cc has operators' orders, core_arena.cc asks the policies,
// core_apply.cc turns their answers into words of the shared pages.
#include "core.h"

#include <spdlog/spdlog.h>

#include <algorithm>
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
  slot.standing_lease_until_us.store(0, std::memory_order_relaxed);
}

}  // namespace

std::vector<std::pair<const char*, std::uint64_t>> Named(const CoreCounters& c) {
  return {{"sessions_started", c.sessions_started},
          {"queues_seen", c.queues_seen},
          {"layer_events", c.layer_events},
          {"decisions", c.decisions},
          {"unusable_answers", c.unusable_answers},
          {"acknowledgements", c.acknowledgements},
          {"lowerings", c.lowerings},
          {"relays", c.relays},
          {"renewals", c.renewals},
          {"wakes", c.wakes},
          {"implausible_values", c.implausible_values},
          {"gpu_table_full", c.gpu_table_full},
          {"queues_over_limit", c.queues_over_limit}};
}

Core::Core(const Options& options, const Clock* clock, std::unique_ptr<Policy> policy, Waker* waker)
    : options_(options), clock_(clock), waker_(waker) {
  default_policy_.setting.name = policy->Name();
  default_policy_.policy = std::move(policy);
}

void Core::InitUserPage(UserPage* page, std::uint32_t uid) {
  new (page) UserPage{};
  page->magic = kPageMagic;
  page->abi_version = kAbiVersion;
  page->size_bytes = sizeof(UserPage);
  page->uid = uid;
}

void Core::InitProcessPage(ProcessPage* page, std::uint32_t session_id, std::uint32_t bit) {
  new (page) ProcessPage{};
  page->magic = kPageMagic;
  page->abi_version = kAbiVersion;
  page->size_bytes = sizeof(ProcessPage);
  page->session_id = session_id;
  page->session_bit = bit;
  for (QueueSlot& slot : page->queues) ResetControllerLine(slot);
}

std::uint32_t Core::AddSession(const LayerInfo& layer, ProcessPage* page, UserPage* user_page) {
  const auto own = static_cast<std::size_t>(
      std::count_if(sessions_.begin(), sessions_.end(),
                    [&](const auto& entry) { return entry.second->layer.uid == layer.uid; }));
  const std::size_t left_by_others = kSessionsMax - (sessions_.size() - own);
  if (sessions_.size() >= kSessionsMax || (layer.uid != 0 && own >= left_by_others / 2)) return 0;
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
  session->request_max = RequestMaxOf(*session);
  // There are as many bits as sessions.
  const auto free_bit = std::find(session_of_bit_.begin(), session_of_bit_.end(), 0u);
  *free_bit = session->id;
  session->bit = static_cast<std::uint32_t>(free_bit - session_of_bit_.begin());
  InitProcessPage(page, session->id, session->bit);
  const Session& added = *sessions_.emplace(session->id, std::move(session)).first->second;
  RebuildGroups();
  ++counters_.sessions_started;
  if (observer_ != nullptr) observer_->OnSession(added, true);
  return last_session_id_;
}

void Core::Classify(std::uint32_t id, const ProgramFacts& facts, const std::string& rule,
                    const ProgramClass& rule_class) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  Session& session = *it->second;
  session.facts = facts;
  const bool new_rule = session.rule != rule;
  session.rule = rule;
  if (new_rule && observer_ != nullptr) observer_->OnRule(session);
  if (session.rule_class == rule_class) return;
  session.rule_class = rule_class;
  Touch(session);
  Reconsider();
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
  session->requests = CopyRequests(*session->page);
  // The program may still run (it has only lost its socket): it must not obey us any longer.
  session->page->detached.store(1, std::memory_order_seq_cst);
  waker_->Wake(*session->page);
  session->page = nullptr;
  UserPage* const user_page = session->user_page;
  session->user_page = nullptr;
  session->ended_us = clock_->NowUs();
  sessions_.erase(it);
  session_of_bit_[session->bit] = 0;
  RebuildGroups();
  wakes_.erase(id);
  if (observer_ != nullptr) observer_->OnSession(*session, false);
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
  const std::uint32_t changes = session.page->changes.load(std::memory_order_acquire);
  bool changed = false;
  if (changes != session.changes_seen) {
    session.changes_seen = changes;
    changed = ScanSession(session);
  } else {
    // A slot that turns foreign says so nowhere else. Only its state: there may be hundreds.
    for (auto next = session.queues.begin(); next != session.queues.end();) {
      const auto at = next++;
      if (StateOf(session.page->queues[at->first]) == at->second.slot.state) continue;
      changed |= ScanSlot(session, at->first);
    }
  }
  if (changed | NoteActivity(session, clock_->NowUs())) {
    Reconsider();
    return;
  }
  // The common case, a raise or the end of one: the policy has nothing to add.
  SettleGroup(GroupOf(session));
  UpdateTimer();
  FlushWakes();
}

void Core::OnTimer() {
  const std::uint64_t now_us = clock_->NowUs();
  const bool renew = renew_due_us_ && now_us >= *renew_due_us_;
  bool decided = false;
  for (auto& [key, arena] : arenas_) {
    const bool due = arena.answer.next_us && *arena.answer.next_us <= now_us;
    if (!due && !(renew && arena.level != 0 && arena.answer.while_urgent)) continue;
    Decide(key, &arena);
    decided = true;
  }
  if (!renew && !decided) return;
  if (renew) {
    ++counters_.renewals;
    renew_due_us_.reset();
    orders_leased_ = RenewOrders();
  }
  SettleAll();
  UpdateTimer();
  FlushWakes();
}

bool Core::HasUser(std::uint32_t uid) const {
  for (const auto& [id, session] : sessions_) {
    if (session->layer.uid == uid) return true;
  }
  return false;
}

// Sessions come and go rarely; events, which need this, are many.
void Core::RebuildGroups() {
  groups_.clear();
  std::map<std::uint32_t, std::uint32_t>
      programs;  // of each user: nobody else's pumps look more seldom for them
  for (const auto& [id, session] : sessions_) {
    groups_[GroupOf(*session)].insert(session->user_page);
    ++programs[session->layer.uid];
  }
  for (const auto& [id, session] : sessions_) {
    session->page->programs.store(programs[session->layer.uid], std::memory_order_relaxed);
  }
}

GroupId Core::GroupOf(const Session& session) const {
  return options_.cross_user ? GroupId{1} << 32 : GroupId{session.layer.uid};
}

int Core::RequestMaxOf(const Session& session) const {
  const std::uint32_t uid = session.layer.uid;
  return options_.cross_user && uid != 0 && uid != options_.administrator ? kPriorityNormal
                                                                          : kPriorityMax;
}

// ------------------------------------------------------------------------------------------- slots

bool Core::ScanSession(Session& session) {
  bool changed = false;
  for (std::uint32_t i = 0; i < kQueuesMax; ++i) changed |= ScanSlot(session, i);
  return changed;
}

std::size_t Core::QueuesOf(std::uint32_t uid) const {
  std::size_t count = 0;
  for (const auto& [id, session] : sessions_) {
    // One that is ending has been taken out already.
    if (session != nullptr && session->layer.uid == uid) count += session->queues.size();
  }
  return count;
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
  if (it == session.queues.end() && QueuesOf(session.layer.uid) >= kQueuesPerUserMax) {
    ++counters_.queues_over_limit;
    return changed;
  }
  if (it == session.queues.end()) {
    it = session.queues.emplace(index, QueueRecord{}).first;
    it->second.operator_hold = session.operator_hold;
    it->second.operator_suspend = session.operator_suspend;
    it->second.operator_units = session.operator_units;
    it->second.slot = copy;
    it->second.device_us = CopyCounters(session.page->queues[index]).device_us;
    ++counters_.queues_seen;
    changed = true;
    Touch(session, it->second);
    if (observer_ != nullptr) observer_->OnQueue(session, it->second, true);
  }
  if (copy.state == SlotState::kRetired) return Retire(session, index, true) || changed;

  const SlotCopy& known = it->second.slot;
  const bool differs = known.state != copy.state || known.gpu_key != copy.gpu_key ||
                       known.requested_priority != copy.requested_priority;
  if (differs) Touch(session, it->second);
  it->second.slot = copy;
  if (differs) Touch(session, it->second);
  return changed || differs;
}

// Moves a queue to the destroyed ones. `by_layer`: its slot says kSlotRetired and is ours to free.
bool Core::Retire(Session& session, std::uint32_t index, bool by_layer) {
  const auto it = session.queues.find(index);
  if (it == session.queues.end()) return false;
  QueueSlot& slot = session.page->queues[index];
  Touch(session, it->second);
  it->second.destroyed = true;
  it->second.final_counters = CopyCounters(slot);
  if (observer_ != nullptr) observer_->OnQueue(session, it->second, false);
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

void Core::Touch(const Session& session, const QueueRecord& queue) {
  touched_.insert({GroupOf(session), queue.slot.gpu_key});
}
void Core::Touch(const Session& session) {
  for (const auto& [index, queue] : session.queues) Touch(session, queue);
}

void Core::NoteImplausible(Session& session, int count) {
  if (counters_.implausible_values == 0) {
    spdlog::warn(
        "pid {} ({}), session {}: implausible values in its page are ignored; further ones, of any "
        "program, are only counted ('xsched-hsa-ctl stats'); restart it if its memory may be "
        "damaged",
        session.layer.pid, session.layer.comm, session.id);
  }
  counters_.implausible_values += static_cast<std::uint64_t>(count);
}

}  // namespace xsched_hsa

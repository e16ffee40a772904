// core_orders.cc: what operators order, and who may.
#include "core.h"

namespace xsched_hsa {

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
    if (!target.serial) session->overrides.priority = priority;
    Touch(*session);
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
    Touch(*session);
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

Status Core::SetClass(const Caller& caller, std::int32_t pid,
                      const std::function<void(ProgramClass*)>& change, int* changed) {
  *changed = 0;
  std::vector<Session*> owners;
  Status status = FindOwners(caller, {pid, std::nullopt}, &owners);
  if (!status.ok()) return status;
  for (Session* session : owners) {
    change(&session->overrides);
    Touch(*session);
    *changed += static_cast<int>(session->queues.size());
  }
  Reconsider();
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

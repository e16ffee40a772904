// core_orders.cc: what operators order, and who may.
#include "core.h"
#include "gpu_key.h"

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

// A user's own programs are his to rank among themselves, and nobody else's.
Status Core::MayClassify(const Caller& caller) const {
  if (!options_.cross_user || caller.administrator) return {};
  return Status::Permission(
      "programs of different users compete here (cross_user): only root may change a class");
}

Status Core::SetPriority(const Caller& caller, const Target& target, std::optional<int> priority,
                         int* changed) {
  *changed = 0;
  if (priority && (*priority < 0 || *priority > kPriorityMax)) {
    return Status::Bad("priority " + std::to_string(*priority) + " is not in 0..15");
  }
  std::vector<Session*> owners;
  Status status = FindOwners(caller, target, &owners);
  if (status.ok()) status = MayClassify(caller);
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

Status Core::SetHold(const Caller& caller, const Target& target, HoldOrder order, int* changed) {
  *changed = 0;
  std::vector<Session*> owners;
  Status status = FindOwners(caller, target, &owners);
  if (!status.ok()) return status;
  // Looked at first: an order that no queue can follow changes nothing, for queues to come neither.
  std::vector<QueueRecord*> able;
  int foreign = 0, only_held = 0;
  for (Session* session : owners) {
    for (auto& [slot, queue] : session->queues) {
      if (target.serial && queue.slot.serial != *target.serial) continue;
      const std::uint32_t available = session->page->queues[slot].mechanisms_available.load();
      if (order != kHoldNone && queue.slot.state == SlotState::kForeign) {
        ++foreign;
      } else if (order == kHoldSuspend && (available & kMechanismSuspend) == 0) {
        ++only_held;
      } else {
        able.push_back(&queue);
      }
    }
  }
  if (able.empty() && foreign + only_held != 0) {
    const std::string name = "pid " + std::to_string(target.pid);
    return Status::Bad(only_held != 0
                           ? name +
                                 ": its queues can't be suspended (their KFD ids are not known, or "
                                 "the driver refused); 'hold' works"
                           : name +
                                 ": its queues can't be held, the program writes them without the "
                                 "HSA API, or the runtime has stopped them after an error");
  }
  for (Session* session : owners) {
    if (!target.serial) session->operator_hold = order != kHoldNone;
    if (!target.serial) session->operator_suspend = order == kHoldSuspend;
    Touch(*session);
  }
  for (QueueRecord* queue : able) {
    queue->operator_hold = order != kHoldNone;
    queue->operator_suspend = order == kHoldSuspend;
  }
  *changed = static_cast<int>(able.size());
  Reconsider();
  return {};
}

// Of one queue, in `units` what it would keep; 0: it can't be masked.
Status Core::UnitsFor(const Session& session, std::uint32_t index, const QueueRecord& queue,
                      std::uint32_t* units) const {
  if (*units == 0) return {};
  const auto shape = shapes_.find(queue.slot.gpu_key);
  const std::uint32_t step = shape != shapes_.end() ? shape->second.unit_step : 0;
  if (step == 0) {
    return Status::Bad("the compute units of " + FormatGpuKey(queue.slot.gpu_key) +
                       " are not known here; 'xsched-hsa-ctl devices' shows what is");
  }
  if (*units < step || *units > shape->second.compute_units) {
    return Status::Bad(std::to_string(*units) + " compute units: a mask has " +
                       std::to_string(step) + " (one on each shader array) to " +
                       std::to_string(shape->second.compute_units));
  }
  const std::uint32_t available = session.page->queues[index].mechanisms_available.load();
  *units = (available & kMechanismSqueeze) == 0 ? 0 : *units / step * step;
  return {};
}

Status Core::SetUnits(const Caller& caller, const Target& target, std::uint32_t units, int* changed,
                      std::uint32_t* kept) {
  *changed = 0;
  *kept = 0;
  std::vector<Session*> owners;
  Status status = FindOwners(caller, target, &owners);
  if (!status.ok()) return status;
  // Looked at first, as above.
  std::vector<std::pair<QueueRecord*, std::uint32_t>> able;
  for (Session* session : owners) {
    for (auto& [slot, queue] : session->queues) {
      if (target.serial && queue.slot.serial != *target.serial) continue;
      std::uint32_t own = units;
      status = UnitsFor(*session, slot, queue, &own);
      if (!status.ok()) return status;
      if (units == 0 || own != 0) able.emplace_back(&queue, own);
    }
  }
  if (able.empty() && units != 0) {
    return Status::Bad(
        "pid " + std::to_string(target.pid) +
        ": none of its queues can be masked (their KFD ids are not known, or HSA_CU_MASK "
        "is set)");
  }
  for (const auto& [queue, own] : able) queue->operator_units = *kept = own;
  for (Session* session : owners) {
    // Of queues to come on the same device; a session's queues are on one as a rule.
    if (!target.serial) session->operator_units = *kept;
    Touch(*session);
  }
  *changed = static_cast<int>(able.size());
  Reconsider();
  return {};
}

Status Core::SetClass(const Caller& caller, std::int32_t pid,
                      const std::function<void(ProgramClass*)>& change, int* changed) {
  *changed = 0;
  std::vector<Session*> owners;
  Status status = FindOwners(caller, {pid, std::nullopt}, &owners);
  if (status.ok()) status = MayClassify(caller);
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

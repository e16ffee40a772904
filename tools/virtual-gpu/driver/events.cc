#include "events.h"

#include <errno.h>

#include <algorithm>
#include <cstring>

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kUnsignaledSlot = ~0ull;

std::uint64_t LoadSlot(std::uint64_t* slot) {
  return std::atomic_ref(*slot).load(std::memory_order_acquire);
}
void ClearSlot(std::uint64_t* slot) {
  std::atomic_ref(*slot).store(kUnsignaledSlot, std::memory_order_release);
}

}  // namespace

void EventTable::SetPage(std::uint64_t* slots) {
  std::lock_guard lock(mutex_);
  slots_ = slots;
  std::fill(slots, slots + kEventsMax, kUnsignaledSlot);
}

int EventTable::Create(std::uint32_t type, bool auto_reset, std::uint32_t node_id,
                       std::uint32_t* id) {
  (void)node_id;  // a memory event hears of every GPU's faults, as in KFD
  std::lock_guard lock(mutex_);
  if (events_.size() >= kEventsMax - 1) return ENOSPC;
  while (events_.contains(next_id_) || next_id_ == 0 || next_id_ >= kEventsMax) {
    next_id_ = next_id_ + 1 >= kEventsMax ? 1 : next_id_ + 1;
  }
  *id = next_id_++;
  Event& event = events_[*id];
  event.type = type;
  event.auto_reset = auto_reset;
  if (slots_ != nullptr) ClearSlot(&slots_[*id]);
  return 0;
}

int EventTable::Destroy(std::uint32_t id) {
  std::lock_guard lock(mutex_);
  if (events_.erase(id) == 0) return EINVAL;
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    const auto& events = it->second.events;
    const bool concerned =
        std::any_of(events.begin(), events.end(), [&](const auto& e) { return e.event_id == id; });
    if (!concerned) {
      ++it;
      continue;
    }
    Answer(it->second, kfd::kWaitFail);
    it = waiters_.erase(it);
  }
  return 0;
}

std::size_t EventTable::Count() const {
  std::lock_guard lock(mutex_);
  return events_.size();
}

int EventTable::Set(std::uint32_t id) {
  std::lock_guard lock(mutex_);
  const auto it = events_.find(id);
  if (it == events_.end() || it->second.type != kfd::kEventSignal) return EINVAL;
  SetLocked(id, &it->second);
  AnswerSatisfied();
  return 0;
}

int EventTable::Reset(std::uint32_t id) {
  std::lock_guard lock(mutex_);
  const auto it = events_.find(id);
  if (it == events_.end() || it->second.type != kfd::kEventSignal) return EINVAL;
  it->second.signaled = false;
  return 0;
}

void EventTable::SetLocked(std::uint32_t id, Event* event) {
  bool anyone = false;
  for (auto& [waiter_id, waiter] : waiters_) {
    for (std::size_t i = 0; i < waiter.events.size(); ++i) {
      if (waiter.events[i].event_id != id || waiter.activated[i]) continue;
      waiter.activated[i] = true;
      anyone = true;
    }
  }
  event->signaled = !event->auto_reset || !anyone;
  if (++event->age == 0) event->age = 2;  // 0 means "no age", 1 "never set"
  ++raised_;
}

bool EventTable::Satisfied(const Waiter& waiter) const {
  const auto yes = [](bool activated) { return activated; };
  return waiter.wait_for_all ? std::all_of(waiter.activated.begin(), waiter.activated.end(), yes)
                             : std::any_of(waiter.activated.begin(), waiter.activated.end(), yes);
}

void EventTable::Answer(const Waiter& waiter, std::uint32_t result) {
  std::vector<EventData> events = waiter.events;
  for (std::size_t i = 0; i < events.size() && result == kfd::kWaitComplete; ++i) {
    const auto it = events_.find(events[i].event_id);
    if (it == events_.end() || !waiter.activated[i]) continue;
    const Event& event = it->second;
    if (event.type == kfd::kEventMemory) {
      events[i].memory = event.data.memory;
    } else if (event.type == kfd::kEventHwException) {
      events[i].hardware = event.data.hardware;
    } else if (event.type == kfd::kEventSignal && events[i].last_event_age != 0) {
      events[i].last_event_age = event.age;
    }
  }
  auto args = waiter.request.Arg<kfd::WaitEventsArgs>();
  args.wait_result = result;
  waiter.request.ReplyWith(result == kfd::kWaitFail ? EIO : 0, args,
                           std::as_bytes(std::span(events)));
}

void EventTable::AnswerSatisfied() {
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    if (!Satisfied(it->second)) {
      ++it;
      continue;
    }
    Answer(it->second, kfd::kWaitComplete);
    it = waiters_.erase(it);
  }
}

EventTable::WaiterId EventTable::Wait(const Request& request) {
  const auto args = request.Arg<kfd::WaitEventsArgs>();
  Waiter waiter;
  waiter.request = request;
  waiter.wait_for_all = args.wait_for_all != 0;
  waiter.events.resize(request.payload.size() / sizeof(EventData));
  if (waiter.events.empty() || waiter.events.size() != args.num_events) {
    request.Reply(EINVAL);
    return 0;
  }
  std::memcpy(waiter.events.data(), request.payload.data(),
              waiter.events.size() * sizeof(EventData));
  waiter.activated.resize(waiter.events.size());
  std::lock_guard lock(mutex_);
  for (const EventData& wanted : waiter.events) {
    if (!events_.contains(wanted.event_id)) {
      request.Reply(EINVAL);
      return 0;
    }
  }
  for (std::size_t i = 0; i < waiter.events.size(); ++i) {
    Event& event = events_.at(waiter.events[i].event_id);
    const std::uint64_t age = waiter.events[i].last_event_age;
    const bool stale = event.type == kfd::kEventSignal && age != 0 && age != event.age;
    waiter.activated[i] = event.signaled || stale;
    event.signaled = event.signaled && !event.auto_reset;
  }
  if (Satisfied(waiter)) {
    Answer(waiter, kfd::kWaitComplete);
    return 0;
  }
  if (args.timeout == 0) {
    Answer(waiter, kfd::kWaitTimeout);
    return 0;
  }
  waiters_[next_waiter_] = std::move(waiter);
  return next_waiter_++;
}

void EventTable::Expire(WaiterId id) {
  std::lock_guard lock(mutex_);
  const auto it = waiters_.find(id);
  if (it == waiters_.end()) return;
  Answer(it->second, kfd::kWaitTimeout);
  waiters_.erase(it);
}

void EventTable::Forget(const Connection* connection) {
  std::lock_guard lock(mutex_);
  std::erase_if(waiters_, [&](const auto& entry) {
    return entry.second.request.connection.get() == connection;
  });
}

void EventTable::Interrupt(std::uint32_t id) {
  std::lock_guard lock(mutex_);
  const auto it = events_.find(id);
  if (it != events_.end()) {
    if (slots_ != nullptr) ClearSlot(&slots_[id]);
    SetLocked(id, &it->second);
  } else if (slots_ != nullptr) {
    for (auto& [other, event] : events_) {
      if (LoadSlot(&slots_[other]) == kUnsignaledSlot) continue;
      ClearSlot(&slots_[other]);
      SetLocked(other, &event);
    }
  }
  AnswerSatisfied();
}

void EventTable::RaiseMemoryFault(std::uint64_t va, std::uint32_t gpu_id, bool not_present,
                                  bool read_only) {
  std::lock_guard lock(mutex_);
  for (auto& [id, event] : events_) {
    if (event.type != kfd::kEventMemory) continue;
    event.data.memory = {};
    event.data.memory.va = va & ~0xfffull;
    event.data.memory.gpu_id = gpu_id;
    event.data.memory.not_present = not_present;
    event.data.memory.read_only = read_only;
    SetLocked(id, &event);
  }
  AnswerSatisfied();
}

void EventTable::RaiseReset(std::uint32_t gpu_id) {
  std::lock_guard lock(mutex_);
  for (auto& [id, event] : events_) {
    if (event.type != kfd::kEventHwException) continue;
    event.data.hardware = {0, 0, 1, gpu_id};  // GPU reset, hang, memory lost
    SetLocked(id, &event);
  }
  AnswerSatisfied();
}

}  // namespace virtual_gpu

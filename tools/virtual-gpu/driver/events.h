// events.h: the KFD events of one process.
//
// Why        ROCr sleeps on these; a lost wake-up is a hang. The rules are those of kfd_events.c:
//            set_event activates every present waiter, auto-reset latches only when nobody waits,
//            and a waiter whose last_event_age is stale returns at once.
// Threads    any; one lock, under which replies to waiters are sent. Leaf but for Connection::Reply.
// Ownership  waiters hold their connection. The event page is memory of the process (an arena
//            pointer) and outlives the table.
// Limits     ids 1 .. 4095 (kfd::kEventsMax); 0 is never handed out.
// Errors     errno values, as the ioctls return them.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "connection.h"
#include "kfd_abi.h"

namespace virtual_gpu {

using kfd::EventData;

class EventTable {
 public:
  static constexpr std::uint32_t kEventsMax = kfd::kEventsMax;
  using WaiterId = std::uint64_t;

  // Fills the page with "unsignaled". Once per process.
  void SetPage(std::uint64_t* slots);
  bool has_page() const { return slots_ != nullptr; }

  int Create(std::uint32_t type, bool auto_reset, std::uint32_t node_id, std::uint32_t* id);
  int Destroy(std::uint32_t id);
  int Set(std::uint32_t id);
  int Reset(std::uint32_t id);

  // Answers the request now, or keeps it and returns its id: Expire(id) is then due at the timeout.
  WaiterId Wait(const Request& request);
  void Expire(WaiterId id);
  // Drops the waiters of a connection that has gone.
  void Forget(const Connection* connection);

  // A signal's interrupt: an unknown id wakes whatever slot is no longer "unsignaled", as KFD does.
  void Interrupt(std::uint32_t id);
  // Sets every memory-exception event with this data.
  void RaiseMemoryFault(std::uint64_t va, std::uint32_t gpu_id, bool not_present, bool read_only);

  // Sets every hardware-exception event: this GPU was reset after a hang, its memory is lost.
  void RaiseReset(std::uint32_t gpu_id);

  std::uint64_t raised() const { return raised_; }
  std::size_t Count() const;

 private:
  struct Event {
    std::uint32_t type = 0;
    bool auto_reset = false;
    bool signaled = false;
    std::uint64_t age = 1;
    EventData data = {};
  };
  struct Waiter {
    Request request;
    bool wait_for_all = false;
    std::vector<EventData> events;
    std::vector<bool> activated;
    bool lost = false;  // an event was destroyed under it
  };

  void SetLocked(std::uint32_t id, Event* event);
  bool Satisfied(const Waiter& waiter) const;
  void Answer(const Waiter& waiter, std::uint32_t result);
  void AnswerSatisfied();

  mutable std::mutex mutex_;
  std::map<std::uint32_t, Event> events_;
  std::map<WaiterId, Waiter> waiters_;
  std::uint64_t* slots_ = nullptr;
  WaiterId next_waiter_ = 1;
  std::uint32_t next_id_ = 1;
  std::atomic<std::uint64_t> raised_ = 0;
};

}  // namespace virtual_gpu

// pump.h: the layer's working thread: publishes, watches, tells the controller.
//
// Why        Somebody has to publish more when packets complete or a gate opens, and to notice that
//            an urgent queue has drained; the program's own threads may be asleep by then.
// Threads    Start once, from any thread. Wake from any thread, also a doorbell: a system call only
//            if the pump sleeps. Everything else happens on the pump's thread.
// Limits     sleeps without a timer while nothing is held, windowed or active; looks more seldom where there are
//            many programs (pump_pace.h).
// See        docs/life-of-a-preemption.md
#pragma once

#include <atomic>
#include <cstdint>

#include "dependency.h"
#include "managed_queue.h"
#include "mutex.h"
#include "own_descriptor.h"
#include "pump_pace.h"
#include "queue_registry.h"
#include "window_gate.h"

namespace xsched_hsa {

class Pump {
 public:
  constexpr Pump(QueueRegistry* registry, WindowGate* gate) : registry_(registry), gate_(gate) {}

  // Starts the thread. False if the system has no thread left; nothing may be armed then.
  bool Start();
  bool started() const { return started_.load(std::memory_order_acquire); }

  // `tell_controller`: have the pump write the session's eventfd.
  void Wake(bool tell_controller);
  // After a doorbell of the queue that asked for it. The controller hears of queues that raise or report; a held
  // one has nothing to tell it.
  void WakeFor(const ManagedQueue& queue);

  // The session's page and eventfd, or null and none. Replaces what was there; wakes the pump.
  void SetSession(ProcessPage* page, const OwnDescriptor& event);
  // Tells the controller to look at this process's page. Any thread.
  void TellController();

  // Called on the pump's thread when the controller has changed orders of this process. Before Start.
  void SetOrdersListener(void (*listener)(void*), void* argument) {
    orders_argument_ = argument;
    orders_listener_ = listener;
  }

  // A fork child has no pump.
  void Forget() {
    started_.store(false, std::memory_order_relaxed);
    reader_.Forget();
  }

  // One look at everything; returns after how many nanoseconds to look again. Public for the
  // simulation.
  std::uint64_t Round();
  // The thread itself, which never ends. Public for the explorer.
  void Run();

 private:
  static void* ThreadMain(void* self);
  std::uint64_t LookAt(ManagedQueue* queue, bool refresh);
  std::uint64_t WatchDrain(ManagedQueue* queue, QueueSlot* slot);
  void Deactivate(ManagedQueue* queue, QueueSlot* slot);
  // pump_usage.cc
  std::uint64_t CountUse(ManagedQueue* queue, QueueSlot* slot, std::uint32_t mode, bool closed);
  void CountBurst(const ManagedQueue& queue);
  // pump_dependencies.cc
  std::uint64_t WatchDependencies(ManagedQueue* queue, QueueSlot* slot);
  Dependencies UnmetAtHead(const ManagedQueue& queue, std::uint64_t head);
  bool LetProvidersRun(const ManagedQueue& waiting, const Dependencies& unmet, std::uint32_t level);
  bool LetRunFor(ManagedQueue* queue, const Dependencies& unmet, std::uint32_t level);
  void GiveUp(ManagedQueue* queue, QueueSlot* slot, std::uint64_t head);
  void EndInheritance();
  void Mirror(const ManagedQueue& queue, QueueSlot* slot);

  QueueRegistry* registry_;
  WindowGate* gate_;
  std::atomic<bool> started_{false};
  std::atomic<std::uint32_t> sleeping_{0};
  std::atomic<std::uint32_t> tell_{0};
  std::atomic<std::uint32_t> own_wake_word_{0};  // while there is no session
  std::atomic<std::atomic<std::uint32_t>*> wake_word_{nullptr};
  std::atomic<ProcessPage*> page_{nullptr};
  SafeReader reader_;                         // the pump's own
  PumpPace pace_;                             // the pump's own
  bool inheriting_ = false;                   // the pump's own: some queue has an inherited level
  bool somebody_waits_ = false;               // the pump's own, of this round
  std::uint32_t orders_seen_ = 0;             // the pump's own
  void (*orders_listener_)(void*) = nullptr;  // set before Start
  void* orders_argument_ = nullptr;
  Mutex event_mutex_;  // event_ is not closed while it is written
  OwnDescriptor event_;
  bool told_taken_ = false;
};

}  // namespace xsched_hsa

// window_gate.h: the gate: holds, releases and windows the AQL packets of one queue by its write index.
//
// Why        Packets stay in the program's own ring; publishing is a raise of the real write index
//            and one ring of the real doorbell. No proxy ring, no extra packets
//            (docs/life-of-a-packet.md). Of an intercept queue the index is ROCr's proxy's, and
//            what differs is in intercept_gate.h: which gate a queue has is
//            ManagedQueue::intercept.
// Threads    Doorbell: any producer thread. Look: the pump, or a producer that looks for room.
//            Retire: the thread that destroys the queue. Publication while armed is serialised by
//            ManagedQueue::lock, which a producer only tries: if it is taken, the holder looks
//            again in its place. Publication while not armed is a compare-and-swap on the real
//            index.
// Errors     none: whatever does not fit goes the way it would go without us.
// Limits     at most kTrackedPackets are exposed at once while armed; at least one always is,
//            unless closed. kWatchdogNs without movement widens the window by one packet.
// See        window_gate.cc (publication), window_size.cc (how much to expose), window_gate_test.cc
#pragma once

#include <cstdint>

#include "kernel_times.h"
#include "managed_queue.h"
#include "real_api.h"

namespace xsched_hsa {

struct GateLook {
  bool closed = false;   // a more urgent queue or an operator holds it
  bool backlog = false;  // announced packets are not published yet
  std::uint64_t closed_until_us = 0;
  std::uint64_t poll_ns = 0;  // window full: look again after about this; 0: no need
};

// Predicted device time until the hardware is through with what it has of a queue.
struct PredictedRest {
  std::uint64_t ns = 0;
  std::uint64_t spread_ns = 0;  // how far off that may be
  bool seen = true;             // all of it are packets whose like has been seen to end
};

class WindowGate {
 public:
  static constexpr std::uint64_t kWatchdogNs = 100'000'000;

  constexpr WindowGate(const RealApi& api, KernelTimes* times) : api_(api), times_(times) {}

  // The program rang for the packets below `end`. True when the pump has to take over from here.
  bool Doorbell(ManagedQueue* queue, std::uint64_t end) {
    const QueueSlot* slot = queue->slot.load(std::memory_order_acquire);
    if (slot->mode.load(std::memory_order_acquire) == 0 && queue->intercept == nullptr) [[likely]] {
      if (!PublishAtOnce(queue, end)) PublishOpen(queue, end, nullptr);
      return false;
    }
    return DoorbellManaged(queue, end);
  }

  // Publishes what may be published now. False if another thread holds the lock; it then looks
  // again itself.
  bool Look(ManagedQueue* queue, GateLook* look);

  // Publishes every announced packet whatever the mode and keeps the lock for good: the queue is
  // going away. Waits for the lock, whose holders never block, but not for ever.
  void Retire(ManagedQueue* queue);

  PredictedRest RestOf(ManagedQueue* queue, std::uint64_t now_ns);
  std::uint64_t RestNs(ManagedQueue* queue, std::uint64_t now_ns) {
    return RestOf(queue, now_ns).ns;
  }

  // Announced, but not yet taken by the packet processor?
  bool HasUnfinished(const ManagedQueue& queue) const;
  bool HasBacklog(const ManagedQueue& queue) const;
  // Does the hardware have something of it that it is not done with?
  bool HasExposed(const ManagedQueue& queue) const;
  std::uint64_t Published(const ManagedQueue& queue) const;
  // The first packet that the packet processor is not done with.
  std::uint64_t Head(const ManagedQueue& queue) const;
  std::uint64_t Taken(const ManagedQueue& queue) const;
  // The 64 bytes of a packet that was announced and not yet taken; its header may be INVALID if it
  // was published through the window gate.
  const unsigned char* PacketAt(const ManagedQueue& queue, std::uint64_t index) const;

 private:
  // PublishOpen in one step, where nobody else publishes just now. False: nothing was done, or
  // somebody has to look at what lies behind.
  bool PublishAtOnce(ManagedQueue* queue, std::uint64_t end) {
    std::uint64_t real = queue->published_hint.load(std::memory_order_relaxed);
    if (queue->real_index == nullptr || real >= end ||
        !queue->real_index->compare_exchange_strong(real, end, std::memory_order_seq_cst)) {
      return false;
    }
    queue->published_hint.store(end, std::memory_order_relaxed);
    if (queue->announced_index.load(std::memory_order_seq_cst) > end) [[unlikely]]
      return false;
    api_.signal_store_screlease(queue->doorbell, static_cast<hsa_signal_value_t>(end - 1));
    return true;
  }
  bool PublishOpen(ManagedQueue* queue, std::uint64_t end, QueueSlot* tells);
  bool DoorbellManaged(ManagedQueue* queue, std::uint64_t end);
  static bool EndsRest(ManagedQueue* queue);
  void Announce(ManagedQueue* queue, std::uint64_t end);
  std::uint64_t RaiseIndex(ManagedQueue* queue, std::uint64_t end);
  void Ring(const ManagedQueue& queue, std::uint64_t real);
  void Publish(ManagedQueue* queue, std::uint64_t real, std::uint64_t end);
  void LookForeign(ManagedQueue* queue, std::uint64_t real, GateLook* look);
  void LookLocked(ManagedQueue* queue, GateLook* look);
  std::uint64_t ScanValid(const ManagedQueue& queue, std::uint64_t from, std::uint64_t end) const;
  bool CheckForeign(ManagedQueue* queue, std::uint64_t real);
  void CountHeld(ManagedQueue* queue, QueueSlot* slot, std::uint64_t real, std::uint64_t announced,
                 bool closed, std::uint64_t now_us);

  // window_size.cc
  std::uint64_t WindowEnd(ManagedQueue* queue, std::uint64_t real, std::uint64_t announced,
                          std::uint64_t window_ns, std::uint64_t now_ns, GateLook* look);
  std::uint64_t Progress(const ManagedQueue& queue, std::uint64_t real) const;
  void Learn(WindowState* window, std::uint64_t progress, std::uint64_t real, std::uint64_t now_ns);
  PredictedRest RestLocked(const ManagedQueue& queue, std::uint64_t now_ns) const;
  std::uint64_t RemainingNs(const WindowState& window, std::uint64_t real,
                            std::uint64_t now_ns) const;
  std::uint64_t Track(ManagedQueue* queue, std::uint64_t index);

  const RealApi& api_;
  KernelTimes* times_;
};

// The 16-bit header of the packet at `index`, with acquire: a valid one makes the packet's body
// visible.
inline std::uint16_t LoadHeader(const ManagedQueue& queue, std::uint64_t index) {
  const unsigned char* packet = queue.ring + (index & (queue.ring_packets - 1)) * 64;
  return __atomic_load_n(reinterpret_cast<const std::uint16_t*>(packet), __ATOMIC_ACQUIRE);
}
inline void StoreHeader(ManagedQueue* queue, std::uint64_t index, std::uint16_t header) {
  unsigned char* packet = queue->ring + (index & (queue->ring_packets - 1)) * 64;
  __atomic_store_n(reinterpret_cast<std::uint16_t*>(packet), header, __ATOMIC_RELEASE);
}
inline bool IsValidHeader(std::uint16_t header) {
  return (header & 0xff) != HSA_PACKET_TYPE_INVALID;
}

}  // namespace xsched_hsa

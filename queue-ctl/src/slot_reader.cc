#include "slot_reader.h"

#include <algorithm>
#include <atomic>

#include "gpu_key.h"

namespace xsched_hsa {
namespace {

// A plain field that another process may be writing.
template <typename T>
T Peek(T& field) {
  return std::atomic_ref<T>(field).load(std::memory_order_relaxed);
}

std::uint64_t Bounded(const std::atomic<std::uint64_t>& counter) {
  const std::uint64_t value = counter.load(std::memory_order_acquire);
  return value <= kCounterMax ? value : 0;
}

SlotState StateOf(std::uint32_t raw, int* implausible) {
  switch (raw) {
    case kSlotFree:
      return SlotState::kFree;
    case kSlotLive:
      return SlotState::kLive;
    case kSlotForeign:
      return SlotState::kForeign;
    case kSlotRetired:
      return SlotState::kRetired;
    default:
      ++*implausible;
      return SlotState::kFree;
  }
}

}  // namespace

QueueCounters& QueueCounters::operator+=(const QueueCounters& other) {
  submitted += other.submitted;
  published += other.published;
  read += other.read;
  packets_held += other.packets_held;
  holds += other.holds;
  held_us += other.held_us;
  held_us_max = std::max(held_us_max, other.held_us_max);
  raises += other.raises;
  squeezes += other.squeezes;
  suspends += other.suspends;
  restricted_us += other.restricted_us;
  device_us += other.device_us;
  return *this;
}

int ClampPriority(std::int32_t priority) { return std::clamp(priority, 0, kPriorityMax); }

SlotState StateOf(const QueueSlot& slot) {
  int ignored = 0;
  return StateOf(slot.state.load(std::memory_order_acquire), &ignored);
}

SlotCopy CopySlot(QueueSlot& slot) {
  SlotCopy copy;
  copy.state = StateOf(slot.state.load(std::memory_order_acquire), &copy.implausible);
  if (copy.state == SlotState::kFree) return copy;

  copy.serial = Peek(slot.serial);
  copy.gpu_key = Peek(slot.gpu_key);
  if (!PlausibleGpuKey(copy.gpu_key)) {
    copy.gpu_key = 0;
    ++copy.implausible;
  }
  copy.ring_packets = Peek(slot.ring_packets);
  if (copy.ring_packets > (1u << 24)) {
    copy.ring_packets = 0;
    ++copy.implausible;
  }
  copy.kfd_queue_id = Peek(slot.kfd_queue_id);
  const std::int32_t requested = slot.requested_priority.load(std::memory_order_acquire);
  copy.requested_priority = ClampPriority(requested);
  if (copy.requested_priority != requested) ++copy.implausible;
  copy.hsa_queue_type = Peek(slot.hsa_queue_type);
  copy.created_us = Peek(slot.created_us);
  copy.ring_base = slot.ring_base;
  return copy;
}

QueueCounters CopyCounters(const QueueSlot& slot) {
  QueueCounters counters;
  // The read index first: the pair then never shows more taken than announced.
  counters.read = Bounded(slot.read_index);
  counters.published = Bounded(slot.published_index);
  counters.submitted = Bounded(slot.submitted_index);
  counters.packets_held = Bounded(slot.packets_held);
  counters.holds = Bounded(slot.holds);
  counters.held_us = Bounded(slot.held_us);
  counters.held_us_max = Bounded(slot.held_us_max);
  counters.raises = Bounded(slot.raises);
  counters.squeezes = Bounded(slot.squeezes);
  counters.suspends = Bounded(slot.suspends);
  counters.restricted_us = Bounded(slot.restricted_us);
  counters.device_us = Bounded(slot.device_us);
  return counters;
}

}  // namespace xsched_hsa

// slot_reader.h: copies a queue slot out of a page that another process may be changing or abusing.
//
// Why        Everything that a program writes is copied once, bounded, and only then used.
// Threads    the controller's thread.
// Errors     an implausible value is replaced (see each field) and counted in `implausible`.
#pragma once

#include <cstdint>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa {

enum class SlotState { kFree, kLive, kForeign, kRetired };

struct SlotCopy {
  SlotState state = SlotState::kFree;  // garbage reads as kFree
  std::uint32_t serial = 0;
  GpuKey gpu_key = 0;              // 0: implausible; the queue competes with nobody
  std::uint32_t ring_packets = 0;  // 0: implausible
  std::uint32_t kfd_queue_id = kUnknownKfdQueueId;
  int requested_priority = 0;  // clamped to 0..kPriorityMax
  std::uint32_t hsa_queue_type = 0;
  std::uint64_t created_us = 0;
  std::uint64_t ring_base = 0;
  int implausible = 0;
};

struct QueueCounters {
  std::uint64_t submitted = 0, published = 0, read = 0;
  std::uint64_t packets_held = 0, holds = 0, held_us = 0, held_us_max = 0, raises = 0;
  std::uint64_t squeezes = 0, suspends = 0, restricted_us = 0, device_us = 0;

  std::uint64_t Pending() const { return submitted > read ? submitted - read : 0; }
  QueueCounters& operator+=(const QueueCounters& other);
};

SlotCopy CopySlot(QueueSlot& slot);
SlotState StateOf(const QueueSlot& slot);
// Each value is at most kCounterMax, so that sums can't wrap; more reads as 0.
inline constexpr std::uint64_t kCounterMax = std::uint64_t{1} << 48;
QueueCounters CopyCounters(const QueueSlot& slot);
int ClampPriority(std::int32_t priority);

}  // namespace xsched_hsa

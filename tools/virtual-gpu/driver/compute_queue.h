// compute_queue.h: what the GPU's thread and the ioctls need of a compute queue, AQL or PM4.
//
// Threads    everything but the constructor is called under the GPU's device lock; counters from
//            any.
// Ownership  the process owns its queues; one is off its GPU before it is destroyed.
// See        aql_queue.h, pm4_queue.h
#pragma once

#include <atomic>
#include <cstdint>

#include "../device/device.h"
#include "../device/packet_source.h"

namespace virtual_gpu {

struct QueueCounters {
  std::atomic<std::uint64_t> packets = 0, dispatches = 0, barriers = 0, vendor = 0;
  std::atomic<std::uint64_t> completed = 0, workgroups = 0;
  std::atomic<std::uint64_t> work_kernels = 0, blit_kernels = 0, opaque_kernels = 0;
  std::atomic<std::uint64_t> interpreted_kernels = 0, instructions = 0;
  std::atomic<std::uint64_t> order_errors = 0;
};

class ComputeQueue : public PacketSource {
 public:
  // False when ring or pointers are not in memory that the device can see.
  bool Valid() const { return valid_; }
  // A queue that met a fault or a packet that it does not know stops for good.
  bool dead() const { return dead_; }
  const QueueCounters& counters() const { return counters_; }

  // UPDATE_QUEUE may move the ring. False: it is not in memory that the device can see.
  virtual bool SetRing(std::uint64_t base, std::uint32_t bytes) = 0;
  // True when something has come that the device should look at.
  virtual bool PollDoorbell() = 0;
  virtual bool HasWork() const = 0;

  QueueId device_id = 0;

 protected:
  bool valid_ = false;
  bool dead_ = false;
  QueueCounters counters_;
};

}  // namespace virtual_gpu

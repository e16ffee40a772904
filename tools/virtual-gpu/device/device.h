// device.h: one virtual MI GPU: pipes, hardware queue descriptors, workgroup dispatcher, CUs.
//
// Why        Contention between queues must come out of a mechanism, so the device executes at the
//            granularity of workgroups on compute units. Memory, signals and ioctls are in
//            ../driver.
// Threads    not thread-safe: the driver model calls every method under one lock per device. Time
//            never runs backwards: each call's `now` is >= the previous one's (smaller ones are
//            clamped).
// Ownership  a queue's PacketSource is borrowed from CreateQueue until DestroyQueue returns.
// Units      TimeNs: simulated nanoseconds. CU masks: bits as the KFD SET_CU_MASK ioctl takes them.
// Errors     impossible arguments (unknown queue id, mask of the wrong size) return a Status; the
//            device never aborts the process.
// See        docs/virtual-gpu.md, device_test.cc; facts cited in device_params.h
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device_params.h"
#include "packet_source.h"

namespace virtual_gpu {

using QueueId = std::uint32_t;
inline constexpr TimeNs kNever = INT64_MAX;

enum class Status { kOk, kUnknownQueue, kInvalidArgument, kNoSpace, kPreemptTimeout };

struct QueueConfig {
  std::uint64_t process = 0;   // queues of one process share a VMID
  std::uint32_t priority = 7;  // KFD 0..15
  bool active = true;          // percentage > 0 and a ring
};

// The counters are cumulative since the queue was created.
struct QueueStats {
  std::uint64_t packets = 0;
  std::uint64_t workgroups = 0;
  TimeNs cu_ns = 0;                  // occupied CU-time (sum over slots' share of a CU)
  std::uint32_t pipe = 0, slot = 0;  // where it is, or was last, mapped
  bool mapped = false, running = false;
  std::uint32_t resident_workgroups = 0;
  std::uint64_t saved_waves = 0, saved_bytes = 0;  // in its save area now
};
struct SavedState {
  std::uint64_t waves = 0, bytes = 0;
};
struct QueueChange {
  QueueId id = 0;
  QueueConfig config;
};
struct DeviceStats {
  std::uint64_t runlist_cycles = 0;
  std::uint64_t saved_waves = 0, saved_bytes = 0;
  std::uint64_t events = 0;  // simulation events processed
  TimeNs now = 0;
};

class Device {
 public:
  static std::unique_ptr<Device> Create(const DeviceParams& params);
  virtual ~Device() = default;

  // Each of the next five is one runlist cycle on hardware-scheduled parts: every queue of every
  // process leaves the device (waves saved), the change is made, and the queues are mapped again.
  // *returns_at is when the ioctl returns to its caller: after the unmap, before the remap is done.
  virtual Status CreateQueue(TimeNs now, const QueueConfig& config, PacketSource* source,
                             QueueId* id, TimeNs* returns_at) = 0;
  virtual Status DestroyQueue(TimeNs now, QueueId id, TimeNs* returns_at) = 0;
  virtual Status UpdateQueue(TimeNs now, QueueId id, const QueueConfig& config,
                             TimeNs* returns_at) = 0;
  // Several at once are one cycle; none at all is one too (without HWS: one per queue).
  virtual Status UpdateQueues(TimeNs now, std::span<const QueueChange> changes,
                              TimeNs* returns_at) = 0;
  virtual Status SetCuMask(TimeNs now, QueueId id, std::span<const std::uint32_t> mask,
                           TimeNs* returns_at) = 0;

  // Drops a dead process's queues without waiting for them.
  virtual void DropProcess(TimeNs now, std::uint64_t process) = 0;

  // A doorbell was written, or something a blocked barrier waits for may have changed.
  virtual void Kick(TimeNs now, QueueId id) = 0;
  // Polls the barriers of all blocked queues. Returns true if any made progress.
  virtual bool PollBarriers(TimeNs now) = 0;
  virtual bool AnyBarrierBlocked() const = 0;

  // Runs the simulation up to `now`; calls PacketSource methods with the exact simulated times.
  virtual void AdvanceTo(TimeNs now) = 0;
  // The same, but stops after the first event at which packets completed; the time reached.
  virtual TimeNs AdvanceToCompletion(TimeNs limit) = 0;
  // When something will happen without further input; kNever when idle.
  virtual TimeNs NextEvent() const = 0;

  virtual Status GetQueueStats(QueueId id, QueueStats* stats) const = 0;
  // What of saved_waves and saved_bytes is this XCC's.
  virtual SavedState SavedIn(QueueId id, std::uint32_t xcc) const = 0;
  virtual DeviceStats GetStats() const = 0;
  // The CUs that hold workgroups of the queue now; empty when unknown or none.
  virtual std::vector<CuLocation> ResidentCus(QueueId id) = 0;
  // The waves that the queue has on CUs now.
  virtual std::uint64_t ResidentWaves(QueueId id) = 0;
  // How many workgroups of such a kernel one CU holds. 0: none; the dispatch would never start, as
  // on hardware, where ROCr refuses it (HSA_STATUS_ERROR_INVALID_ALLOCATION in the queue's
  // handler).
  virtual std::uint32_t Occupancy(const KernelCost& cost) const = 0;
};

}  // namespace virtual_gpu

// hws_device.h: the device of device.h: queues, pipes and the runlist around the Dispatcher.
//
// Why        Split by concern: device.cc (API and event loop), command_processor.cc (pipes and
//            packets), runlist.cc (mapping, preemption cycles, over-subscription).
// Threads    as device.h. A PacketSource may call Kick and PollBarriers from its callbacks: such
//            calls are kept until the device is done with the event.
// Ownership  owns queues and everything below.
// See        device.h, dispatcher.h
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "dispatcher.h"

namespace virtual_gpu {

class HwsDevice final : public Device {
 public:
  explicit HwsDevice(const DeviceParams& params);

  Status CreateQueue(TimeNs now, const QueueConfig& config, PacketSource* source, QueueId* id,
                     TimeNs* returns_at) override;
  Status DestroyQueue(TimeNs now, QueueId id, TimeNs* returns_at) override;
  Status UpdateQueue(TimeNs now, QueueId id, const QueueConfig& config,
                     TimeNs* returns_at) override;
  Status UpdateQueues(TimeNs now, std::span<const QueueChange> changes,
                      TimeNs* returns_at) override;
  Status SetCuMask(TimeNs now, QueueId id, std::span<const std::uint32_t> mask,
                   TimeNs* returns_at) override;
  void DropProcess(TimeNs now, std::uint64_t process) override;
  void Kick(TimeNs now, QueueId id) override;
  bool PollBarriers(TimeNs now) override;
  bool AnyBarrierBlocked() const override;
  void AdvanceTo(TimeNs now) override;
  TimeNs AdvanceToCompletion(TimeNs limit) override;
  TimeNs NextEvent() const override;
  Status GetQueueStats(QueueId id, QueueStats* stats) const override;
  SavedState SavedIn(QueueId id, std::uint32_t xcc) const override;
  DeviceStats GetStats() const override;
  std::vector<CuLocation> ResidentCus(QueueId id) override;
  std::uint64_t ResidentWaves(QueueId id) override;
  std::uint32_t Occupancy(const KernelCost& cost) const override;

 private:
  // A pipe processes one queue's packet at a time.
  struct Pipe {
    enum class Phase { kIdle, kParsing, kStreaming };
    Phase phase = Phase::kIdle;
    Queue* queue = nullptr;     // connected
    TimeNs parsed_at = kNever;  // kParsing: when the packet's fixed cost is paid
    TimeNs connected_at = 0;
    TimeNs rotates_at = kNever;  // kStreaming and a neighbour is ready: end of the HQD quantum
    std::vector<Queue*> queues;  // mapped to it, by HQD slot
    std::size_t next = 0;        // round-robin position
  };

  // device.cc
  Queue* Find(QueueId id) const;
  void RunUntil(TimeNs now, bool to_completion = false);
  TimeNs NextTimer() const;
  void Step();
  void Settle();
  void Enter(TimeNs now);
  void Leave();

  // command_processor.cc
  std::uint32_t PipeOf(const Queue& queue) const;
  bool Ready(Queue* queue);
  void Schedule(std::uint32_t pipe);
  void UpdateQuantum(std::uint32_t pipe);
  void Connect(std::uint32_t pipe, Queue* queue);
  void Stream(std::uint32_t pipe);
  void Parsed(std::uint32_t pipe);
  void Rotate(std::uint32_t pipe);
  void Disconnect(std::uint32_t pipe);
  void Launched(std::uint32_t dispatch);
  void Completed(std::uint32_t dispatch);
  void Wake(Queue* queue);
  bool PollBlocked();
  std::uint32_t PriorityClass(const Queue& queue) const;
  std::uint32_t PriorityInPipe(const Queue& queue) const;

  // runlist.cc
  bool BeginCycle(TimeNs now, Queue* only, TimeNs* returns_at);
  void EndCycle(TimeNs unmapped_at);
  void Unmap(Queue* queue);
  void UnmapAll();
  void Remap();
  std::vector<Queue*> Runlist() const;
  void ChooseRunlist(std::vector<Queue*>* chosen);
  void AssignSlot(Queue* queue);
  void UpdateRotation();
  void RotateRunlist();
  std::uint64_t SavedBytes(const Queue* only) const;
  TimeNs CopyTime(std::uint64_t bytes) const;
  void Erase(Queue* queue);

  DeviceParams params_;
  Geometry geometry_;
  Dispatcher dispatcher_;
  TimeNs now_ = 0;
  bool inside_ = false;  // a call is being served; callbacks' calls are deferred
  std::vector<QueueId> deferred_kicks_;
  bool deferred_poll_ = false;
  bool completed_ = false;  // a packet completed since AdvanceToCompletion was called

  std::vector<std::unique_ptr<Queue>> queues_;  // in creation order
  std::unordered_map<QueueId, Queue*> by_id_;
  QueueId next_id_ = 1;
  std::uint32_t next_xcc_start_ = 0;
  std::vector<Pipe> pipes_;
  std::vector<Queue*> hqds_;  // slot -> queue; pipe = slot % pipes

  TimeNs remap_at_ = kNever;  // a preemption cycle is under way until then
  TimeNs rotate_runlist_at_ = kNever;
  std::size_t runlist_start_ = 0,
              runlist_next_ = 0;  // over-subscription: whose turn it is, and is next
  std::uint64_t events_ = 0, runlist_cycles_ = 0;
};

}  // namespace virtual_gpu

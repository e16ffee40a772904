// command_processor.cc: HwsDevice's pipes: which queue's packet is looked at, and what it does.

#include <algorithm>

#include "hws_device.h"

namespace virtual_gpu {
namespace {

bool IsBarrier(const Packet& packet) {
  return packet.kind == Packet::Kind::kBarrierAnd || packet.kind == Packet::Kind::kBarrierOr ||
         packet.kind == Packet::Kind::kBarrierValue;
}

}  // namespace

std::uint32_t HwsDevice::PipeOf(const Queue& queue) const {
  return queue.hqd % static_cast<std::uint32_t>(pipes_.size());
}

// pipe_priority_map in kfd_mqd_manager.c: 0-6 LOW, 7-10 MEDIUM, 11-15 HIGH.
std::uint32_t HwsDevice::PriorityClass(const Queue& queue) const {
  if (!params_.pipe_priority_effective) return 1;
  return queue.config.priority <= 6 ? 0 : queue.config.priority <= 10 ? 1 : 2;
}

std::uint32_t HwsDevice::PriorityInPipe(const Queue& queue) const {
  return params_.queue_priority_effective ? queue.config.priority : 0;
}

// Has the queue something that its pipe could do now? Reads the packet and polls its dependencies.
bool HwsDevice::Ready(Queue* queue) {
  if (!queue->mapped) return false;
  if (queue->launching != kNone) return true;
  if (!queue->has_packet) {
    queue->has_packet = queue->source->Next(&queue->packet);
    if (!queue->has_packet) return false;
  }
  if (queue->packet.barrier_bit && queue->outstanding > 0) return false;
  if (IsBarrier(queue->packet)) {
    queue->blocked = !queue->source->DependenciesMet(queue->packet);
    if (queue->blocked) return false;
  }
  return true;
}

// Something about the queue changed: a doorbell, a completion, a dependency.
void HwsDevice::Wake(Queue* queue) {
  if (!queue->mapped) {
    UpdateRotation();
    return;
  }
  const std::uint32_t pipe = PipeOf(*queue);
  if (pipes_[pipe].phase == Pipe::Phase::kIdle) {
    Schedule(pipe);
  } else {
    UpdateQuantum(pipe);
  }
}

// The queues of a pipe take turns; where queue priority works, only those of the highest do.
void HwsDevice::Schedule(std::uint32_t index) {
  Pipe& pipe = pipes_[index];
  if (pipe.phase != Pipe::Phase::kIdle) return;
  std::uint32_t highest = 0;
  for (Queue* queue : pipe.queues) {
    if (!params_.queue_priority_effective) break;
    if (Ready(queue)) highest = std::max(highest, PriorityInPipe(*queue));
  }
  for (std::size_t tried = 0; tried < pipe.queues.size(); ++tried) {
    if (pipe.next >= pipe.queues.size()) pipe.next = 0;
    Queue* queue = pipe.queues[pipe.next++];
    if (Ready(queue) && PriorityInPipe(*queue) >= highest) return Connect(index, queue);
  }
}

// The HQD quantum runs only while a dispatch launches and another queue of the pipe could go on.
void HwsDevice::UpdateQuantum(std::uint32_t index) {
  Pipe& pipe = pipes_[index];
  pipe.rotates_at = kNever;
  if (pipe.phase != Pipe::Phase::kStreaming) return;
  for (Queue* queue : pipe.queues) {
    if (queue == pipe.queue || !Ready(queue)) continue;
    pipe.rotates_at = std::max(now_, pipe.connected_at + params_.hqd_quantum_ns);
    return;
  }
}

void HwsDevice::Connect(std::uint32_t index, Queue* queue) {
  Pipe& pipe = pipes_[index];
  pipe.queue = queue;
  pipe.connected_at = now_;
  if (queue->launching != kNone) return Stream(index);
  const TimeNs cost = queue->packet.kind == Packet::Kind::kDispatch ? params_.packet_launch_ns
                                                                    : params_.packet_other_ns;
  pipe.phase = Pipe::Phase::kParsing;
  pipe.parsed_at = now_ + std::max<TimeNs>(1, cost);
}

void HwsDevice::Stream(std::uint32_t index) {
  Pipe& pipe = pipes_[index];
  pipe.phase = Pipe::Phase::kStreaming;
  dispatcher_.StartStream(index, pipe.queue->launching, PriorityClass(*pipe.queue), now_);
  UpdateQuantum(index);
}

// The fixed cost of the connected queue's packet is paid.
void HwsDevice::Parsed(std::uint32_t index) {
  Pipe& pipe = pipes_[index];
  Queue* queue = pipe.queue;
  pipe.parsed_at = kNever;
  const Packet packet = queue->packet;
  if (packet.kind == Packet::Kind::kDispatch && packet.cost.workgroups > 0) {
    ++queue->outstanding;
    queue->launching = dispatcher_.AddDispatch(queue, packet, now_);
    return Stream(index);
  }
  queue->has_packet = false;
  ++queue->packets;
  Disconnect(index);
  queue->source->Consume(packet);
  completed_ = true;
  queue->source->Complete(packet, now_, now_);
  PollBlocked();
  Schedule(index);
}

void HwsDevice::Disconnect(std::uint32_t index) {
  Pipe& pipe = pipes_[index];
  if (pipe.phase == Pipe::Phase::kStreaming) dispatcher_.StopStream(index, now_);
  pipe.phase = Pipe::Phase::kIdle;
  pipe.queue = nullptr;
  pipe.parsed_at = pipe.rotates_at = kNever;
}

// End of the HQD quantum: a neighbour's turn; the dispatch goes on launching at its next turn.
void HwsDevice::Rotate(std::uint32_t index) {
  Disconnect(index);
  Schedule(index);
}

// The dispatch's last workgroup is on a CU: the packet is consumed, the pipe is free.
void HwsDevice::Launched(std::uint32_t id) {
  Queue* queue = dispatcher_.dispatch(id).queue;
  if (queue->launching != id) return;
  const Packet packet = queue->packet;
  queue->launching = kNone;
  queue->has_packet = false;
  std::uint32_t pipe = kNone;
  if (queue->mapped && pipes_[PipeOf(*queue)].queue == queue) {
    pipe = PipeOf(*queue);
    Disconnect(pipe);
  }
  queue->source->Consume(packet);
  if (pipe != kNone) Schedule(pipe);
}

void HwsDevice::Completed(std::uint32_t id) {
  Launched(id);  // if that was not seen yet: the dispatch was paused when its last round ended
  Queue* queue = dispatcher_.dispatch(id).queue;
  dispatcher_.ReportDone(id);
  const Packet packet = dispatcher_.dispatch(id).packet;
  const TimeNs start = dispatcher_.dispatch(id).start;
  dispatcher_.RemoveDispatch(id);
  --queue->outstanding;
  ++queue->packets;
  completed_ = true;
  queue->source->Complete(packet, start, now_);
  if (queue->mapped) Wake(queue);
  PollBlocked();
}

bool HwsDevice::PollBlocked() {
  bool progress = false;
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    Queue* queue = queues_[i].get();
    if (!queue->mapped || !queue->blocked || !Ready(queue)) continue;
    progress = true;
    Wake(queue);
  }
  return progress;
}

}  // namespace virtual_gpu

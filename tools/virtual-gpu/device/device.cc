#include "device.h"

#include <algorithm>

#include "hws_device.h"

namespace virtual_gpu {

std::unique_ptr<Device> Device::Create(const DeviceParams& params) {
  return std::make_unique<HwsDevice>(params);
}

HwsDevice::HwsDevice(const DeviceParams& params)
    : params_(params),
      geometry_(params),
      dispatcher_(params, geometry_),
      pipes_(std::clamp(params.pipes, 1u, kPipesMax)),
      hqds_(pipes_.size() * std::max(1u, params.hqd_slots_per_pipe), nullptr) {}

Queue* HwsDevice::Find(QueueId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

Status HwsDevice::CreateQueue(TimeNs now, const QueueConfig& config, PacketSource* source,
                              QueueId* id, TimeNs* returns_at) {
  if (source == nullptr || id == nullptr || returns_at == nullptr || config.priority > 15) {
    return Status::kInvalidArgument;
  }
  Enter(now);
  if (!BeginCycle(now_, nullptr, returns_at)) return Leave(), Status::kPreemptTimeout;
  auto queue = std::make_unique<Queue>();
  queue->id = *id = next_id_++;
  queue->config = config;
  queue->source = source;
  queue->mask = geometry_.FullMask();
  if (params_.xcc_start_rotates) queue->xcc_start = next_xcc_start_++ % geometry_.xccs();
  by_id_[*id] = queue.get();
  queues_.push_back(std::move(queue));
  EndCycle(*returns_at);
  Leave();
  return Status::kOk;
}

Status HwsDevice::DestroyQueue(TimeNs now, QueueId id, TimeNs* returns_at) {
  if (returns_at == nullptr) return Status::kInvalidArgument;
  Enter(now);
  Queue* queue = Find(id);
  if (queue == nullptr) return Leave(), Status::kUnknownQueue;
  if (!BeginCycle(now_, queue, returns_at)) return Leave(), Status::kPreemptTimeout;
  dispatcher_.ReportDone();
  Erase(queue);
  EndCycle(*returns_at);
  Leave();
  return Status::kOk;
}

Status HwsDevice::UpdateQueue(TimeNs now, QueueId id, const QueueConfig& config,
                              TimeNs* returns_at) {
  if (returns_at == nullptr || config.priority > 15) return Status::kInvalidArgument;
  Enter(now);
  Queue* queue = Find(id);
  if (queue == nullptr) return Leave(), Status::kUnknownQueue;
  if (!BeginCycle(now_, queue, returns_at)) return Leave(), Status::kPreemptTimeout;
  queue->config = config;
  EndCycle(*returns_at);
  Leave();
  return Status::kOk;
}

Status HwsDevice::UpdateQueues(TimeNs now, std::span<const QueueChange> changes,
                               TimeNs* returns_at) {
  if (returns_at == nullptr) return Status::kInvalidArgument;
  Enter(now);
  *returns_at = now_;
  for (const QueueChange& change : changes) {
    if (Find(change.id) == nullptr) return Leave(), Status::kUnknownQueue;
  }
  const bool all = params_.hardware_scheduler;
  if (all && !BeginCycle(now_, nullptr, returns_at)) return Leave(), Status::kPreemptTimeout;
  for (const QueueChange& change : changes) {
    Queue* queue = Find(change.id);
    if (!all && !BeginCycle(now_, queue, returns_at)) return Leave(), Status::kPreemptTimeout;
    queue->config = change.config;
    if (!all) EndCycle(*returns_at);
  }
  if (all) EndCycle(*returns_at);
  Leave();
  return Status::kOk;
}

Status HwsDevice::SetCuMask(TimeNs now, QueueId id, std::span<const std::uint32_t> mask,
                            TimeNs* returns_at) {
  if (returns_at == nullptr || mask.empty()) return Status::kInvalidArgument;
  Enter(now);
  Queue* queue = Find(id);
  if (queue == nullptr) return Leave(), Status::kUnknownQueue;
  if (!BeginCycle(now_, queue, returns_at)) return Leave(), Status::kPreemptTimeout;
  queue->mask = geometry_.MaskFromKfd(mask);
  EndCycle(*returns_at);
  Leave();
  return Status::kOk;
}

void HwsDevice::DropProcess(TimeNs now, std::uint64_t process) {
  Enter(now);
  std::vector<Queue*> dead;
  for (const auto& queue : queues_) {
    if (queue->config.process == process) dead.push_back(queue.get());
  }
  dispatcher_.ReportDone();
  for (Queue* queue : dead) Erase(queue);
  // KFD takes a dying process's queues off with one cycle for everybody
  // (process_termination_cpsch).
  TimeNs unmapped_at = 0;
  if (!dead.empty() && BeginCycle(now_, nullptr, &unmapped_at)) EndCycle(unmapped_at);
  if (!dead.empty()) dispatcher_.FillAll(now_);
  Leave();
}

void HwsDevice::Kick(TimeNs now, QueueId id) {
  if (inside_) {
    deferred_kicks_.push_back(id);
    return;
  }
  Enter(now);
  if (Queue* queue = Find(id)) Wake(queue);
  Leave();
}

bool HwsDevice::PollBarriers(TimeNs now) {
  if (inside_) {
    deferred_poll_ = true;
    return false;
  }
  Enter(now);
  const bool progress = PollBlocked();
  Leave();
  return progress;
}

bool HwsDevice::AnyBarrierBlocked() const {
  return std::any_of(queues_.begin(), queues_.end(),
                     [](const auto& queue) { return queue->mapped && queue->blocked; });
}

void HwsDevice::AdvanceTo(TimeNs now) {
  if (inside_) return;
  Enter(now);
  Leave();
}

TimeNs HwsDevice::AdvanceToCompletion(TimeNs limit) {
  if (inside_) return now_;
  inside_ = true;
  completed_ = false;
  RunUntil(limit, true);
  Leave();
  return now_;
}

void HwsDevice::Enter(TimeNs now) {
  inside_ = true;
  RunUntil(now);
}

void HwsDevice::Leave() {
  Settle();
  dispatcher_.ReportDone();
  Settle();  // what the reports' callbacks asked for
  inside_ = false;
}

TimeNs HwsDevice::NextTimer() const {
  TimeNs next = std::min(remap_at_, rotate_runlist_at_);
  for (const Pipe& pipe : pipes_) next = std::min({next, pipe.parsed_at, pipe.rotates_at});
  return next;
}

TimeNs HwsDevice::NextEvent() const { return std::min(NextTimer(), dispatcher_.next_time()); }

void HwsDevice::RunUntil(TimeNs now, bool to_completion) {
  now = std::max(now, now_);
  for (;;) {
    const TimeNs timer = NextTimer();
    const TimeNs limit = std::min(now, timer);
    while (dispatcher_.next_time() <= limit && !dispatcher_.HasOutcomes()) {
      now_ = std::max(now_, dispatcher_.next_time());
      dispatcher_.ProcessNext();
      ++events_;
    }
    if (!dispatcher_.HasOutcomes()) {
      if (timer > now) break;
      now_ = std::max(now_, timer);
      Step();
      ++events_;
    }
    Settle();
    if (to_completion && completed_) return;
  }
  now_ = now;
}

// One timer that is due.
void HwsDevice::Step() {
  if (remap_at_ <= now_) return Remap();
  if (rotate_runlist_at_ <= now_) return RotateRunlist();
  for (std::uint32_t pipe = 0; pipe < pipes_.size(); ++pipe) {
    if (pipes_[pipe].parsed_at <= now_) return Parsed(pipe);
    if (pipes_[pipe].rotates_at <= now_) return Rotate(pipe);
  }
}

// Everything that follows from launched and finished dispatches, until nothing does.
void HwsDevice::Settle() {
  for (;;) {
    if (!dispatcher_.launched().empty()) {
      const std::uint32_t id = dispatcher_.launched().front();
      dispatcher_.launched().erase(dispatcher_.launched().begin());
      Launched(id);
    } else if (!dispatcher_.completed().empty()) {
      const std::uint32_t id = dispatcher_.completed().front();
      dispatcher_.completed().erase(dispatcher_.completed().begin());
      Completed(id);
    } else if (!deferred_kicks_.empty()) {
      const QueueId id = deferred_kicks_.back();
      deferred_kicks_.pop_back();
      if (Queue* queue = Find(id)) Wake(queue);
    } else if (deferred_poll_) {
      deferred_poll_ = false;
      PollBlocked();
    } else {
      return;
    }
  }
}

Status HwsDevice::GetQueueStats(QueueId id, QueueStats* stats) const {
  const Queue* queue = Find(id);
  if (queue == nullptr) return Status::kUnknownQueue;
  if (stats == nullptr) return Status::kInvalidArgument;
  stats->packets = queue->packets;
  stats->workgroups = queue->workgroups;
  stats->cu_ns = static_cast<TimeNs>(queue->cu_ns);
  const auto pipes = static_cast<std::uint32_t>(pipes_.size());
  stats->pipe = queue->hqd == kNone ? 0 : queue->hqd % pipes;
  stats->slot = queue->hqd == kNone ? 0 : queue->hqd / pipes;
  stats->mapped = queue->mapped;
  stats->resident_workgroups = queue->resident_workgroups;
  stats->saved_waves = queue->saved_waves;
  stats->saved_bytes = queue->saved_bytes;
  stats->running = queue->resident_workgroups > 0 || (queue->mapped && queue->launching != kNone);
  return Status::kOk;
}

SavedState HwsDevice::SavedIn(QueueId id, std::uint32_t xcc) const {
  SavedState state;
  const Queue* queue = Find(id);
  if (queue == nullptr || xcc >= geometry_.xccs()) return state;
  for (const SavedWorkgroup& saved : queue->saved[xcc]) {
    const Footprint& fp = dispatcher_.dispatch(saved.dispatch).fp;
    state.waves += fp.waves;
    state.bytes += fp.save_bytes;
  }
  return state;
}

DeviceStats HwsDevice::GetStats() const {
  DeviceStats stats;
  stats.runlist_cycles = runlist_cycles_;
  stats.saved_waves = dispatcher_.saved_waves();
  stats.saved_bytes = dispatcher_.saved_bytes();
  stats.events = events_;
  stats.now = now_;
  return stats;
}

std::vector<CuLocation> HwsDevice::ResidentCus(QueueId id) {
  dispatcher_.LayOutBulk(now_);
  Settle();
  std::vector<CuLocation> where;
  const Queue* queue = Find(id);
  const CuArray& cus = dispatcher_.cus();
  for (std::uint32_t cu = 0; queue != nullptr && cu < cus.size(); ++cu) {
    for (std::uint32_t i = 0; i < cus.at(cu).residents; ++i) {
      if (dispatcher_.dispatch(cus.resident(cu, i).dispatch).queue != queue) continue;
      where.push_back(geometry_.Locate(cu));
      break;
    }
  }
  return where;
}

std::uint64_t HwsDevice::ResidentWaves(QueueId id) {
  dispatcher_.LayOutBulk(now_);
  Settle();
  std::uint64_t waves = 0;
  const Queue* queue = Find(id);
  const CuArray& cus = dispatcher_.cus();
  for (std::uint32_t cu = 0; queue != nullptr && cu < cus.size(); ++cu) {
    for (std::uint32_t i = 0; i < cus.at(cu).residents; ++i) {
      const Resident& resident = cus.resident(cu, i);
      const Dispatch& dispatch = dispatcher_.dispatch(resident.dispatch);
      if (dispatch.queue == queue) waves += std::uint64_t{dispatch.fp.waves} * resident.slots;
    }
  }
  return waves;
}

std::uint32_t HwsDevice::Occupancy(const KernelCost& cost) const {
  return geometry_.MakeFootprint(cost).occupancy;
}

}  // namespace virtual_gpu

// runlist.cc: HwsDevice's hardware scheduler: what is mapped, and the cycle behind every change.
//
// On hardware-scheduled parts UNMAP_QUEUES takes all queues of all processes off, waves saved, and
// a new RUN_LIST maps them again (unmap_queues_cpsch, map_queues_cpsch in
// kfd_device_queue_manager.c). The ioctl returns in between. A change that arrives during a cycle
// is served after it; nothing runs in between, because the queues' waves are still on their way.

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "hws_device.h"

namespace virtual_gpu {

TimeNs HwsDevice::CopyTime(std::uint64_t bytes) const {
  return static_cast<TimeNs>(static_cast<double>(bytes) /
                             std::max(1e-6, params_.cwsr_bytes_per_ns));
}

// What CWSR moves: of the queues that are, or are about to be, on the device.
std::uint64_t HwsDevice::SavedBytes(const Queue* only) const {
  std::uint64_t bytes = 0;
  for (const auto& queue : queues_) {
    if (queue->config.active && (only == nullptr || queue.get() == only)) {
      bytes += queue->saved_bytes;
    }
  }
  return bytes;
}

void HwsDevice::Unmap(Queue* queue) {
  if (!queue->mapped) return;
  const std::uint32_t index = PipeOf(*queue);
  if (pipes_[index].queue == queue) Disconnect(index);
  std::erase(pipes_[index].queues, queue);
  queue->mapped = false;
  queue->blocked = false;
}

void HwsDevice::UnmapAll() {
  for (const auto& queue : queues_) Unmap(queue.get());
}

// Queues leave the device. `only`: the one that changes; without HWS (MES) the others stay. False:
// without CWSR the running waves would take longer to drain than the driver waits.
bool HwsDevice::BeginCycle(TimeNs now, Queue* only, TimeNs* returns_at) {
  Queue* leaves = params_.hardware_scheduler ? nullptr : only;
  const bool nobody = !params_.hardware_scheduler && only == nullptr;  // MES adds a queue
  const bool under_way = remap_at_ != kNever;
  TimeNs drained = now;
  if (!nobody && !params_.cwsr) {
    for (const auto& queue : queues_) {
      if (queue->mapped && pipes_[PipeOf(*queue)].queue == queue.get()) {
        Disconnect(PipeOf(*queue));
      }
    }
    drained = dispatcher_.Drain(now);
    if (drained - now > params_.preempt_timeout_ns) {
      for (std::uint32_t pipe = 0; pipe < pipes_.size(); ++pipe) Schedule(pipe);
      return false;
    }
  }
  if (!nobody) {
    leaves ? Unmap(leaves) : UnmapAll();
    if (params_.cwsr) dispatcher_.Freeze(leaves, now);
  }
  ++runlist_cycles_;
  const TimeNs start = std::max(drained, under_way ? remap_at_ : now);
  *returns_at = start + params_.runlist_cycle_ns / 2 + (nobody ? 0 : CopyTime(SavedBytes(leaves)));
  return true;
}

void HwsDevice::EndCycle(TimeNs unmapped_at) {
  remap_at_ = unmapped_at + params_.runlist_cycle_ns / 2 + CopyTime(SavedBytes(nullptr));
  if (!params_.hardware_scheduler) dispatcher_.FillAll(now_);
}

// As pm_create_runlist_ib writes it (kfd_packet_manager.c): process by process, each with its queues.
std::vector<Queue*> HwsDevice::Runlist() const {
  std::map<std::uint64_t, std::size_t> place;  // of a process: in the order of their first queues
  std::vector<std::vector<Queue*>> processes;
  for (const auto& queue : queues_) {
    if (!queue->config.active) continue;
    const auto [at, is_new] = place.try_emplace(queue->config.process, processes.size());
    if (is_new) processes.emplace_back();
    processes[at->second].push_back(queue.get());
  }
  std::vector<Queue*> list;
  for (const auto& queues : processes) list.insert(list.end(), queues.begin(), queues.end());
  return list;
}

// What is to be mapped now: the whole list if it fits the VMIDs and HQD slots, else from where the last turn ended,
// as far as it fits beside what has stayed (MES). Nobody is passed over, so everybody's turn comes.
void HwsDevice::ChooseRunlist(std::vector<Queue*>* chosen) {
  const std::vector<Queue*> list = Runlist();
  std::set<std::uint64_t> processes;
  std::size_t stayed = 0;
  for (const Queue* queue : list) {
    if (!queue->mapped) continue;
    ++stayed;
    processes.insert(queue->config.process);
  }
  if (runlist_start_ >= list.size()) runlist_start_ = 0;
  for (std::size_t i = 0; i < list.size() && stayed + chosen->size() < hqds_.size(); ++i) {
    Queue* queue = list[(runlist_start_ + i) % list.size()];
    if (queue->mapped) continue;
    processes.insert(queue->config.process);
    if (processes.size() > params_.processes_max) break;
    chosen->push_back(queue);
  }
  // Where something has stayed this is still the turn that was.
  if (stayed != 0 || list.empty()) return;
  runlist_next_ = (runlist_start_ + chosen->size()) % list.size();
}

// A queue keeps its slot as long as nobody else needs it; new ones take the lowest free one, which
// spreads queues over pipes in creation order.
void HwsDevice::AssignSlot(Queue* queue) {
  if (queue->hqd != kNone && hqds_[queue->hqd] == queue) return;
  for (std::uint32_t pass = 0; pass < 2; ++pass) {
    for (std::uint32_t slot = 0; slot < hqds_.size(); ++slot) {
      Queue* holder = hqds_[slot];
      if (holder != nullptr && (pass == 0 || holder->mapped)) continue;
      if (holder != nullptr) holder->hqd = kNone;
      hqds_[slot] = queue;
      queue->hqd = slot;
      return;
    }
  }
}

void HwsDevice::Remap() {
  remap_at_ = kNever;
  std::vector<Queue*> fresh;
  ChooseRunlist(&fresh);
  // First those that still have a slot, so that nobody takes it from them.
  for (Queue* queue : fresh) {
    if (queue->hqd != kNone) queue->mapped = true;
  }
  for (Queue* queue : fresh) {
    AssignSlot(queue);
    queue->mapped = true;
    std::vector<Queue*>& neighbours = pipes_[PipeOf(*queue)].queues;
    const auto by_slot = [](const Queue* a, const Queue* b) { return a->hqd < b->hqd; };
    neighbours.insert(std::lower_bound(neighbours.begin(), neighbours.end(), queue, by_slot),
                      queue);
    queue->source->RereadWriteIndex();
  }
  for (Queue* queue : fresh) dispatcher_.Restore(queue, now_);
  for (std::uint32_t pipe = 0; pipe < pipes_.size(); ++pipe) {
    pipes_[pipe].phase == Pipe::Phase::kIdle ? Schedule(pipe) : UpdateQuantum(pipe);
  }
  // A turn lasts as long as it would have without the cycle; it ends only if nobody waits any more.
  const TimeNs turn_ends_at = std::exchange(rotate_runlist_at_, kNever);
  UpdateRotation();
  if (rotate_runlist_at_ != kNever) rotate_runlist_at_ = std::min(rotate_runlist_at_, turn_ends_at);
}

// Over-subscribed: queues that are active but not mapped get a turn if they have work.
void HwsDevice::UpdateRotation() {
  if (rotate_runlist_at_ != kNever || remap_at_ != kNever) return;
  for (const auto& owned : queues_) {
    Queue* queue = owned.get();
    if (queue->mapped || !queue->config.active) continue;
    if (queue->saved_count == 0 && queue->launching == kNone && !queue->has_packet) {
      queue->source->RereadWriteIndex();
      queue->has_packet = queue->source->Next(&queue->packet);
      if (!queue->has_packet) continue;
    }
    rotate_runlist_at_ = now_ + std::max<TimeNs>(1, params_.runlist_quantum_ns);
    return;
  }
}

void HwsDevice::RotateRunlist() {
  rotate_runlist_at_ = kNever;
  runlist_start_ = runlist_next_;
  const bool hws = params_.hardware_scheduler;
  // All queues are off already: the cycle under way maps the next ones.
  if (hws && remap_at_ != kNever) return;
  TimeNs unmapped_at = 0;
  params_.hardware_scheduler = true;  // the whole list changes, whoever schedules it
  if (BeginCycle(now_, nullptr, &unmapped_at)) {
    EndCycle(unmapped_at);
  } else {
    UpdateRotation();
  }
  params_.hardware_scheduler = hws;
}

void HwsDevice::Erase(Queue* queue) {
  Unmap(queue);
  dispatcher_.DropQueue(queue, now_);
  if (queue->hqd != kNone && hqds_[queue->hqd] == queue) hqds_[queue->hqd] = nullptr;
  by_id_.erase(queue->id);
  std::erase_if(queues_, [&](const auto& owned) { return owned.get() == queue; });
}

}  // namespace virtual_gpu

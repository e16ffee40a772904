// kfd_update_queue.cc: changing queues: UPDATE_QUEUE, SET_CU_MASK, ALLOC_QUEUE_GWS, and how much
// state a stopped one has saved.
//
// Each is a runlist cycle, also when it changes nothing. The checks and errno values are those of
// kfd_chardev.c and kfd_process_queue_manager.c:pqm_update_queue_properties, pqm_update_mqd,
// pqm_set_gws, pqm_get_wave_state.

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "kfd_abi.h"
#include "kfd_driver.h"
#include "kfd_queue_checks.h"

namespace virtual_gpu {
namespace {

constexpr std::uint32_t kMaskBitsMax = 1024;         // more are cut off
constexpr std::uint32_t kControlStackWaveBytes = 8;  // gfx9: per wave
constexpr std::uint32_t kControlStackHeadBytes = 8;

}  // namespace

QueueConfig KfdDriver::ConfigOf(const Process& process, const KfdQueue& queue) {
  return {process.key, queue.priority, queue.Active()};
}

int KfdDriver::ApplyActivity(Gpu* gpu, const Process& process, const std::vector<KfdQueue*>& queues,
                             TimeNs* returns_at) {
  std::vector<Gpu::Change> changes;
  for (KfdQueue* queue : queues) {
    if (queue->aql != nullptr) {
      changes.push_back({queue->aql.get(), ConfigOf(process, *queue)});
    } else {
      gpu->sdma()->WithLock([&] { queue->sdma->SetActive(queue->Active()); });
    }
  }
  return gpu->UpdateQueues(changes, returns_at);
}

void KfdDriver::SubmitChange(const Request& request, std::uint32_t queue_id, int unknown,
                             std::function<int(Gpu*, KfdQueue*, TimeNs*)> change) {
  const auto owner = request.connection->process;
  const KfdQueue* found = owner->FindQueue(queue_id);
  if (found == nullptr) return request.Reply(unknown);
  Gpu* gpu = (*gpus_)[found->gpu_index].get();
  auto error = std::make_shared<int>(0);
  gates_[gpu->index()]->Submit(
      {[gpu, owner, queue_id, unknown, error, change = std::move(change), this] {
         TimeNs returns_at = clock_->Now();
         KfdQueue* queue = owner->finished ? nullptr : owner->FindQueue(queue_id);
         *error =
             queue == nullptr ? unknown : faults_.TakeError(FaultKind::kUpdateFails, gpu->index());
         if (*error == 0) *error = change(gpu, queue, &returns_at);
         return returns_at;
       },
       [request, error] { request.Reply(*error); }});
}

void KfdDriver::UpdateQueue(const Request& request, Process& process) {
  auto args = request.Arg<kfd::UpdateQueueArgs>();
  if (const int error = CheckProperties(args.queue_percentage, args.queue_priority,
                                        args.ring_base_address, &args.ring_size);
      error != 0) {
    return request.Reply(error);
  }
  if (process.FindQueue(args.queue_id) == nullptr) return request.Reply(EFAULT);
  if (args.ring_base_address != 0 &&
      process.memory.HostPointer(args.ring_base_address, args.ring_size) == nullptr) {
    return request.Reply(EFAULT);
  }
  const auto owner = request.connection->process;
  SubmitChange(request, args.queue_id, EFAULT,
               [args, owner](Gpu* gpu, KfdQueue* queue, TimeNs* returns_at) {
                 return ApplyUpdate(*owner, gpu, queue, args, returns_at);
               });
}

int KfdDriver::ApplyUpdate(const Process& process, Gpu* gpu, KfdQueue* queue,
                           const kfd::UpdateQueueArgs& args, TimeNs* returns_at) {
  const bool ring_changed =
      args.ring_base_address != 0 &&
      (args.ring_base_address != queue->ring_base || args.ring_size != queue->ring_bytes);
  queue->ring_base = args.ring_base_address;
  queue->ring_bytes = args.ring_size;
  queue->percentage = args.queue_percentage & kPercentageMask;
  queue->priority = args.queue_priority;
  if (queue->sdma == nullptr) {
    return gpu->UpdateQueue(queue->aql.get(), ConfigOf(process, *queue), queue->ring_base,
                            ring_changed ? queue->ring_bytes : 0, returns_at);
  }
  bool ring_ok = true;
  gpu->sdma()->WithLock([&] {
    ring_ok = !ring_changed || queue->sdma->SetRing(queue->ring_base, queue->ring_bytes);
    if (ring_ok) queue->sdma->SetActive(queue->Active());
  });
  return ring_ok ? gpu->BareCycle(returns_at) : EFAULT;
}

void KfdDriver::SetCuMask(const Request& request, Process& process) {
  const auto args = request.Arg<kfd::SetCuMaskArgs>();
  if (args.num_cu_mask % 32 != 0 || args.num_cu_mask == 0) return request.Reply(EINVAL);
  const std::size_t words = std::min(args.num_cu_mask, kMaskBitsMax) / 32;
  std::vector<std::uint32_t> mask(words);
  if (request.payload.size() < words * sizeof(std::uint32_t)) return request.Reply(EFAULT);
  std::memcpy(mask.data(), request.payload.data(), words * sizeof(std::uint32_t));
  if (process.FindQueue(args.queue_id) == nullptr) return request.Reply(EFAULT);
  SubmitChange(request, args.queue_id, EFAULT,
               [mask = std::move(mask)](Gpu* gpu, KfdQueue* queue, TimeNs* returns_at) {
                 // An SDMA queue has no mask; the cycle happens all the same.
                 if (queue->aql == nullptr) return gpu->BareCycle(returns_at);
                 queue->cu_mask = mask;
                 return gpu->SetCuMask(queue->aql.get(), mask, returns_at);
               });
}

void KfdDriver::AllocQueueGws(const Request& request, Process& process) {
  const auto args = request.Arg<kfd::AllocQueueGwsArgs>();
  const KfdQueue* queue = process.FindQueue(args.queue_id);
  if (queue == nullptr) return request.Reply(EINVAL);
  const bool take = args.num_gws != 0;
  bool has = false;  // one queue of a process and GPU may have them
  for (const auto& [id, other] : process.queues) {
    has |= other->gws && other->gpu_index == queue->gpu_index;
  }
  if (take && has) return request.Reply(EBUSY);
  if (!take && !has) return request.Reply(EINVAL);
  SubmitChange(request, args.queue_id, EINVAL,
               [take](Gpu* gpu, KfdQueue* changed, TimeNs* returns_at) {
                 changed->gws = take;
                 return gpu->BareCycle(returns_at);
               });
}

// Of XCC 0, as get_wave_state_v9_4_3 says it: each XCC has a save area of its own.
WaveState KfdDriver::WaveStateOf(const Gpu& gpu, const KfdQueue& queue) {
  const SavedState saved = gpu.SavedIn(*queue.aql, 0);
  const auto waves = static_cast<std::uint32_t>(saved.waves);
  return {waves == 0 ? 0 : kControlStackHeadBytes + waves * kControlStackWaveBytes,
          static_cast<std::uint32_t>(saved.bytes)};
}

void KfdDriver::GetQueueWaveState(const Request& request, Process& process) {
  auto args = request.Arg<kfd::GetQueueWaveStateArgs>();
  const KfdQueue* queue = process.FindQueue(args.queue_id);
  if (queue == nullptr) return request.Reply(EFAULT);
  const Gpu& gpu = *(*gpus_)[queue->gpu_index];
  if (queue->aql == nullptr || queue->Active() || !gpu.model().part.params.cwsr) {
    return request.Reply(EINVAL);
  }
  const WaveState state = WaveStateOf(gpu, *queue);
  args.ctl_stack_used_size = state.control_stack_bytes;
  args.save_area_used_size = state.save_area_bytes;
  request.ReplyWith(0, args);
}

}  // namespace virtual_gpu

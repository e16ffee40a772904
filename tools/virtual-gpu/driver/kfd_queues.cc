// kfd_queues.cc: creating, changing and destroying queues; each is a runlist cycle for everybody.
//
// The checks and errno values are those of kfd_chardev.c:set_queue_properties_from_user,
// kfd_ioctl_update_queue and kfd_process_queue_manager.c.

#include <errno.h>

#include <bit>
#include <cstring>
#include <utility>

#include "aql_queue.h"
#include "kfd_abi.h"
#include "kfd_driver.h"
#include "pm4_queue.h"
#include "report.h"

namespace virtual_gpu {
namespace {

constexpr std::uint32_t kPercentageMask = 0xff;  // bits 8..15 choose an XCC for PM4 queues
constexpr std::uint32_t kQueuesPerGpuMax = 255;
constexpr std::uint32_t kAqlPacketBytes = 64;

bool IsSdma(std::uint32_t type) {
  return type == kfd::kQueueSdma || type == kfd::kQueueSdmaXgmi || type == kfd::kQueueSdmaByEngine;
}

int CheckProperties(std::uint32_t percentage, std::uint32_t priority, std::uint64_t ring_base,
                    std::uint32_t ring_bytes) {
  if ((percentage & kPercentageMask) > kfd::kPercentageMax) return EINVAL;
  if (priority > kfd::kPriorityMax) return EINVAL;
  if (ring_bytes != 0 && !std::has_single_bit(ring_bytes)) return EINVAL;
  if (ring_base != 0 && ring_bytes < kAqlPacketBytes) return EINVAL;
  return 0;
}

QueueConfig ConfigOf(const Process& process, const KfdQueue& queue) {
  return {process.key, queue.priority, queue.Active()};
}

std::string LabelOf(const Process& process, const KfdQueue& queue) {
  return "pid " + std::to_string(process.pid) + " (" + process.command + ") queue " +
         std::to_string(queue.id);
}

}  // namespace

int KfdDriver::MakeQueue(Process& process, Gpu* gpu, KfdQueue* queue, std::uint64_t write_pointer,
                         std::uint64_t read_pointer) {
  const GpuModel& model = gpu->model();
  std::uint64_t* doorbell = process.Doorbell(gpu->index(), queue->doorbell_slot);
  if (IsSdma(queue->type)) {
    SdmaQueue::Context context{&process.memory,         &process.events,         clock_,
                               gpu->gpu_id(),           model.sdma_bytes_per_ns, strict_,
                               LabelOf(process, *queue)};
    queue->sdma = std::make_unique<SdmaQueue>(
        std::move(context),
        SdmaQueue::Ring{queue->ring_base, queue->ring_bytes, write_pointer, read_pointer},
        doorbell);
    queue->sdma->SetActive(queue->Active());
    return queue->sdma->Valid() ? 0 : EFAULT;
  }
  KernelLimits limits;
  limits.lds_bytes = model.part.params.lds_bytes_per_cu;
  limits.vgpr_granule = model.part.params.vgpr_granule;
  limits.opaque_workgroup_ns = model.opaque_workgroup_ns;
  limits.blit_workgroup_ns = model.blit_workgroup_ns;
  if (queue->type == kfd::kQueueCompute) {
    Pm4Queue::Context context{&process.memory,         &process.events, clock_,
                              gpu->gpu_id(),           limits,          strict_,
                              LabelOf(process, *queue)};
    queue->aql = std::make_unique<Pm4Queue>(
        std::move(context),
        Pm4Queue::Ring{queue->ring_base, queue->ring_bytes, write_pointer, read_pointer}, doorbell);
    return queue->aql->Valid() ? 0 : EFAULT;
  }
  AqlQueue::Context context{
      &process.memory, &process.events,          clock_,          gpu->gpu_id(), limits,
      strict_,         LabelOf(process, *queue), queue->save_area};
  queue->aql = std::make_unique<AqlQueue>(
      std::move(context), AqlRing{queue->ring_base, queue->ring_bytes, write_pointer, read_pointer},
      doorbell);
  return queue->aql->Valid() ? 0 : EFAULT;
}

void KfdDriver::CreateQueue(const Request& request, Process& process) {
  auto args = request.Arg<kfd::CreateQueueArgs>();
  Gpu* gpu = FindGpu(args.gpu_id);
  if (gpu == nullptr) return request.Reply(EINVAL);
  if (const int error = CheckProperties(args.queue_percentage, args.queue_priority,
                                        args.ring_base_address, args.ring_size);
      error != 0) {
    return request.Reply(error);
  }
  if (!IsSdma(args.queue_type) && args.queue_type != kfd::kQueueCompute &&
      args.queue_type != kfd::kQueueComputeAql) {
    ReportOnce("queue type " + std::to_string(args.queue_type),
               "queue type " + std::to_string(args.queue_type) + " is unknown: EINVAL");
    return request.Reply(EINVAL);
  }
  auto queue = std::make_unique<KfdQueue>();
  queue->gpu_index = gpu->index();
  queue->type = args.queue_type;
  queue->ring_base = args.ring_base_address;
  queue->ring_bytes = args.ring_size;
  queue->percentage = args.queue_percentage & kPercentageMask;
  queue->priority = args.queue_priority;
  queue->save_area = args.ctx_save_restore_address;
  if (!process.FreeQueueId(&queue->id) || process.queues.size() >= kQueuesPerGpuMax ||
      !process.TakeDoorbell(gpu->index(), &queue->doorbell_slot)) {
    return request.Reply(ENOSPC);
  }
  if (const int error = MakeQueue(process, gpu, queue.get(), args.write_pointer_address,
                                  args.read_pointer_address);
      error != 0) {
    Report(
        "%s: ring or pointers are in memory that the GPU cannot see; is "
        "HSA_USERPTR_FOR_PAGED_MEM=0 set?",
        LabelOf(process, *queue).c_str());
    process.GiveDoorbell(gpu->index(), queue->doorbell_slot);
    return request.Reply(error);
  }
  args.queue_id = queue->id;
  args.doorbell_offset = process.DoorbellOffset(gpu->index(), queue->doorbell_slot);
  KfdQueue* raw = queue.get();
  process.queues[raw->id] = std::move(queue);

  auto error = std::make_shared<int>(0);
  const auto owner = request.connection->process;
  gates_[gpu->index()]->Submit({[gpu, owner, id = raw->id, error, this] {
                                  TimeNs returns_at = clock_->Now();
                                  KfdQueue* made = owner->finished ? nullptr : owner->FindQueue(id);
                                  if (made == nullptr) {
                                    *error = EINVAL;
                                  } else if (made->sdma != nullptr) {
                                    gpu->BareCycle(&returns_at);
                                    gpu->sdma()->Add(made->sdma.get());
                                  } else {
                                    *error = gpu->CreateQueue(made->aql.get(),
                                                              ConfigOf(*owner, *made), &returns_at);
                                    if (*error != 0) {
                                      owner->GiveDoorbell(gpu->index(), made->doorbell_slot);
                                      owner->queues.erase(id);
                                    }
                                  }
                                  return returns_at;
                                },
                                [request, args, error, owner, this] {
                                  // Before the reply: who has made a queue finds it there.
                                  if (const KfdQueue* made = owner->FindQueue(args.queue_id);
                                      *error == 0 && made != nullptr) {
                                    proc_files_->AddQueue(*owner, *made);
                                  }
                                  request.ReplyWith(*error, args);
                                }});
}

void KfdDriver::DestroyQueue(const Request& request, Process& process) {
  const std::uint32_t id = request.Arg<kfd::DestroyQueueArgs>().queue_id;
  const KfdQueue* queue = process.FindQueue(id);
  if (queue == nullptr) return request.Reply(EINVAL);
  Gpu* gpu = (*gpus_)[queue->gpu_index].get();
  auto error = std::make_shared<int>(0);
  const auto owner = request.connection->process;
  gates_[gpu->index()]->Submit({[gpu, owner, id, error, this] {
                                  TimeNs returns_at = clock_->Now();
                                  KfdQueue* doomed =
                                      owner->finished ? nullptr : owner->FindQueue(id);
                                  if (doomed == nullptr) {
                                    *error = EINVAL;
                                    return returns_at;
                                  }
                                  if (doomed->sdma != nullptr) {
                                    gpu->sdma()->Remove(doomed->sdma.get());
                                    gpu->BareCycle(&returns_at);
                                  } else {
                                    *error = gpu->DestroyQueue(doomed->aql.get(), &returns_at);
                                  }
                                  owner->GiveDoorbell(gpu->index(), doomed->doorbell_slot);
                                  owner->queues.erase(id);
                                  proc_files_->RemoveQueue(*owner, id);
                                  return returns_at;
                                },
                                [request, error] { request.Reply(*error); }});
}

TimeNs KfdDriver::ApplyUpdate(Gpu* gpu, KfdQueue* queue, bool ring_changed, int* error) {
  TimeNs returns_at = clock_->Now();
  if (queue->sdma != nullptr) {
    gpu->sdma()->WithLock([&] {
      if (ring_changed && !queue->sdma->SetRing(queue->ring_base, queue->ring_bytes)) {
        *error = EFAULT;
        return;
      }
      queue->sdma->SetActive(queue->Active());
    });
    if (*error == 0) gpu->BareCycle(&returns_at);
  }
  return returns_at;
}

void KfdDriver::UpdateQueue(const Request& request, Process& process) {
  const auto args = request.Arg<kfd::UpdateQueueArgs>();
  if (const int error = CheckProperties(args.queue_percentage, args.queue_priority,
                                        args.ring_base_address, args.ring_size);
      error != 0) {
    return request.Reply(error);
  }
  const KfdQueue* found = process.FindQueue(args.queue_id);
  if (found == nullptr) return request.Reply(EFAULT);
  Gpu* gpu = (*gpus_)[found->gpu_index].get();
  auto error = std::make_shared<int>(0);
  const auto owner = request.connection->process;
  gates_[gpu->index()]->Submit(
      {[gpu, owner, args, error, this] {
         TimeNs returns_at = clock_->Now();
         KfdQueue* queue = owner->finished ? nullptr : owner->FindQueue(args.queue_id);
         if (queue == nullptr) {
           *error = EFAULT;
           return returns_at;
         }
         const bool ring_changed =
             args.ring_base_address != 0 &&
             (args.ring_base_address != queue->ring_base || args.ring_size != queue->ring_bytes);
         queue->ring_base = args.ring_base_address;
         queue->ring_bytes = args.ring_size;
         queue->percentage = args.queue_percentage & kPercentageMask;
         queue->priority = args.queue_priority;
         if (queue->sdma != nullptr) return ApplyUpdate(gpu, queue, ring_changed, error.get());
         *error = gpu->UpdateQueue(queue->aql.get(), ConfigOf(*owner, *queue), queue->ring_base,
                                   ring_changed ? queue->ring_bytes : 0, &returns_at);
         return returns_at;
       },
       [request, error] { request.Reply(*error); }});
}

void KfdDriver::SetCuMask(const Request& request, Process& process) {
  const auto args = request.Arg<kfd::SetCuMaskArgs>();
  if (args.num_cu_mask == 0 || args.num_cu_mask % 32 != 0) return request.Reply(EINVAL);
  const KfdQueue* queue = process.FindQueue(args.queue_id);
  if (queue == nullptr || queue->aql == nullptr) return request.Reply(EFAULT);
  std::vector<std::uint32_t> mask(request.payload.size() / sizeof(std::uint32_t));
  std::memcpy(mask.data(), request.payload.data(), mask.size() * sizeof(std::uint32_t));
  Gpu* gpu = (*gpus_)[queue->gpu_index].get();
  auto error = std::make_shared<int>(0);
  const auto owner = request.connection->process;
  gates_[gpu->index()]->Submit(
      {[gpu, owner, id = args.queue_id, mask = std::move(mask), error, this] {
         TimeNs returns_at = clock_->Now();
         KfdQueue* masked = owner->finished ? nullptr : owner->FindQueue(id);
         *error = masked == nullptr || masked->aql == nullptr
                      ? EFAULT
                      : gpu->SetCuMask(masked->aql.get(), mask, &returns_at);
         return returns_at;
       },
       [request, error] { request.Reply(*error); }});
}

void KfdDriver::GetQueueWaveState(const Request& request, Process& process) {
  auto args = request.Arg<kfd::GetQueueWaveStateArgs>();
  const KfdQueue* queue = process.FindQueue(args.queue_id);
  if (queue == nullptr || queue->aql == nullptr || queue->Active()) return request.Reply(EINVAL);
  args.ctl_stack_used_size = 0;
  args.save_area_used_size = 0;
  request.ReplyWith(0, args);
}

void KfdDriver::AllocQueueGws(const Request& request, Process& process) {
  auto args = request.Arg<kfd::AllocQueueGwsArgs>();
  if (process.FindQueue(args.queue_id) == nullptr) return request.Reply(EINVAL);
  args.first_gws = 0;
  request.ReplyWith(0, args);
}

}  // namespace virtual_gpu

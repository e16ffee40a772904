// kfd_create_queue.cc: making and destroying queues; each is a runlist cycle for everybody.
//
// The checks, their order and errno values are those of kfd_chardev.c:kfd_ioctl_create_queue and
// kfd_process_queue_manager.c:pqm_create_queue, pqm_destroy_queue.

#include <errno.h>

#include <utility>

#include "aql_queue.h"
#include "kfd_abi.h"
#include "kfd_debug_abi.h"
#include "kfd_driver.h"
#include "kfd_queue_checks.h"
#include "pm4_queue.h"
#include "report.h"

namespace virtual_gpu {
namespace {

// Per process and GPU: the HWS limit, and that of gfx942.
constexpr std::size_t kQueuesPerGpuMax = 127, kQueuesPerGpuMaxGfx942 = 255;
constexpr std::size_t kQueuesPerDeviceMax = 4096;  // max_num_of_queues_per_device
constexpr std::uint32_t kGfx942 = 90402;

std::string LabelOf(const Process& process, const KfdQueue& queue) {
  return "pid " + std::to_string(process.pid) + " (" + process.command + ") queue " +
         std::to_string(queue.id);
}

std::size_t CountOn(const Process& process, std::uint32_t gpu_index) {
  std::size_t count = 0;
  for (const auto& [id, queue] : process.queues) count += queue->gpu_index == gpu_index;
  return count;
}

}  // namespace

// allocate_sdma_queue: each engine has a few queues; 0 or an errno.
int KfdDriver::SdmaRoom(const Gpu& gpu, const kfd::CreateQueueArgs& args) const {
  const DeviceProfile& part = gpu.model().part;
  const std::uint32_t engines = part.num_sdma_engines + part.num_sdma_xgmi_engines;
  std::uint32_t room = part.num_sdma_queues_per_engine;
  if (args.queue_type == kfd::kQueueSdma) room *= part.num_sdma_engines;
  if (args.queue_type == kfd::kQueueSdmaXgmi) room *= part.num_sdma_xgmi_engines;
  if (args.queue_type == kfd::kQueueSdmaByEngine && args.sdma_engine_id >= engines) return EINVAL;
  std::uint32_t taken = 0;
  for (const auto& [name, process] : *processes_) {
    for (const auto& [id, queue] : process->queues) {
      taken += queue->gpu_index == gpu.index() && queue->type == args.queue_type &&
               queue->sdma_engine == args.sdma_engine_id;
    }
  }
  return taken < room ? 0 : ENOMEM;
}

int KfdDriver::CheckCreate(const Process& process, kfd::CreateQueueArgs* args) {
  if (const int error = CheckProperties(args->queue_percentage, args->queue_priority,
                                        args->ring_base_address, &args->ring_size);
      error != 0) {
    return error;
  }
  for (const std::uint64_t address : {args->read_pointer_address, args->write_pointer_address,
                                      args->eop_buffer_address, args->ctx_save_restore_address}) {
    if (!UserAddress(address)) return EFAULT;
  }
  if (args->queue_type > kfd::kQueueSdmaByEngine) return kNotSupported;
  const Gpu* gpu = FindGpu(args->gpu_id);
  if (gpu == nullptr) return EINVAL;
  const bool gfx942 = gpu->model().part.gfx_target_version == kGfx942;
  if (CountOn(process, gpu->index()) >= (gfx942 ? kQueuesPerGpuMaxGfx942 : kQueuesPerGpuMax)) {
    return ENOSPC;
  }
  if (process.queues.size() >= kQueuesMax) return ENOMEM;
  std::size_t on_device = 0;
  for (const auto& [name, other] : *processes_) on_device += CountOn(*other, gpu->index());
  if (on_device >= kQueuesPerDeviceMax) return EPERM;
  if (const int error = faults_.TakeError(FaultKind::kCreateFails, gpu->index()); error != 0)
    return error;
  if (!IsSdma(args->queue_type)) return 0;
  if (args->queue_type != kfd::kQueueSdmaByEngine) args->sdma_engine_id = 0;
  return SdmaRoom(*gpu, *args);
}

int KfdDriver::MakeQueue(Process& process, Gpu* gpu, KfdQueue* queue) {
  const GpuModel& model = gpu->model();
  std::uint64_t* doorbell = process.Doorbell(gpu->index(), queue->doorbell_slot);
  if (IsSdma(queue->type)) {
    SdmaQueue::Context context{&process.memory,         &process.events,         clock_,
                               gpu->gpu_id(),           model.sdma_bytes_per_ns, strict_,
                               LabelOf(process, *queue)};
    queue->sdma =
        std::make_unique<SdmaQueue>(std::move(context),
                                    SdmaQueue::Ring{queue->ring_base, queue->ring_bytes,
                                                    queue->write_pointer, queue->read_pointer},
                                    doorbell);
    queue->sdma->SetActive(queue->Active());
    return queue->sdma->Valid() ? 0 : EINVAL;
  }
  KernelLimits limits;
  limits.lds_bytes = model.part.params.lds_bytes_per_cu;
  limits.vgpr_granule = model.part.params.vgpr_granule;
  limits.opaque_workgroup_ns = model.opaque_workgroup_ns;
  limits.blit_workgroup_ns = model.blit_workgroup_ns;
  limits.interpret = model.interpret;
  limits.instruction_ns = model.instruction_ns;
  limits.wave_instructions_max = model.wave_instructions_max;
  limits.simds = model.part.params.simds_per_cu;
  if (queue->type == kfd::kQueueCompute) {
    Pm4Queue::Context context{&process.memory,         &process.events, clock_,
                              gpu->gpu_id(),           limits,          strict_,
                              LabelOf(process, *queue)};
    queue->aql =
        std::make_unique<Pm4Queue>(std::move(context),
                                   Pm4Queue::Ring{queue->ring_base, queue->ring_bytes,
                                                  queue->write_pointer, queue->read_pointer},
                                   doorbell);
    return queue->aql->Valid() ? 0 : EINVAL;
  }
  AqlQueue::Context context{
      &process.memory, &process.events,          clock_,           gpu->gpu_id(), limits,
      strict_,         LabelOf(process, *queue), queue->save_area, &faults_,      gpu->index()};
  queue->aql = std::make_unique<AqlQueue>(
      std::move(context),
      AqlRing{queue->ring_base, queue->ring_bytes, queue->write_pointer, queue->read_pointer},
      doorbell);
  return queue->aql->Valid() ? 0 : EINVAL;
}

void KfdDriver::CreateQueue(const Request& request, Process& process) {
  auto args = request.Arg<kfd::CreateQueueArgs>();
  if (const int error = CheckCreate(process, &args); error != 0) return request.Reply(error);
  Gpu* gpu = FindGpu(args.gpu_id);
  auto queue = std::make_unique<KfdQueue>();
  queue->gpu_index = gpu->index();
  queue->type = args.queue_type;
  queue->sdma_engine = args.sdma_engine_id;
  queue->ring_base = args.ring_base_address;
  queue->ring_bytes = args.ring_size;
  queue->write_pointer = args.write_pointer_address;
  queue->read_pointer = args.read_pointer_address;
  queue->save_area = args.ctx_save_restore_address;
  queue->save_area_bytes = args.ctx_save_restore_size;
  queue->control_stack_bytes = args.ctl_stack_size;
  queue->percentage = args.queue_percentage & kPercentageMask;
  queue->priority = args.queue_priority;
  queue->evicted = process.evicted;
  queue->exceptions = kfd::ExceptionMask(kfd::kEcQueueNew);
  if (!process.FreeQueueId(&queue->id) ||
      !process.TakeDoorbell(gpu->index(), &queue->doorbell_slot)) {
    return request.Reply(ENOMEM);
  }
  if (const int error = MakeQueue(process, gpu, queue.get()); error != 0) {
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
  SubmitCreate(request, gpu, args);
}

void KfdDriver::SubmitCreate(const Request& request, Gpu* gpu, const kfd::CreateQueueArgs& args) {
  auto error = std::make_shared<int>(0);
  const auto owner = request.connection->process;
  gates_[gpu->index()]->Submit(
      {[gpu, owner, id = args.queue_id, error, this] {
         TimeNs returns_at = clock_->Now();
         KfdQueue* made = owner->finished ? nullptr : owner->FindQueue(id);
         if (made == nullptr) {
           *error = EINVAL;
         } else if (made->sdma != nullptr) {
           *error = gpu->BareCycle(&returns_at);
           if (*error == 0) gpu->sdma()->Add(made->sdma.get());
         } else {
           *error = gpu->CreateQueue(made->aql.get(), ConfigOf(*owner, *made), &returns_at);
         }
         if (made != nullptr && *error != 0) Forget(owner.get(), id);
         return returns_at;
       },
       [request, args, error, owner, this] {
         // Before the reply: who has made a queue finds it there.
         KfdQueue* made = owner->FindQueue(args.queue_id);
         if (*error == 0 && made != nullptr) {
           proc_files_->AddQueue(*owner, *made);
           RaiseException(owner.get(), made, kfd::ExceptionMask(kfd::kEcQueueNew));
         }
         request.ReplyWith(*error, args);
       }});
}

void KfdDriver::Forget(Process* process, std::uint32_t queue_id) {
  KfdQueue* queue = process->FindQueue(queue_id);
  process->GiveDoorbell(queue->gpu_index, queue->doorbell_slot);
  process->queues.erase(queue_id);
  proc_files_->RemoveQueue(*process, queue_id);
}

void KfdDriver::DestroyQueue(const Request& request, Process& process) {
  const std::uint32_t id = request.Arg<kfd::DestroyQueueArgs>().queue_id;
  KfdQueue* queue = process.FindQueue(id);
  if (queue == nullptr) return request.Reply(EINVAL);
  if (queue->suspended) {  // wait_on_destroy_queue: until the debugger resumes it
    queue->being_destroyed = true;
    queue->waiting_destroys.push_back(request);
    return;
  }
  SubmitDestroy(request, id);
}

void KfdDriver::SubmitDestroy(const Request& request, std::uint32_t id) {
  const auto owner = request.connection->process;
  const KfdQueue* queue = owner->FindQueue(id);
  if (queue == nullptr) return request.Reply(EINVAL);
  Gpu* gpu = (*gpus_)[queue->gpu_index].get();
  auto error = std::make_shared<int>(0);
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
                                    *error = gpu->BareCycle(&returns_at);
                                  } else {
                                    *error = gpu->DestroyQueue(doomed->aql.get(), &returns_at);
                                  }
                                  // Also after an error: pqm_destroy_queue goes on.
                                  Forget(owner.get(), id);
                                  return returns_at;
                                },
                                [request, error] { request.Reply(*error); }});
}

}  // namespace virtual_gpu

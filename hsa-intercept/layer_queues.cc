// layer_queues.cc: how queues come and go.
//
// One queue is made at a time (creation_mutex_), so that the driver's new id is the new queue's. The
// program gets ROCr's own queue, or ROCr's own intercept queue; never one of ours.
#include <dlfcn.h>
#include <hsa/amd_hsa_queue.h>
#include <hsa/hsa_ext_amd.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "layer.h"
#include "log.h"
#include "queue_descriptor.h"
#include "queue_end.h"
#include "queue_errors.h"

namespace xsched_hsa {
namespace {

// The PCI address is the one name of a GPU that all processes, visible-device lists and containers
// agree on.
bool ReadGpuKey(const RealApi& real, hsa_agent_t agent, GpuKey* key) {
  std::uint32_t bdf = 0, domain = 0;
  const auto bdf_info = static_cast<hsa_agent_info_t>(HSA_AMD_AGENT_INFO_BDFID);
  const auto domain_info = static_cast<hsa_agent_info_t>(HSA_AMD_AGENT_INFO_DOMAIN);
  if (real.agent_get_info(agent, bdf_info, &bdf) != HSA_STATUS_SUCCESS) return false;
  if (real.agent_get_info(agent, domain_info, &domain) != HSA_STATUS_SUCCESS) domain = 0;
  *key = (static_cast<GpuKey>(domain) << 16 | (bdf & 0xffff)) + 1;
  return true;
}

// amd_queue_t has had its write index there in every release, but whoever was loaded before us may
// keep one of its own: then its functions are called.
std::atomic<std::uint64_t>* RealIndexOf(const RealApi& real, hsa_queue_t* queue) {
  static_assert(offsetof(amd_queue_t, write_dispatch_id) == 56);
  Dl_info info;
  const auto* function = reinterpret_cast<const void*>(real.cas_write_index_scacq_screl);
  if (function == nullptr || dladdr(function, &info) == 0 || info.dli_fname == nullptr ||
      std::strstr(info.dli_fname, "libhsa-runtime64.so") == nullptr) {
    return nullptr;
  }
  auto* index = reinterpret_cast<unsigned char*>(queue) + offsetof(amd_queue_t, write_dispatch_id);
  return reinterpret_cast<std::atomic<std::uint64_t>*>(index);
}

}  // namespace

bool Layer::IsGpu(hsa_agent_t agent) const {
  hsa_device_type_t device;
  return real_.agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &device) == HSA_STATUS_SUCCESS &&
         device == HSA_DEVICE_TYPE_GPU;
}

// With registration_mutex_ held.
void Layer::CountPassedThrough() {
  ++passed_through_;
  if (link_.process_page != nullptr) {
    link_.process_page->queues_passed_through.store(passed_through_, std::memory_order_relaxed);
  }
}

void Layer::PassThrough(const hsa_queue_t& queue, const char* why) {
  Log(LogLevel::kInfo, "queue %lu (type %u) is not managed and passes through: %s", queue.id,
      queue.type, why);
  MutexScope scope(&registration_mutex_);
  CountPassedThrough();
}

// Makes the queue that the gate needs. If ROCr refuses an intercept queue, or we can't register with
// it, the program gets the queue that it asked for, and `intercept` stays null.
hsa_status_t Layer::MakeQueue(const QueueRequest& r, GateKind gate, InterceptGate** intercept) {
  *intercept = nullptr;
  if (tool_below_[0] != '\0') return MakeQueueAboveATool(r, gate, intercept);
  if (gate == GateKind::kIntercept &&
      real_.queue_intercept_create(r.agent, r.packets, r.type, r.callback, r.data,
                                   r.private_segment_size, r.group_segment_size,
                                   r.queue) == HSA_STATUS_SUCCESS) {
    *intercept = InterceptGate::Make(real_, r.agent, *r.queue);
    if (*intercept != nullptr) return HSA_STATUS_SUCCESS;
    real_.queue_destroy(*r.queue);
  }
  return real_.queue_create(r.agent, r.packets, r.type, r.callback, r.data, r.private_segment_size,
                            r.group_segment_size, r.queue);
}

hsa_status_t Layer::CreateQueue(hsa_agent_t agent, std::uint32_t size, hsa_queue_type32_t type,
                                void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data,
                                std::uint32_t private_segment_size,
                                std::uint32_t group_segment_size, hsa_queue_t** queue) {
  const QueueRequest request{
      agent, size, type, callback, data, private_segment_size, group_segment_size, queue};
  InterceptGate* none;
  if (inert_.load(std::memory_order_acquire) || queue == nullptr || IsMakingHere() ||
      !IsGpu(agent)) {
    return MakeQueue(request, GateKind::kNone, &none);
  }
  CreationScope scope(this);
  return MakeHeldQueue(request);
}

// With creation_mutex_ held.
hsa_status_t Layer::MakeHeldQueue(const QueueRequest& request) {
  QueueTraits traits;
  traits.type = request.type;
  traits.packets = request.packets;
  traits.ext_table_bytes = real_.queue_intercept_create != nullptr ? version_.ext_table_bytes : 0;
  const GateChosen gate = ChooseGate(config_.gate, traits);
  QueueIdProbe probe("", DriverPid(), &destructions_);
  const bool probing = gate.kind != GateKind::kNone && probe.TakeBefore();
  InterceptGate* intercept = nullptr;
  const hsa_status_t status = MakeAndHearErrors(request, gate.kind, &intercept);
  if (status != HSA_STATUS_SUCCESS) return status;
  hsa_queue_t* queue = *request.queue;
  if (gate.kind == GateKind::kNone) {
    PassThrough(*queue, gate.why);
    return status;
  }
  if (config_.gate == GateRequest::kIntercept && intercept == nullptr) {
    Log(LogLevel::kWarn, "queue %lu has the window gate, not the intercept gate: %s%s", queue->id,
        tool_below_[0] != '\0' ? "it was made by another tool, "
        : gate.why[0] != '\0'  ? gate.why
                               : "ROCr made no intercept queue",
        tool_below_);
  }
  if (Manage(request.agent, queue, probing ? &probe : nullptr, intercept) || intercept == nullptr) {
    return status;
  }
  // An intercept queue that nobody looks after would stand still when ROCr's ring is full.
  ErrorRelay* const relay = UnlinkErrorRelay(queue);
  real_.queue_destroy(queue);
  ReleaseErrorRelay(relay);
  intercept->Free();
  return MakeQueue(request, GateKind::kNone, &intercept);
}

hsa_status_t Layer::MakeAndHearErrors(QueueRequest request, GateKind gate,
                                      InterceptGate** intercept) {
  ErrorRelay* relay =
      gate != GateKind::kNone ? TakeErrorRelay(request.callback, request.data) : nullptr;
  if (relay != nullptr) {
    request.callback = &OnQueueError;
    request.data = relay;
  }
  const hsa_status_t status = MakeQueue(request, gate, intercept);
  if (status != HSA_STATUS_SUCCESS) {
    ReleaseErrorRelay(relay);
  } else if (relay != nullptr) {
    relay->queue.store(*request.queue, std::memory_order_relaxed);
  }
  return status;
}

void Layer::QueueHasFailed(hsa_queue_t* queue, hsa_status_t status) {
  if (LeaveStoppedIn(registry_, queue) == nullptr) return;
  Log(LogLevel::kWarn,
      "queue %lu: the runtime has stopped it after an error (status 0x%x): it is left alone and "
      "runs nothing any more; what the program or 'dmesg' says of the error tells why",
      queue->id, static_cast<unsigned>(status));
  pump_.TellController();
  preemptor_.Nudge();
}

hsa_status_t Layer::CreateQueues(hsa_agent_t agent, QueueDescriptor* descriptors,
                                 std::uint32_t count) {
  if (inert_.load(std::memory_order_acquire) || descriptors == nullptr || IsMakingHere() ||
      !IsGpu(agent)) {
    return real_.amd_queue_create(agent, descriptors, count);
  }
  CreationScope scope(this);
  QueueIdProbe probe("", DriverPid(), &destructions_);
  // Of several new queues nobody could tell which has which id.
  const bool probing = count == 1 && probe.TakeBefore();
  const hsa_status_t status = real_.amd_queue_create(agent, descriptors, count);
  if (status != HSA_STATUS_SUCCESS) return status;
  for (std::uint32_t i = 0; i < count; ++i) {
    AdoptDescribed(agent, descriptors[i], probing ? &probe : nullptr);
  }
  return status;
}

void Layer::AdoptDescribed(hsa_agent_t agent, const QueueDescriptor& descriptor,
                           const QueueIdProbe* probe) {
  // Of another version we know nothing, not even where its queue stands; and a copy engine's queue
  // has no AQL packets.
  if (descriptor.version != kDescriptorVersion || descriptor.queue == nullptr) {
    MutexScope scope(&registration_mutex_);
    return CountPassedThrough();
  }
  if (descriptor.engine != kComputeEngine) return;
  hsa_queue_t* queue = descriptor.queue;
  QueueTraits traits;
  traits.origin = QueueOrigin::kAmdQueueCreate;
  traits.type = descriptor.type;
  traits.packets = queue->size;
  traits.host_memory = descriptor.flags == 0;
  traits.ext_table_bytes = version_.ext_table_bytes;
  const GateChosen gate = ChooseGate(config_.gate, traits);
  if (gate.kind == GateKind::kNone) return PassThrough(*queue, gate.why);
  if (!Manage(agent, queue, probe, nullptr)) return;
  ManagedQueue* managed = registry_.Find(queue);
  if (managed == nullptr) return;
  // The driver is told both anew with each change of ours.
  MutexScope scope(preemptor_.mutex());
  const auto priority = static_cast<hsa_amd_queue_priority_t>(descriptor.priority);
  if (priority != HSA_AMD_QUEUE_PRIORITY_NORMAL) {
    preemptor_.ProgramSetPriority(managed, KfdPriorityOf(priority, version_.ext_table_bytes));
  }
  if (descriptor.cu_mask_bits != 0 && descriptor.cu_mask != nullptr) {
    preemptor_.ProgramSetMask(managed, descriptor.cu_mask, descriptor.cu_mask_bits);
  }
}

// ROCr gives several handles to one hardware queue and takes them back one by one, in any order:
// what we would hold belongs to several parts of the program, under a pointer that may go first.
hsa_status_t Layer::AcquireCounted(hsa_agent_t agent, hsa_queue_type_t type,
                                   hsa_amd_queue_priority_t priority,
                                   void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data,
                                   std::uint64_t flags, hsa_queue_t** queue) {
  const hsa_status_t status =
      real_.counted_queue_acquire(agent, type, priority, callback, data, flags, queue);
  if (status == HSA_STATUS_SUCCESS && !inert_.load(std::memory_order_acquire)) {
    QueueTraits traits;
    traits.origin = QueueOrigin::kCounted;
    PassThrough(**queue, ChooseGate(config_.gate, traits).why);
  }
  return status;
}

// The driver lists processes by their pid in the outermost namespace, which may not be getpid();
// the controller sees it if it is not in a container itself.
std::int32_t Layer::DriverPid() {
  MutexScope scope(&registration_mutex_);
  return link_.peer_pid > 0 ? link_.peer_pid : getpid();
}

void Layer::LearnKfdQueue(ManagedQueue* queue, const QueueIdProbe* probe) {
  KfdQueue kfd;
  KfdNode node;
  if (probe != nullptr && FindKfdNode("", queue->gpu_key, &node)) {
    // An intercept queue's ring is ROCr's own, of the same size; the program's is a proxy.
    kfd.ring_bytes =
        static_cast<std::uint32_t>(queue->ring_packets * sizeof(hsa_barrier_and_packet_t));
    if (queue->intercept == nullptr) {
      kfd.ring_base = reinterpret_cast<std::uint64_t>(queue->ring);
    } else {
      kfd.runtime_queue = queue->queue;
    }
    kfd.id = probe->FindNew(node, kfd.ring_bytes);
  }
  const int error = kfd.id != kUnknownKfdQueueId ? kfd_.Open() : 0;
  if (error != 0) {
    kfd.id = kUnknownKfdQueueId;
    if (!told_no_kfd_)
      Log(LogLevel::kWarn,
          "/dev/kfd can't be opened: %s; this program's queues are only held, not suspended or "
          "squeezed, until it %s",
          strerrordesc_np(error),
          error == EMFILE || error == ENFILE ? "has more file descriptors (ulimit -n)"
                                             : "keeps the right to (group render)");
    told_no_kfd_ = true;
  } else if (kfd.id == kUnknownKfdQueueId) {
    Log(LogLevel::kInfo,
        "queue %lu: its KFD queue id is not certain; it can be held, not suspended or squeezed",
        queue->queue->id);
  }
  preemptor_.Adopt(queue, kfd, node);
}

namespace {
// `key` is 0 where its GPU could not be told.
const char* WhyNotManaged(bool is_ring, GpuKey key) {
  if (!is_ring) return "its ring is none, or of a size that is no power of two";
  if (key == 0) return "its agent has no PCI address";
  return "as many queues as there is room for are managed, or no thread could be started";
}
}  // namespace

// With registration_mutex_ held. Aloud once where a program has more queues than can be managed: the others
// run unscheduled for as long as they live.
void Layer::NotManaged(const hsa_queue_t& queue, bool is_ring, GpuKey key) {
  CountPassedThrough();
  const bool no_room = is_ring && key != 0;
  const LogLevel level = no_room && !told_no_room_ ? LogLevel::kWarn : LogLevel::kInfo;
  told_no_room_ = told_no_room_ || no_room;
  Log(level, "queue %lu (type %u) is not managed and passes through: %s", queue.id, queue.type,
      WhyNotManaged(is_ring, key));
}

// False: the queue passes through, and was counted.
bool Layer::Manage(hsa_agent_t agent, hsa_queue_t* queue, const QueueIdProbe* probe,
                   InterceptGate* intercept) {
  MutexScope scope(&registration_mutex_);
  GpuKey key = 0;
  ManagedQueue* managed = nullptr;
  const ProcessPage* page = link_.process_page;
  const bool is_ring =
      queue->base_address != nullptr && queue->size != 0 && (queue->size & (queue->size - 1)) == 0;
  if (is_ring && ReadGpuKey(real_, agent, &key) && StartThreads()) {
    managed = registry_.Take([page](std::uint32_t index) {
      // A retired slot is still being read by the controller.
      return page == nullptr ||
             page->queues[index].state.load(std::memory_order_acquire) == kSlotFree;
    });
  }
  if (managed == nullptr) {
    NotManaged(*queue, is_ring, key);
    return false;
  }
  managed->queue = queue;
  managed->doorbell = queue->doorbell_signal;
  managed->ring = static_cast<unsigned char*>(queue->base_address);
  managed->ring_packets = queue->size;
  managed->intercept = intercept;
  managed->requested_priority.store(PriorityOfNewQueue(), std::memory_order_relaxed);
  managed->gpu_key = key;
  managed->window = WindowState{};
  managed->idle_since_us = 0;
  managed->exposed_since_us = 0;
  managed->active_since_us.store(0);
  managed->foreign.store(0);
  managed->failed.store(0);
  managed->inherited_level.store(0);
  managed->waits = false;
  managed->waits_since_us = 0;
  managed->pump_watches.store(0);
  managed->announced_index.store(0);
  managed->again.store(0);
  managed->lock.store(0);
  managed->reserved_index.store(real_.load_write_index_scacquire(queue));
  managed->published_hint.store(managed->reserved_index.load());
  managed->real_index = RealIndexOf(real_, queue);
  managed->slot.store(&detached_slots_[managed->index], std::memory_order_release);
  managed->urgency.store(nullptr, std::memory_order_release);
  managed->user_page.store(nullptr, std::memory_order_release);
  LearnKfdQueue(managed, probe);
  if (!registry_.Insert(managed)) {
    registry_.Release(managed);
    NotManaged(*queue, is_ring, key);
    return false;
  }
  if (page != nullptr) AttachQueue(managed);
  managed->live.store(1, std::memory_order_seq_cst);
  if (page != nullptr) pump_.TellController();
  Log(LogLevel::kInfo, "queue %lu managed, %u packets, %s gate", queue->id, queue->size,
      intercept != nullptr ? "intercept" : "window");
  return true;
}

// After this neither the pump nor a producer touches the real queue through us.
void Layer::Unmanage(ManagedQueue* queue) {
  MutexScope scope(&registration_mutex_);
  LetGo(queue, &preemptor_, &gate_);
  registry_.Remove(*queue);
  QueueSlot* slot = queue->slot.load(std::memory_order_acquire);
  slot->submitted_index.store(real_.load_write_index_relaxed(queue->queue),
                              std::memory_order_relaxed);
  slot->published_index.store(slot->submitted_index.load(), std::memory_order_relaxed);
  slot->read_index.store(real_.load_read_index_scacquire(queue->queue), std::memory_order_relaxed);
  slot->active.store(0, std::memory_order_seq_cst);
  if (link_.process_page != nullptr) {
    slot->state.store(kSlotRetired, std::memory_order_release);
    link_.process_page->changes.fetch_add(1, std::memory_order_release);
    pump_.TellController();
  }
  registry_.Release(queue);
}

hsa_status_t Layer::DestroyQueue(hsa_queue_t* queue) {
  ManagedQueue* managed = registry_.Find(queue);
  InterceptGate* intercept = managed != nullptr ? managed->intercept : nullptr;
  if (managed != nullptr) Unmanage(managed);
  ForgetIntercepted(queue);
  ErrorRelay* const relay = UnlinkErrorRelay(queue);
  destructions_.Begin();
  const hsa_status_t status = real_.queue_destroy(queue);
  destructions_.End();
  if (status == HSA_STATUS_SUCCESS) {
    ReleaseErrorRelay(relay);
  } else if (relay != nullptr) {
    relay->queue.store(queue, std::memory_order_relaxed);  // it is still there
  }
  // ROCr may call it as long as the queue is there.
  if (intercept != nullptr && status == HSA_STATUS_SUCCESS) intercept->Free();
  return status;
}

hsa_status_t Layer::InactivateQueue(hsa_queue_t* queue) {
  ManagedQueue* managed = registry_.Find(queue);
  if (managed != nullptr) Unmanage(managed);
  destructions_.Begin();  // to the driver it is one
  const hsa_status_t status = real_.queue_inactivate(queue);
  destructions_.End();
  return status;
}

}  // namespace xsched_hsa

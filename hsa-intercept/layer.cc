#include "layer.h"

#include <hsa/hsa_ext_amd.h>
#include <sched.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

constinit QueueRegistry g_registry;
constinit KernelTimes g_times;
constinit QueueSlot g_detached_slots[kQueuesMax]{};
constinit Layer g_layer(&g_registry, &g_times, g_detached_slots);

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

// What ROCr makes of its three priorities: HIGH is 11 since 6.2, whose table is that long.
std::uint32_t KfdPriorityOf(hsa_amd_queue_priority_t priority, const RuntimeVersion& version) {
  constexpr std::uint32_t kExtTableBytes62 = 576;
  if (priority == HSA_AMD_QUEUE_PRIORITY_LOW) return 0;
  if (priority == HSA_AMD_QUEUE_PRIORITY_NORMAL) return 7;
  return version.ext_table_bytes >= kExtTableBytes62 ? 11 : 15;
}

std::uint32_t MechanismsOf(const Config& config, const RestrictionState& state) {
  if (state.kfd.id == kUnknownKfdQueueId) return 0;
  const std::uint32_t arrays = state.node.shader_arrays;
  // HSA_CU_MASK is a ceiling that only ROCr knows; a mask of ours would go past it.
  const bool maskable = !config.has_cu_mask && arrays != 0 && state.node.compute_units > arrays;
  return kMechanismSuspend | kMechanismPriority | (maskable ? kMechanismSqueeze : 0u);
}

}  // namespace

Layer& TheLayer() { return g_layer; }

bool Layer::Load(const RuntimeVersion& version) {
  ReadConfig(&config_);
  if (config_.disabled) {
    Log(LogLevel::kInfo, "disabled (XSCHED_HSA_DISABLE or a setuid program): passing through");
    return false;
  }
  version_ = version;
  inert_.store(false);
  MutexScope scope(&registration_mutex_);
  if (link_.process_page != nullptr) return true;  // loaded before, hsa_init came again
  char why[256];
  bool refused = false;
  if (!TryAttach(why, sizeof(why), &refused)) {
    Log(refused ? LogLevel::kWarn : LogLevel::kInfo, "%s: passing through until one does", why);
  }
  return true;
}

// With registration_mutex_ held.
bool Layer::TryAttach(char* why, std::uint32_t why_bytes, bool* refused) {
  SessionLink link;
  const bool connected = Connect(config_, version_, &link, why, why_bytes);
  *refused = link.refused;
  if (!connected) return false;
  Attach(link);
  Log(LogLevel::kInfo, "attached to the controller at %s as session %u, priority %d",
      config_.socket_path, link.id, config_.priority);
  return true;
}

void Layer::Attach(const SessionLink& link) {
  link_ = link;
  link_.process_page->queues_passed_through.store(passed_through_, std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < kQueuesMax; ++i) {
    ManagedQueue* queue = registry_.at(i);
    if (queue->live.load(std::memory_order_relaxed) != 0) AttachQueue(queue);
  }
  pump_.SetSession(link.process_page, link.event);
  preemptor_.SetSession(link.process_page, link.user_page);
  pump_.TellController();
}

void Layer::AttachQueue(ManagedQueue* queue) {
  QueueSlot* slot = &link_.process_page->queues[queue->index];
  slot->serial = static_cast<std::uint32_t>(queue->queue->id);
  slot->gpu_key = queue->gpu_key;
  slot->ring_packets = static_cast<std::uint32_t>(queue->ring_packets);
  slot->kfd_queue_id = queue->restricted.kfd.id;
  slot->requested_priority.store(queue->requested_priority, std::memory_order_relaxed);
  slot->hsa_queue_type = queue->queue->type;
  slot->created_us = NowUs();
  for (auto* counter :
       {&slot->packets_held, &slot->holds, &slot->held_us, &slot->held_us_max, &slot->raises,
        &slot->submitted_index, &slot->published_index, &slot->read_index, &slot->squeezes,
        &slot->suspends, &slot->restricted_us, &slot->device_us, &slot->deadline_us}) {
    counter->store(0, std::memory_order_relaxed);
  }
  slot->active.store(0, std::memory_order_relaxed);
  slot->gate_closed.store(0, std::memory_order_relaxed);
  slot->restriction.store(kUnrestricted, std::memory_order_relaxed);
  slot->mechanisms_available.store(MechanismsOf(config_, queue->restricted),
                                   std::memory_order_relaxed);
  slot->mechanisms.store(0, std::memory_order_relaxed);
  slot->kfd_priority.store(-1, std::memory_order_relaxed);
  slot->standing_first.store(0, std::memory_order_relaxed);
  slot->standing_units.store(0, std::memory_order_relaxed);
  slot->mode.store(0, std::memory_order_relaxed);
  slot->hold.store(0, std::memory_order_relaxed);
  slot->priority.store(-1, std::memory_order_relaxed);
  queue->urgency.store(FindUrgency(link_.user_page, queue->gpu_key), std::memory_order_release);
  queue->user_page.store(link_.user_page, std::memory_order_release);
  const bool foreign = queue->foreign.load(std::memory_order_relaxed) != 0;
  slot->state.store(foreign ? kSlotForeign : kSlotLive, std::memory_order_release);
  queue->slot.store(slot, std::memory_order_release);
  link_.process_page->changes.fetch_add(1, std::memory_order_release);
}

// Opens the queue's gate and lets everything pass from now on.
void Layer::DetachQueue(ManagedQueue* queue) {
  queue->slot.store(&detached_slots_[queue->index], std::memory_order_seq_cst);
  queue->urgency.store(nullptr, std::memory_order_release);
  queue->user_page.store(nullptr, std::memory_order_release);
  GateLook look;
  gate_.Look(queue, &look);
}

void Layer::Detach() {
  MutexScope scope(&registration_mutex_);
  preemptor_.SetSession(nullptr, nullptr);
  for (std::uint32_t i = 0; i < kQueuesMax; ++i) {
    ManagedQueue* queue = registry_.at(i);
    if (queue->live.load(std::memory_order_relaxed) != 0) DetachQueue(queue);
  }
  pump_.SetSession(nullptr, -1);
  Disconnect(&link_);
}

hsa_status_t Layer::CreateQueue(hsa_agent_t agent, std::uint32_t size, hsa_queue_type32_t type,
                                void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data,
                                std::uint32_t private_segment_size,
                                std::uint32_t group_segment_size, hsa_queue_t** queue) {
  if (inert_.load(std::memory_order_acquire)) {
    return real_.queue_create(agent, size, type, callback, data, private_segment_size,
                              group_segment_size, queue);
  }
  MutexScope scope(&creation_mutex_);
  QueueIdProbe probe("", DriverPid());
  const bool probing = probe.TakeBefore();
  const hsa_status_t status = real_.queue_create(agent, size, type, callback, data,
                                                 private_segment_size, group_segment_size, queue);
  if (status == HSA_STATUS_SUCCESS) Manage(agent, *queue, probing ? &probe : nullptr);
  return status;
}

bool Layer::IsManageable(hsa_agent_t agent, const hsa_queue_t& queue) {
  hsa_device_type_t device;
  // A cooperative queue is one per agent, shared inside ROCr, and reference-counted there.
  const bool type_fits = queue.type == HSA_QUEUE_TYPE_MULTI || queue.type == HSA_QUEUE_TYPE_SINGLE;
  return type_fits &&
         real_.agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &device) == HSA_STATUS_SUCCESS &&
         device == HSA_DEVICE_TYPE_GPU && queue.base_address != nullptr && queue.size != 0 &&
         (queue.size & (queue.size - 1)) == 0;
}

void Layer::CountPassedThrough() {
  ++passed_through_;
  if (link_.process_page != nullptr) {
    link_.process_page->queues_passed_through.store(passed_through_, std::memory_order_relaxed);
  }
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
    kfd.ring_base = reinterpret_cast<std::uint64_t>(queue->ring);
    kfd.ring_bytes =
        static_cast<std::uint32_t>(queue->ring_packets * sizeof(hsa_barrier_and_packet_t));
    kfd.id = probe->FindNew(node, kfd.ring_bytes);
  }
  if (kfd.id == kUnknownKfdQueueId) {
    Log(LogLevel::kInfo,
        "queue %lu: its KFD queue id is not certain; it can be held, not suspended or squeezed",
        queue->queue->id);
  }
  preemptor_.Adopt(queue, kfd, node);
}

void Layer::Manage(hsa_agent_t agent, hsa_queue_t* queue, const QueueIdProbe* probe) {
  MutexScope scope(&registration_mutex_);
  GpuKey key = 0;
  ManagedQueue* managed = nullptr;
  const ProcessPage* page = link_.process_page;
  if (IsManageable(agent, *queue) && ReadGpuKey(real_, agent, &key) && StartThreads()) {
    managed = registry_.Take([page](std::uint32_t index) {
      // A retired slot is still being read by the controller.
      return page == nullptr ||
             page->queues[index].state.load(std::memory_order_acquire) == kSlotFree;
    });
  }
  if (managed == nullptr) {
    CountPassedThrough();
    Log(LogLevel::kInfo, "queue %lu (type %u) is not managed and passes through", queue->id,
        queue->type);
    return;
  }
  managed->queue = queue;
  managed->doorbell = queue->doorbell_signal;
  managed->ring = static_cast<unsigned char*>(queue->base_address);
  managed->ring_packets = queue->size;
  managed->requested_priority = config_.priority;
  managed->gpu_key = key;
  managed->window = WindowState{};
  managed->idle_since_us = 0;
  managed->exposed_since_us = 0;
  managed->active_since_us.store(0);
  managed->foreign.store(0);
  managed->inherited_level.store(0);
  managed->waits = false;
  managed->waits_since_us = 0;
  managed->pump_watches.store(0);
  managed->announced_index.store(0);
  managed->again.store(0);
  managed->lock.store(0);
  managed->reserved_index.store(real_.load_write_index_scacquire(queue));
  managed->published_hint.store(managed->reserved_index.load());
  managed->slot.store(&detached_slots_[managed->index], std::memory_order_release);
  managed->urgency.store(nullptr, std::memory_order_release);
  managed->user_page.store(nullptr, std::memory_order_release);
  LearnKfdQueue(managed, probe);
  if (!registry_.Insert(managed)) {
    registry_.Release(managed);
    CountPassedThrough();
    return;
  }
  if (page != nullptr) AttachQueue(managed);
  managed->live.store(1, std::memory_order_seq_cst);
  if (page != nullptr) pump_.TellController();
  Log(LogLevel::kDebug, "queue %lu managed, %u packets", queue->id, queue->size);
}

// After this neither the pump nor a producer touches the real queue through us.
void Layer::Unmanage(ManagedQueue* queue) {
  MutexScope scope(&registration_mutex_);
  queue->live.store(0, std::memory_order_seq_cst);
  while (queue->pump_inside.load(std::memory_order_seq_cst) != 0) sched_yield();
  preemptor_.Forget(queue);
  gate_.Retire(queue);
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
  if (managed != nullptr) Unmanage(managed);
  return real_.queue_destroy(queue);
}

hsa_status_t Layer::InactivateQueue(hsa_queue_t* queue) {
  ManagedQueue* managed = registry_.Find(queue);
  if (managed != nullptr) Unmanage(managed);
  return real_.queue_inactivate(queue);
}

hsa_status_t Layer::SetQueuePriority(hsa_queue_t* queue, hsa_amd_queue_priority_t priority) {
  ManagedQueue* managed = registry_.Find(queue);
  if (managed == nullptr) return real_.queue_set_priority(queue, priority);
  MutexScope scope(preemptor_.mutex());
  const hsa_status_t status = real_.queue_set_priority(queue, priority);
  if (status == HSA_STATUS_SUCCESS) {
    preemptor_.ProgramSetPriority(managed, KfdPriorityOf(priority, version_));
  }
  return status;
}

hsa_status_t Layer::SetCuMask(const hsa_queue_t* queue, std::uint32_t bits,
                              const std::uint32_t* mask) {
  ManagedQueue* managed = registry_.Find(queue);
  if (managed == nullptr) return real_.queue_cu_set_mask(queue, bits, mask);
  MutexScope scope(preemptor_.mutex());
  const hsa_status_t status = real_.queue_cu_set_mask(queue, bits, mask);
  const auto reduced = static_cast<hsa_status_t>(HSA_STATUS_CU_MASK_REDUCED);
  if (status == HSA_STATUS_SUCCESS || status == reduced) {
    preemptor_.ProgramSetMask(managed, mask, bits);
  }
  return status;
}

void Layer::OpenAll() {
  if (is_fork_child_.load(std::memory_order_relaxed)) return;
  inert_.store(true, std::memory_order_seq_cst);
  MutexScope scope(&registration_mutex_);
  preemptor_.LiftAll();
  for (std::uint32_t i = 0; i < kQueuesMax; ++i) {
    ManagedQueue* queue = registry_.at(i);
    if (queue->live.load(std::memory_order_relaxed) != 0) DetachQueue(queue);
  }
}

void Layer::AfterForkInChild() {
  is_fork_child_.store(true);
  inert_.store(true);
  registry_.Clear();
  pump_.Forget();
  preemptor_.AfterForkInChild();
  kfd_.AfterForkInChild();
  // Otherwise the controller would not see the parent die as long as this child lives.
  Disconnect(&link_);
}

}  // namespace xsched_hsa

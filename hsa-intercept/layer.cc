#include "layer.h"

#include <hsa/hsa_ext_amd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "clock.h"
#include "log.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

constinit QueueRegistry g_registry;
constinit KernelTimes g_times;
constinit QueueSlot g_detached_slots[kQueuesMax]{};

std::uint32_t MechanismsOf(const Config& config, const RestrictionState& state) {
  if (state.kfd.id == kUnknownKfdQueueId) return kMechanismShare;
  const std::uint32_t arrays = state.node.shader_arrays;
  // HSA_CU_MASK is a ceiling that only ROCr knows; a mask of ours would go past it.
  const bool maskable = !config.has_cu_mask && arrays != 0 && state.node.compute_units > arrays;
  return kMechanismShare | kMechanismSuspend | kMechanismPriority |
         (maskable ? kMechanismSqueeze : 0u);
}

}  // namespace

constinit Layer g_layer(&g_registry, &g_times, g_detached_slots);

bool Layer::Load(const RuntimeVersion& version) {
  ReadConfig(&config_);
  if (config_.privileged) {
    Log(LogLevel::kWarn,
        "this program has rights of its own (setuid, setgid or capabilities of its file), and its "
        "environment is its caller's: passing through");
    return false;
  }
  if (config_.disabled) {
    Log(LogLevel::kInfo, "disabled by XSCHED_HSA_DISABLE: passing through");
    return false;
  }
  version_ = version;
  inert_.store(false);
  loaded_.store(true, std::memory_order_release);
  MutexScope scope(&registration_mutex_);
  if (config_.debug_trap && !kfd_.CanBatch()) BeginDebugSession();
  if (link_.process_page != nullptr) return true;  // loaded before, hsa_init came again
  char why[256];
  bool refused = false;
  if (!TryAttach(why, sizeof(why), &refused)) {
    Log(refused ? LogLevel::kWarn : LogLevel::kInfo, "%s: passing through%s", why,
        refused ? "" : " until one does");
    told_refusal_ = refused;
  }
  return true;
}

void Layer::BeginDebugSession() {
  const int error = kfd_.BeginDebugSession();
  if (error == 0) return Log(LogLevel::kInfo, "queues are suspended together, by DBG_TRAP");
  Log(LogLevel::kWarn,
      "XSCHED_HSA_DEBUG_TRAP: no debug session (%s%s); queues are suspended one by one",
      strerrordesc_np(error), error == EBUSY || error == EALREADY ? ", a debugger is there" : "");
}

// With registration_mutex_ held, like the next three. In OnLoad only: nobody else is there to wait for it.
bool Layer::TryAttach(char* why, std::uint32_t why_bytes, bool* refused) {
  SessionLink link;
  const bool connected = Connect(config_, version_, &link, why, why_bytes);
  *refused = link.refused;
  if (connected) AttachTo(link);
  return connected;
}

void Layer::AttachTo(const SessionLink& link) {
  told_refusal_ = false;
  Attach(link);
  Log(LogLevel::kInfo, "attached to the controller at %s as session %u, priority %d",
      config_.socket_path, link.id, config_.priority);
}

void Layer::Attach(const SessionLink& link) {
  link_ = link;
  link_.process_page->queues_passed_through.store(passed_through_, std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < registry_.end(); ++i) {
    ManagedQueue* queue = registry_.at(i);
    if (queue->live.load(std::memory_order_relaxed) != 0) AttachQueue(queue);
  }
  requests_.SetSession(link.process_page);
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
  slot->requested_priority.store(queue->requested_priority.load(std::memory_order_relaxed),
                                 std::memory_order_relaxed);
  slot->hsa_queue_type = queue->queue->type;
  slot->created_us = NowUs();
  slot->ring_base = queue->restricted.kfd.ring_base;  // 0 where it is not known
  for (auto* counter :
       {&slot->packets_held, &slot->holds, &slot->held_us, &slot->held_us_max, &slot->raises,
        &slot->submitted_index, &slot->published_index, &slot->read_index, &slot->squeezes,
        &slot->suspends, &slot->restricted_us, &slot->device_us, &slot->deadline_us}) {
    counter->store(0, std::memory_order_relaxed);
  }
  slot->deadline_us.store(shown_deadline_us_.load(std::memory_order_relaxed),
                          std::memory_order_relaxed);
  slot->active.store(0, std::memory_order_relaxed);
  slot->gate_closed.store(0, std::memory_order_relaxed);
  slot->exposed.store(0, std::memory_order_relaxed);
  slot->restriction.store(kUnrestricted, std::memory_order_relaxed);
  slot->masked_units.store(0, std::memory_order_relaxed);
  slot->mechanisms_available.store(MechanismsOf(config_, queue->restricted),
                                   std::memory_order_relaxed);
  slot->mechanisms.store(0, std::memory_order_relaxed);
  slot->kfd_priority.store(-1, std::memory_order_relaxed);
  slot->standing_first.store(0, std::memory_order_relaxed);
  slot->standing_units.store(0, std::memory_order_relaxed);
  slot->standing_lease_until_us.store(0, std::memory_order_relaxed);
  slot->mode.store(0, std::memory_order_relaxed);
  slot->hold.store(0, std::memory_order_relaxed);
  slot->priority.store(-1, std::memory_order_relaxed);
  JoinUrgency(queue, link_.user_page, *link_.process_page);
  const bool foreign = queue->foreign.load(std::memory_order_relaxed) != 0;
  slot->state.store(foreign ? kSlotForeign : kSlotLive, std::memory_order_release);
  queue->slot.store(slot, std::memory_order_seq_cst);
  // Whoever has marked it meanwhile may have told the slot before (LeaveAlone).
  if (queue->foreign.load(std::memory_order_seq_cst) != 0) {
    slot->state.store(kSlotForeign, std::memory_order_release);
  }
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
  for (std::uint32_t i = 0; i < registry_.end(); ++i) {
    ManagedQueue* queue = registry_.at(i);
    if (queue->live.load(std::memory_order_relaxed) != 0) DetachQueue(queue);
  }
  pump_.SetSession(nullptr, {});
  requests_.SetSession(nullptr);
  Disconnect(&link_);
}

hsa_status_t Layer::SetQueuePriority(hsa_queue_t* queue, hsa_amd_queue_priority_t priority) {
  ManagedQueue* managed = registry_.Find(queue);
  if (managed == nullptr) return real_.queue_set_priority(queue, priority);
  // Both: who exits in the middle of it needs both, and nobody may wait for the one with the other one in hand.
  MutexScope all(&registration_mutex_);
  MutexScope scope(preemptor_.mutex());
  const hsa_status_t status = real_.queue_set_priority(queue, priority);
  if (status == HSA_STATUS_SUCCESS) {
    preemptor_.ProgramSetPriority(managed, KfdPriorityOf(priority, version_.ext_table_bytes));
  }
  return status;
}

hsa_status_t Layer::SetCuMask(const hsa_queue_t* queue, std::uint32_t bits,
                              const std::uint32_t* mask) {
  ManagedQueue* managed = registry_.Find(queue);
  if (managed == nullptr) return real_.queue_cu_set_mask(queue, bits, mask);
  MutexScope all(&registration_mutex_);
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
  for (std::uint32_t i = 0; i < registry_.end(); ++i) {
    ManagedQueue* queue = registry_.at(i);
    if (queue->live.load(std::memory_order_relaxed) != 0) DetachQueue(queue);
  }
  // What does not fit ROCr's ring at once is passed on by the pump, which lives through exit.
  pump_.Wake(false);
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
  Disconnect(&joining_);
}

}  // namespace xsched_hsa

// layer_api.cc: what a program says to the layer by xsched_hsa.h.
#include "layer.h"
#include "xsched_hsa.h"

namespace xsched_hsa {
namespace {

// Of the queues that this thread makes. Four bytes of the space that the loader keeps for libraries
// which come late; nothing has to be called for it.
[[gnu::tls_model("initial-exec")]] thread_local constinit std::int32_t t_priority =
    XSCHED_HSA_PRIORITY_DEFAULT;

bool IsPriority(std::int32_t priority) {
  return priority >= XSCHED_HSA_PRIORITY_DEFAULT && priority <= kPriorityMax;
}

}  // namespace

std::int32_t Layer::PriorityOfNewQueue() const {
  return t_priority >= 0 ? t_priority : config_.priority;
}

int Layer::BeginRequest(std::uint64_t deadline_us, std::uint64_t* request) {
  if (!IsActive()) return XSCHED_HSA_ABSENT;
  std::uint64_t earliest_us = 0;
  const int result = requests_.Begin(deadline_us, request, &earliest_us);
  ShowDeadline(earliest_us);
  return result;
}

int Layer::EndRequest(std::uint64_t request) {
  if (!IsActive()) return XSCHED_HSA_ABSENT;
  std::uint64_t earliest_us = 0;
  const int result = requests_.End(request, &earliest_us);
  ShowDeadline(earliest_us);
  return result;
}

// A program's requests are its queues': which of them serves which one is not to be seen.
void Layer::ShowDeadline(std::uint64_t earliest_us) {
  if (shown_deadline_us_.exchange(earliest_us, std::memory_order_relaxed) == earliest_us) return;
  for (std::uint32_t i = 0; i < registry_.end(); ++i) {
    ManagedQueue* queue = registry_.at(i);
    if (queue->live.load(std::memory_order_acquire) == 0) continue;
    queue->slot.load(std::memory_order_acquire)
        ->deadline_us.store(earliest_us, std::memory_order_relaxed);
  }
  pump_.TellController();
}

int Layer::SetRequestedPriority(const void* queue, std::int32_t priority) {
  if (!IsActive()) return XSCHED_HSA_ABSENT;
  if (queue == nullptr || !IsPriority(priority)) return XSCHED_HSA_BAD_ARGUMENT;
  MutexScope scope(&registration_mutex_);
  ManagedQueue* managed = registry_.Find(static_cast<const hsa_queue_t*>(queue));
  if (managed == nullptr) return XSCHED_HSA_NOT_FOUND;
  const std::int32_t wanted = priority >= 0 ? priority : config_.priority;
  managed->requested_priority.store(wanted, std::memory_order_relaxed);
  QueueSlot* slot = managed->slot.load(std::memory_order_acquire);
  slot->requested_priority.store(wanted, std::memory_order_release);
  if (link_.process_page == nullptr) return XSCHED_HSA_OK;
  link_.process_page->changes.fetch_add(1, std::memory_order_release);
  pump_.TellController();
  return XSCHED_HSA_OK;
}

int Layer::SetThreadPriority(std::int32_t priority) {
  if (!IsActive()) return XSCHED_HSA_ABSENT;
  if (!IsPriority(priority)) return XSCHED_HSA_BAD_ARGUMENT;
  t_priority = priority;
  return XSCHED_HSA_OK;
}

int Layer::GetState(xsched_hsa_state* state) {
  if (!IsActive()) return XSCHED_HSA_ABSENT;
  xsched_hsa_state full{};
  {
    MutexScope scope(&registration_mutex_);
    full.attached = link_.process_page != nullptr ? 1 : 0;
  }
  full.priority = config_.priority;
  for (std::uint32_t i = 0; i < registry_.end(); ++i) {
    const ManagedQueue* queue = registry_.at(i);
    if (queue->live.load(std::memory_order_acquire) == 0) continue;
    const QueueSlot* slot = queue->slot.load(std::memory_order_acquire);
    constexpr auto relaxed = std::memory_order_relaxed;
    ++full.queues;
    full.queues_held += slot->gate_closed.load(relaxed) != 0 ? 1 : 0;
    full.queues_restricted += slot->restriction.load(relaxed) != kUnrestricted ? 1 : 0;
    full.packets_held += slot->packets_held.load(relaxed);
    full.holds += slot->holds.load(relaxed);
    full.held_us += slot->held_us.load(relaxed);
  }
  const Requests::Counts counts = requests_.counts();
  full.requests_begun = counts.begun;
  full.requests_ended = counts.ended;
  full.requests_missed = counts.missed;
  // A caller of an older or a newer header gets what both know.
  const std::uint32_t size = state->size_bytes < sizeof full ? state->size_bytes : sizeof full;
  if (size < sizeof state->size_bytes) return XSCHED_HSA_BAD_ARGUMENT;
  full.size_bytes = size;
  __builtin_memcpy(state, &full, size);
  return XSCHED_HSA_OK;
}

}  // namespace xsched_hsa

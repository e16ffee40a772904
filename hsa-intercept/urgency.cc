#include "urgency.h"

#include "clock.h"
#include "trace.h"

namespace xsched_hsa {
namespace {

// Only if the controller has acted on everything before this raise: a controller that hangs can
// then hold nobody for longer than one lease.
void ExtendLease(GpuUrgency* urgency, std::uint64_t word, std::uint64_t now_us) {
  if (urgency->acked_epoch.load(std::memory_order_acquire) != EpochOf(word)) return;
  const std::uint64_t until_us = now_us + kLeaseUs;
  std::uint64_t old = urgency->lease_until_us.load(std::memory_order_relaxed);
  while (old < until_us && !urgency->lease_until_us.compare_exchange_weak(old, until_us)) {
  }
}

// Asks for the line before it is needed: a request begins after a pause, and each line that others write
// meanwhile takes its own way here, one after the other if nobody asks.
inline void WillWrite(const void* line) {
#if defined(__x86_64__)
  __asm__ volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
  __builtin_prefetch(line, 1);
#endif
}

bool BecomesActive(QueueSlot* slot) {
  return slot->active.exchange(1, std::memory_order_seq_cst) == 0;
}

void TraceActive(const ManagedQueue& queue, QueueSlot* slot, std::uint32_t level) {
  const UserPage* page = queue.user_page.load(std::memory_order_relaxed);
  const GpuUrgency* urgency = queue.urgency.load(std::memory_order_relaxed);
  TraceQueue(queue, slot, kTraceRaise, level,
             page != nullptr && urgency != nullptr ? urgency - page->gpus : 0);
}

}  // namespace

std::uint32_t LevelOfQueue(const ManagedQueue& queue, const QueueSlot& slot) {
  const std::int32_t ordered = slot.priority.load(std::memory_order_relaxed);
  const std::int32_t priority = ordered >= 0 && ordered <= kPriorityMax
                                    ? ordered
                                    : queue.requested_priority.load(std::memory_order_relaxed);
  const std::uint32_t own = static_cast<std::uint32_t>(priority + 1);
  const std::uint32_t inherited = queue.inherited_level.load(std::memory_order_relaxed);
  return inherited > own ? inherited : own;
}

bool MarkActive(ManagedQueue* queue, QueueSlot* slot) {
  if (slot->active.load(std::memory_order_seq_cst) != 0 || !BecomesActive(slot)) return false;
  queue->active_since_us.store(NowUs(), std::memory_order_relaxed);
  TraceActive(*queue, slot, 0);
  return true;
}

bool RaiseIfInactive(ManagedQueue* queue, QueueSlot* slot, bool* bell_due) {
  if (slot->active.load(std::memory_order_seq_cst) != 0) return false;
  GpuUrgency* urgency = queue->urgency.load(std::memory_order_acquire);
  if (urgency == nullptr) {
    MarkActive(queue, slot);
    return false;
  }
  WillWrite(urgency);
  if (!BecomesActive(slot)) return false;
  // Read once: what stands before the swap delays the closing of gates.
  const std::uint64_t now_ns = NowNs();
  queue->active_since_us.store(now_ns / 1000, std::memory_order_relaxed);
  const std::uint32_t own = LevelOfQueue(*queue, *slot);
  std::uint64_t word = urgency->word.load(std::memory_order_seq_cst);
  std::uint64_t next;
  do {
    ExtendLease(urgency, word, now_ns / 1000);
    const std::uint32_t level = LevelOf(word);
    next = UrgencyWord(EpochOf(word) + 1, level > own ? level : own);
  } while (!urgency->word.compare_exchange_weak(word, next, std::memory_order_seq_cst));
  if (LevelOf(word) < own) urgency->raised_ns.store(now_ns, std::memory_order_relaxed);
  slot->raises.fetch_add(1, std::memory_order_relaxed);
  TraceActive(*queue, slot, own);
  if (bell_due != nullptr) {
    *bell_due = true;
  } else {
    RingBellOf(*queue);
  }
  return true;
}

bool Activate(ManagedQueue* queue, QueueSlot* slot, bool* bell_due) {
  const std::uint32_t mode = slot->mode.load(std::memory_order_acquire);
  if ((mode & kModeRaise) != 0) return RaiseIfInactive(queue, slot, bell_due);
  return (mode & kModeReport) != 0 && MarkActive(queue, slot);
}

void RingBell(UserPage* page) {
  page->bell.fetch_add(1, std::memory_order_seq_cst);
  if (page->listeners.load(std::memory_order_seq_cst) != 0) FutexWake(&page->bell);
}

void RingBellOf(const ManagedQueue& queue) {
  if (UserPage* page = queue.user_page.load(std::memory_order_acquire); page != nullptr) {
    RingBell(page);
  }
}

bool IsClosed(const ManagedQueue& queue, const QueueSlot& slot, std::uint64_t now_us,
              std::uint64_t* until_us) {
  if (slot.hold.load(std::memory_order_acquire) != 0) {
    const std::uint64_t lease = slot.hold_lease_until_us.load(std::memory_order_relaxed);
    if (now_us < lease) {
      *until_us = lease;
      return true;
    }
  }
  // Squeezed, or left alone: what is more urgent has room enough.
  return queue.goes_on.load(std::memory_order_acquire) == 0 &&
         IsOutranked(queue, slot, now_us, until_us);
}

bool ClosesNow(const ManagedQueue& queue, const QueueSlot& slot, std::uint64_t now_us,
               std::uint64_t* until_us) {
  if (!IsClosed(queue, slot, now_us, until_us)) return false;
  GpuUrgency* urgency = queue.urgency.load(std::memory_order_acquire);
  if (urgency == nullptr) return true;
  const std::uint32_t bit = queue.session_bit.load(std::memory_order_relaxed);
  std::atomic<std::uint64_t>& closed = urgency->closed[bit / 64];
  const std::uint64_t own = std::uint64_t{1} << (bit % 64);
  if ((closed.load(std::memory_order_seq_cst) & own) == 0) {
    closed.fetch_or(own, std::memory_order_seq_cst);
  }
  // Lowered meanwhile, the controller may have missed the bit.
  return IsClosed(queue, slot, now_us, until_us);
}

bool IsOutranked(const ManagedQueue& queue, const QueueSlot& slot, std::uint64_t now_us,
                 std::uint64_t* until_us) {
  const GpuUrgency* urgency = queue.urgency.load(std::memory_order_acquire);
  if (urgency == nullptr) return false;
  const std::uint64_t word = urgency->word.load(std::memory_order_seq_cst);
  if (LevelOf(word) <= LevelOfQueue(queue, slot)) return false;
  const std::uint64_t lease = urgency->lease_until_us.load(std::memory_order_acquire);
  // A lease further away than any controller grants is a damaged word, not a reason to wait.
  if (now_us >= lease || lease > now_us + 10 * kLeaseUs) return false;
  *until_us = lease;
  return true;
}

void JoinUrgency(ManagedQueue* queue, UserPage* user_page, const ProcessPage& page) {
  queue->session_bit.store(page.session_bit % kSessionBits, std::memory_order_relaxed);
  queue->urgency.store(FindUrgency(user_page, queue->gpu_key), std::memory_order_release);
  queue->user_page.store(user_page, std::memory_order_release);
}

GpuUrgency* FindUrgency(UserPage* page, GpuKey key) {
  for (GpuUrgency& entry : page->gpus) {
    GpuKey seen = entry.gpu_key.load(std::memory_order_acquire);
    if (seen == 0 && entry.gpu_key.compare_exchange_strong(seen, key)) return &entry;
    if (seen == key) return &entry;
  }
  return nullptr;
}

}  // namespace xsched_hsa

#include "trace.h"

#include <cstddef>

#include "clock.h"

namespace xsched_hsa {

void TraceInto(TraceRing* ring, TraceKind kind, std::uint32_t serial, std::uint64_t a,
               std::uint64_t b) {
  if (ring == nullptr || ring->on.load(std::memory_order_relaxed) == 0) return;
  constexpr auto relaxed = std::memory_order_relaxed;
  const std::uint64_t number = ring->made.fetch_add(1, std::memory_order_acq_rel);
  TraceEvent& event = ring->events[number % kTraceEventsMax];
  event.sequence.store(0, relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  event.at_ns.store(NowNs(), relaxed);
  event.kind.store(kind, relaxed);
  event.serial.store(serial, relaxed);
  event.a.store(a, relaxed);
  event.b.store(b, relaxed);
  event.sequence.store(number + 1, std::memory_order_release);
}

// Only a controller sets kModeTrace, and only in a slot that is in a process page.
void TraceTraced(const ManagedQueue& queue, QueueSlot* slot, TraceKind kind, std::uint64_t a,
                 std::uint64_t b) {
  auto* const first = reinterpret_cast<unsigned char*>(slot - queue.index);
  auto* const page = reinterpret_cast<ProcessPage*>(first - offsetof(ProcessPage, queues));
  TraceInto(&page->trace, kind, static_cast<std::uint32_t>(queue.queue->id), a, b);
}

}  // namespace xsched_hsa

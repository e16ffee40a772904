// trace.h: writes what happens to a queue into the page, while somebody records.
//
// Why        A timeline needs moments; counters have none.
// Threads    any. A record is a ticket, six stores and no lock. Nothing here is reached while the
//            queue's mode has no kModeTrace: the packet path pays nothing then.
// Ownership  the ring is the session's; pages are never unmapped, so a late writer does no harm.
// See        queue-ctl/trace_page.h
#pragma once

#include "managed_queue.h"

namespace xsched_hsa {

// `ring` may be null.
void TraceInto(TraceRing* ring, TraceKind kind, std::uint32_t serial, std::uint64_t a,
               std::uint64_t b);
// The slow half of TraceQueue.
void TraceTraced(const ManagedQueue& queue, QueueSlot* slot, TraceKind kind, std::uint64_t a,
                 std::uint64_t b);

inline void TraceQueue(const ManagedQueue& queue, QueueSlot* slot, TraceKind kind,
                       std::uint64_t a = 0, std::uint64_t b = 0) {
  if ((slot->mode.load(std::memory_order_relaxed) & kModeTrace) == 0) [[likely]]
    return;
  TraceTraced(queue, slot, kind, a, b);
}

}  // namespace xsched_hsa

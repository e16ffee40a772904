// urgency.h: raising a GPU's urgency, and asking whether a queue must wait for it.
//
// Why        Both ends of the fast path: a doorbell of an urgent queue raises, the gate of another
//            queue (of any program of the same user) sees it at its next publication, with nobody
//            between them. The words and their order rules are in queue-ctl/shared_page.h.
// Threads    any.
// Units      levels are priority + 1; _us is CLOCK_MONOTONIC.
#pragma once

#include "managed_queue.h"

namespace xsched_hsa {

// priority + 1 of the queue as it counts now: the controller's word, else the program's own; or the
// level of a queue that waits for it, if that is higher.
std::uint32_t LevelOfQueue(const ManagedQueue& queue, const QueueSlot& slot);

// Marks the queue active and raises its GPU's urgency. True if it did, that is, if the queue was
// not active before: the caller then wakes the pump, which tells the controller. Rings the bell, or, if
// `bell_due` is given, sets it and leaves that to the caller: whom it wakes, it wakes on this thread, and
// the urgent packet itself need not wait for so many system calls.
bool RaiseIfInactive(ManagedQueue* queue, QueueSlot* slot, bool* bell_due = nullptr);

// Likewise without the raise, for a queue that only reports.
bool MarkActive(ManagedQueue* queue, QueueSlot* slot);
// The one of the two that the queue's mode asks for, if any.
bool Activate(ManagedQueue* queue, QueueSlot* slot, bool* bell_due = nullptr);

// Must the queue's packets wait? If so, *until_us is when that restriction lapses by itself.
bool IsClosed(const ManagedQueue& queue, const QueueSlot& slot, std::uint64_t now_us,
              std::uint64_t* until_us);

// The same, and the controller is told: it wakes this program when it lowers the urgency. What closes a
// gate has to ask this one.
bool ClosesNow(const ManagedQueue& queue, const QueueSlot& slot, std::uint64_t now_us,
               std::uint64_t* until_us);

// Is something more urgent than the queue at work, whether or not it may go on beside it?
bool IsOutranked(const ManagedQueue& queue, const QueueSlot& slot, std::uint64_t now_us,
                 std::uint64_t* until_us);

// Wakes whoever can preempt mid-kernel; to be called after an urgency word has changed.
void RingBell(UserPage* page);
void RingBellOf(const ManagedQueue& queue);

// Puts the queue among those of its user and GPU, as a program of that page. Its slot is the caller's.
void JoinUrgency(ManagedQueue* queue, UserPage* user_page, const ProcessPage& page);

// The entry of `key` in the user page, made if it is not there. Null when the table is full.
GpuUrgency* FindUrgency(UserPage* page, GpuKey key);

}  // namespace xsched_hsa

// preemptor_orders.cc: what an operator has ordered of a queue that is on the hardware.
#include <algorithm>

#include "clock.h"
#include "preemptor.h"

namespace xsched_hsa {

// A suspension lasts as long as its lease is renewed, like any hold: a controller that is gone keeps
// nobody off the hardware. It is apart from what is urgent, and ends only by order or lease.
void Preemptor::FollowHoldOrder(Arena* arena, ManagedQueue* queue, QueueSlot* slot,
                                std::uint64_t* next_ns) {
  RestrictionState& state = queue->restricted;
  const std::uint64_t lease_us = slot->hold_lease_until_us.load(std::memory_order_relaxed);
  const bool ordered = slot->hold.load(std::memory_order_acquire) == kHoldSuspend &&
                       NowUs() < lease_us && queue->foreign.load(std::memory_order_relaxed) == 0;
  if (!ordered) {
    if (!state.ordered) return;
    state.ordered = false;
    // Where something is urgent the plan has it from here on, suspended as it is.
    if (!arena->urgent && !Lift(arena, queue, slot)) {
      // Refused by the driver. Nobody may ring again: the controller may be the one that hangs.
      state.ordered = true;
      *next_ns = std::min(*next_ns, NowNs() + kRetryLiftNs);
    }
    return;
  }
  *next_ns = std::min(*next_ns, lease_us * 1000);
  if (state.ordered) return;
  const std::uint32_t available = slot->mechanisms_available.load(std::memory_order_relaxed);
  if ((available & kMechanismSuspend) == 0) return;
  const bool goes_on = state.restriction == kSqueezed || state.restriction == kSharing;
  if (goes_on && !Lift(arena, queue, slot)) return;
  if (state.restriction == kUnrestricted && Suspend(arena, {queue, slot, 0}) != 0) return;
  state.ordered = true;
}

}  // namespace xsched_hsa

// managed_queue.h: one AQL queue as the layer sees it.
//
// Why        The real queue goes to the program; its write index, though, is ours: the program
//            reserves slots on `reserved_index` (for the queue's whole life: switching the counter at
//            run time would lose packets, docs/decisions.md), and only what may run is published by
//            raising the real write index.
// Indexes    read <= real write index (published) <= announced <= reserved; all count packets.
//              reserved   slots the program has taken (hsa_queue_*_write_index_*)
//              announced  1 + the highest doorbell value the program has rung while managed
//              published  the real write index: what the packet processor may take
// Threads    the first line is constant while the queue is in the registry, but for requested_priority
//            (xsched_hsa.h), and for slot, urgency, user_page and session_bit, which the session
//            replaces when it attaches or detaches. `lock` guards WindowState and
//            the counters behind it; it is only ever tried, never waited for on the packet path.
// Ownership  lives in a static pool for the whole process: no thread can meet a freed one. All
//            initial values are zero, so that the pool costs no file space.
#pragma once

#include <hsa/hsa.h>

#include <atomic>
#include <cstdint>

#include "kernel_times.h"
#include "kfd_access.h"
#include "linger.h"
#include "queue-ctl/shared_page.h"

namespace xsched_hsa {

class InterceptGate;

inline constexpr std::uint32_t kTrackedPackets = 256;  // exposed at once while armed, at most

// What the window needs to know; guarded by ManagedQueue::lock.
struct WindowState {
  std::uint64_t tracked_from = 0;     // packets from here on have an entry in kernel_key
  std::uint64_t progress = 0;         // as seen at the last look
  std::uint64_t head_began_ns = 0;    // since when the packet at `progress` runs as we learn it
  std::uint64_t head_seen_ns = 0;     // since when it is the first, whatever happened meanwhile
  std::uint64_t moved_ns = 0;         // when progress last moved, for the watchdog
  std::uint64_t held_mark = 0;        // packets below were already counted as held
  std::uint64_t closed_since_us = 0;  // 0: not closed with work behind it
  std::uint64_t exposed_ns = 0;  // predicted time of the tracked packets in [progress, published)
  bool tracking = false;
  bool learning = false;       // what runs now has the device as it always has
  bool held_back = false;      // the last look left packets only because the window was full
  std::uint64_t widen_ns = 0;  // more window, because looks came too late (window_size.cc)
  KernelContext context;       // what was exposed last
  KernelKey kernel_key[kTrackedPackets] = {};        // of KernelTimes, by packet index
  std::uint32_t predicted_ns[kTrackedPackets] = {};  // as it was when the packet was exposed
};

// What the preemptor knows of the queue behind the ring; guarded by Preemptor's mutex.
struct RestrictionState {
  KfdQueue kfd;
  KfdNode node;
  std::uint32_t restriction = kUnrestricted;
  bool batched = false;          // suspended together with others: to be resumed the same way
  std::uint32_t units_left = 0;  // of a squeeze: what it was narrowed to
  std::uint64_t since_us = 0;
  bool ordered = false;              // suspended by an operator's order, whatever is urgent
  std::uint32_t standing_first = 0;  // the standing mask in force (QueueSlot), in compute units
  std::uint32_t standing_units = 0;  // 0: none
  std::uint32_t user_mask[kCuMaskWordsMax] = {};  // as the program asked for it
  std::uint32_t user_mask_bits = 0;               // 0: it never did, or asked for all
  bool program_set_priority = false;              // then the hardware's is not ours to change
  std::uint32_t retries = 0;  // of taking a restriction off, which the driver has refused so far
  bool resumed = false;  // a call of ours has said 100: after an error it may be on again by that
  std::uint64_t stop_again_ns = 0;  // of such a one: before, the driver is not asked again
  bool narrowable = true;           // the program's mask leaves each shader array something of ours
};

// Does the preemptor listen for requests? If it rests, since nothing has had work, the queue's next doorbell says
// that the rest is over, and the pump wakes it.
enum PreemptorRest : std::uint32_t { kListens = 0, kRests = 1, kRestIsOver = 2 };

struct alignas(64) ManagedQueue {
  hsa_queue_t* queue = nullptr;
  hsa_signal_t doorbell = {0};
  unsigned char* ring = nullptr;
  std::uint64_t ring_packets = 0;
  std::uint32_t index = 0;  // in the pool and in the process page
  std::atomic<std::int32_t> requested_priority{0};
  GpuKey gpu_key = 0;
  InterceptGate* intercept = nullptr;         // null: the window gate works on the real queue
  std::atomic<QueueSlot*> slot{nullptr};      // never null while registered
  std::atomic<GpuUrgency*> urgency{nullptr};  // null while detached
  std::atomic<UserPage*> user_page{nullptr};  // likewise
  std::atomic<std::uint32_t> session_bit{0};  // of GpuUrgency::closed

  alignas(64) std::atomic<std::uint64_t> reserved_index{0};
  // The real index as last seen, never above it: saves the packet path one read of a line that the
  // device reads too.
  std::atomic<std::uint64_t> published_hint{0};
  // The real index itself, where it is ROCr's own functions that would be called for it; else null.
  std::atomic<std::uint64_t>* real_index = nullptr;

  alignas(64) std::atomic<std::uint64_t> announced_index{0};
  std::atomic<std::uint32_t> lock{0};
  std::atomic<std::uint32_t> again{0};
  std::atomic<std::uint32_t> in_use{0};        // pool entry taken
  std::atomic<std::uint32_t> live{0};          // registered: the pump may look at it
  std::atomic<std::uint32_t> pump_inside{0};   // the pump is looking: destruction waits for it
  std::atomic<std::uint32_t> foreign{0};       // its program bypasses the API: never held
  std::atomic<std::uint32_t> failed{0};        // ROCr has stopped it after an error: likewise
  std::atomic<std::uint32_t> pump_watches{0};  // the pump looks after it: no need to wake it again
  std::atomic<std::uint32_t> preemptor_rest{0};   // PreemptorRest
  std::atomic<std::uint32_t> inherited_level{0};  // of a queue that waits for this one; 0: none
  // While whatever is exposed can be reached anyway: how much more than the policy's window may be.
  std::atomic<std::uint64_t> wide_window_ns{0};
  // On a line that the raise reads anyway: it is written just before the urgency word.
  std::atomic<std::uint64_t> active_since_us{0};
  std::atomic<std::uint32_t> goes_on{0};       // it may go on although something is more urgent
  std::atomic<std::uint32_t> error_inside{0};  // ROCr tells of its error: destruction waits for it

  alignas(64) WindowState window;
  RestrictionState restricted;  // the preemptor's, under its mutex
  std::uint64_t waits_at = 0;   // the pump's own: the head that a dependency keeps there
  std::uint64_t waits_since_us =
      0;               // the pump's own: since when it has been seen so; 0: it does not
  bool waits = false;  // the pump's own: it was given up as urgent for that
  std::uint64_t exposed_since_us = 0;  // the pump's own: work on the hardware, counted up to here
  std::uint64_t idle_since_us = 0;     // the pump's own: drained since, 0 while busy
  std::uint64_t idle_published = 0;    // the pump's own: the published index at that time
  Linger linger;                       // the pump's own
};

// Nobody holds it any more, nor does the controller count it. The mark first, the slot second: Layer::AttachQueue does
// it the other way round, so that one of the two tells the new session.
inline void LeaveAlone(ManagedQueue* queue) {
  queue->foreign.store(1, std::memory_order_seq_cst);
  queue->slot.load(std::memory_order_seq_cst)->state.store(kSlotForeign, std::memory_order_release);
}

}  // namespace xsched_hsa

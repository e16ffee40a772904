// shared_page.h: the memory that the layer and the controller share.
//
// Why        The packet plane must close a gate without a system call and without the controller in
//            the loop; the control plane must see every queue without asking. Two kinds of page:
//            a ProcessPage for each program, and a UserPage that all programs of one user map, so
//            that one program's doorbell closes another one's gate by a store.
// Threads    every field names its one writer; all shared words are lock-free atomics. Order rules
//            stand at the fields that need them (docs/life-of-a-preemption.md has the whole story).
// Ownership  both are memfds made, sized and sealed (F_SEAL_SHRINK|GROW) by the controller; the layer
//            checks the seals before it maps, so that no page can vanish under a running program. A
//            fork child must not touch them.
// Trust      what the other side wrote is copied once, bounded, then used. A user's programs can
//            disturb each other through the UserPage, as they can by kill(2); nobody else's.
// Units      _us: CLOCK_MONOTONIC microseconds. Indexes count AQL packets.
// Limits     kQueuesMax queues a process (further ones pass through), kGpusMax GPUs a user.
// Needs      only libc and lock-free atomics: this header is built into libxsched-hsa.so.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "queue-ctl/trace_page.h"

namespace xsched_hsa {

inline constexpr std::uint32_t kPageMagic = 0x41534858;  // "XHSA"
inline constexpr std::uint32_t kAbiVersion = 6;
inline constexpr std::uint32_t kQueuesMax = 256;
inline constexpr std::uint32_t kGpusMax = 16;
inline constexpr std::uint32_t kSessionBits = 1024;     // a program's bit in GpuUrgency::closed
inline constexpr std::uint64_t kLeaseUs = 35'000;       // how long an unrenewed restriction lasts
inline constexpr std::uint64_t kLeaseRenewUs = 12'000;  // how often the controller renews
inline constexpr std::uint32_t kUnknownKfdQueueId = 0xffffffff;
inline constexpr std::uint32_t kDecisionsMax = 64;     // the last ones a process remembers
inline constexpr std::uint32_t kLatencyBuckets = 240;  // of a LatencyHistogram

// Priorities are KFD's queue priorities, 0..15. A level is priority + 1; level 0 means "none".
inline constexpr std::int32_t kPriorityLow = 0, kPriorityNormal = 7, kPriorityHigh = 15;
inline constexpr std::int32_t kPriorityMax = 15;

// A GPU's name that all processes agree on: PCI domain << 16 | bus << 8 | device << 3 | function, plus
// one, so that 0 is free.
using GpuKey = std::uint64_t;

// ---------------------------------------------------------------------------------------- user page
// Urgency of one GPU among one user's programs. `word` is {epoch:32 | level:32}.
//  raise  (layer, at the doorbell that makes a queue active): CAS word to {epoch + 1, max(level, own)};
//         always a new epoch, so that a concurrent lowering fails and looks again. If acked_epoch was
//         the old epoch, lease_until_us = max(lease_until_us, now + kLeaseUs): a controller that does
//         not answer can't be made to hold anybody for longer than one lease.
//  lower  (controller): read word, look at every queue's `active`, CAS word to {epoch + 1, new level}.
//  closed (layer, at each publication of an armed queue): level > own level and now < lease_until_us.
//         It then sets its program's bit in `closed` and looks at the word once more; the controller
//         lowers the word first and takes the bits second (all sequentially consistent): either the layer
//         sees the lowering, or the controller sees the bit and wakes that program, and nobody else.
struct alignas(64) GpuUrgency {
  std::atomic<GpuKey> gpu_key;      // layer or controller: CAS from 0, never changed after
  std::atomic<std::uint64_t> word;  // both, CAS only
  std::atomic<std::uint64_t> lease_until_us;  // both, never lowered by the layer
  std::atomic<std::uint32_t> acked_epoch;     // controller: the last epoch it has acted on
  std::atomic<std::uint64_t> raised_ns;   // layer: when it raised the level last; a measure only
  std::atomic<std::uint64_t> drained_ns;  // layer: since when its queue had no work; likewise
  // Programs with a closed gate: bit ProcessPage::session_bit, set by the layer, taken by the controller. Lines of
  // their own: who raises has nothing to do with them.
  alignas(64) std::atomic<std::uint64_t> closed[kSessionBits / 64];
};
constexpr std::uint32_t LevelOf(std::uint64_t word) { return static_cast<std::uint32_t>(word); }
constexpr std::uint32_t EpochOf(std::uint64_t word) {
  return static_cast<std::uint32_t>(word >> 32);
}
constexpr std::uint64_t UrgencyWord(std::uint32_t epoch, std::uint32_t level) {
  return static_cast<std::uint64_t>(epoch) << 32 | level;
}

struct UserPage {
  std::uint32_t magic, abi_version;
  std::uint32_t size_bytes;
  std::uint32_t uid;
  // Who can preempt mid-kernel sleeps on `bell`. Whoever changes an urgency word rings: bell + 1, then
  // FUTEX_WAKE if `listeners` is not 0. A listener counts itself first and looks at the words second,
  // both sequentially consistent: one of the two sees the other.
  alignas(64) std::atomic<std::uint32_t> bell;  // any
  std::atomic<std::uint32_t> listeners;         // layers; a killed one leaves its count behind,
                                                // which costs a needless wake a ring
  alignas(64) GpuUrgency gpus[kGpusMax];
};

// ------------------------------------------------------------------------------------- process page
enum QueueSlotState : std::uint32_t {
  kSlotFree = 0,
  kSlotLive = 1,     // stored with release after the rest of the slot was written
  kSlotForeign = 2,  // live, but its program bypasses the API: never held, only reported
  kSlotRetired = 3,  // destroyed; counters stay readable until the controller stores kSlotFree
};

// Mode bits of a queue, written by the controller. 0: pass everything, tell nobody.
enum QueueMode : std::uint32_t {
  kModeArmed = 1,  // something more urgent may come: expose only a window, obey urgency and hold
  kModeRaise = 2,  // less urgent work exists: raise urgency when this queue becomes active
  // Keep `active` and `device_us` up to date, and tell the controller when `active` changes or a held
  // queue's last exposed packet has been taken.
  kModeReport = 4,
  kModeTrace = 8,  // somebody records: write into ProcessPage::trace
};

// Mechanisms beyond the hold, which an armed queue always has. As allowed by the controller, and as
// the layer found it can use them on this queue.
enum Mechanisms : std::uint32_t {
  kMechanismSqueeze = 1,   // SET_CU_MASK: the queue goes on, on fewer compute units
  kMechanismSuspend = 2,   // UPDATE_QUEUE: off the hardware, running waves saved
  kMechanismPriority = 4,  // UPDATE_QUEUE: the hardware queue's priority follows ours
  kMechanismShare = 8,     // none of them, not even the hold, where requests hardly feel the queue
};
inline constexpr std::uint32_t kMechanismsAll = 15;

// What an operator or a policy has ordered, whatever is urgent.
enum HoldOrder : std::uint32_t {
  kHoldNone = 0,
  kHoldPackets = 1,  // publish nothing
  kHoldSuspend = 2,  // and take off the hardware what it has, if kMechanismSuspend is available
};

// What stands between a queue and the hardware now, besides its gate.
// kSharing: nothing, and its gate is open although something is more urgent.
enum Restriction : std::uint32_t { kUnrestricted = 0, kSqueezed = 1, kSuspended = 2, kSharing = 3 };

struct alignas(64) QueueSlot {
  // Line 1: written by the layer when the queue is made.
  std::atomic<std::uint32_t> state;
  std::uint32_t serial;  // hsa_queue_t.id, unique in the process
  GpuKey gpu_key;
  std::uint32_t ring_packets;
  std::uint32_t kfd_queue_id;                    // kUnknownKfdQueueId when not learnt
  std::atomic<std::int32_t> requested_priority;  // what the program or its environment asked for
  std::uint32_t hsa_queue_type;
  std::uint64_t created_us;
  std::uint64_t ring_base;  // address in the program; for finding the queue in register dumps

  // Line 2: written by the layer's pump whenever it runs, and on request (ProcessPage::refresh).
  alignas(64) std::atomic<std::uint64_t> submitted_index;  // packets the program has announced
  std::atomic<std::uint64_t> published_index;              // packets the hardware may see
  std::atomic<std::uint64_t> read_index;                   // packets the hardware has taken
  std::atomic<std::uint64_t> packets_held;  // packets that a closed gate kept back, each once
  std::atomic<std::uint64_t> holds;    // times the gate closed on this queue with work behind it
  std::atomic<std::uint64_t> held_us;  // total time closed with work behind it
  std::atomic<std::uint64_t> held_us_max;
  std::atomic<std::uint64_t> raises;  // times this queue raised the urgency

  // Line 3: written at the doorbell (0 -> 1) and by the pump (1 -> 0 after linger_us without work).
  // Order: the doorbell publishes first, then looks at `active`; the pump clears `active` first,
  // then looks at the indexes again (both sequentially consistent): one of them sees the other.
  alignas(64) std::atomic<std::uint32_t> active;
  std::atomic<std::uint32_t> gate_closed;           // the layer's own view, for inspection
  std::atomic<std::uint32_t> restriction;           // Restriction, likewise
  std::atomic<std::uint32_t> mechanisms_available;  // Mechanisms that work on this queue
  std::atomic<std::uint64_t> squeezes;
  std::atomic<std::uint64_t> suspends;
  std::atomic<std::uint64_t> restricted_us;  // total time squeezed or suspended
  // Device time the queue has used: host-measured time in which at least one of its packets was
  // exposed to the hardware and not yet taken, while the queue is armed, raises or reports. Written by
  // the pump at its looks, so it lags by at most one look (5 ms where there are many programs), and it counts
  //  - time on the hardware, not compute units: two queues side by side are both charged in full;
  //  - packets that wait at the hardware (for a barrier's signal, or for another tenant's kernel);
  // and it misses the last packet's run where the packet processor takes a packet before it has
  // finished (a packet is taken once its header is INVALID), and everything before the mode was set.
  // Time in which the preemptor has the queue suspended does not count.
  std::atomic<std::uint64_t> device_us;
  // The running request's deadline, CLOCK_MONOTONIC us; 0: none. Written by the layer's request
  // functions, which then write the eventfd.
  std::atomic<std::uint64_t> deadline_us;
  std::atomic<std::uint32_t> exposed;  // of a queue that reports: the hardware is not done with it
  std::atomic<std::uint32_t> masked_units;  // of the standing mask that is in force; 0: none is

  // Line 4: written by the controller.
  alignas(64) std::atomic<std::uint32_t> mode;       // QueueMode bits
  std::atomic<std::int32_t> priority;                // effective; -1: requested_priority
  std::atomic<std::uint32_t> hold;                   // HoldOrder, obeyed if armed
  std::atomic<std::uint32_t> window_us;              // armed: device time to expose; 0: no bound
  std::atomic<std::uint32_t> linger_us;              // raise: idle time before it counts as done
  std::atomic<std::uint64_t> hold_lease_until_us;    // hold is void after this
  std::atomic<std::uint32_t> mechanisms;             // allowed Mechanisms
  std::atomic<std::uint32_t> delay_budget_permille;  // of a request: what it may lose to us
  std::atomic<std::uint32_t> squeeze_units;          // compute units left; 0: the plan's choice
  std::atomic<std::int32_t> kfd_priority;            // hardware queue priority; -1: as it is
  // Standing mask: of the compute units in the driver's mask order, `standing_units` from
  // `standing_first` on, both multiples of the node's shader arrays, so that each keeps as many. It
  // is obeyed if kMechanismSqueeze is allowed and available. 0 units: all.
  std::atomic<std::uint32_t> standing_first;
  std::atomic<std::uint32_t> standing_units;
  std::atomic<std::uint64_t> standing_lease_until_us;  // the standing mask is void after this
};

enum class PlanMechanism : std::uint32_t { kHold = 0, kSqueeze = 1, kSuspend = 2, kShare = 3 };
enum class PlanReason : std::uint32_t {
  kCheapestWithinBudget = 0,
  kLeastDelay = 1,      // nothing is within the delay budget
  kOnlyHold = 2,        // nothing else is allowed or works on this queue
  kNothingExposed = 3,  // the hardware has nothing of the queue, and squeezing does not pay
  kLearning = 4  // to learn how long a request takes by itself, or what of a restriction it feels
};

// One preemption as the plan saw it, and what came of it (docs/life-of-a-preemption.md). Written by the
// layer: `sequence` is 0 while the record changes, else 1 + its number; a reader copies, then looks at
// `sequence` again.
struct alignas(64) Decision {
  std::atomic<std::uint64_t> sequence;
  std::atomic<std::uint64_t> at_us;
  std::atomic<std::uint32_t> serial;          // the queue whose rest was longest
  std::atomic<std::uint32_t> mechanism;       // PlanMechanism
  std::atomic<std::uint32_t> reason;          // PlanReason
  std::atomic<std::uint32_t> queues;          // how many it was applied to
  std::atomic<std::uint32_t> units_left;      // squeeze: compute units the queue kept
  std::atomic<std::uint32_t> error;           // errno of the driver's refusal, else 0
  std::atomic<std::uint64_t> rest_ns;         // predicted rest of what the hardware had
  std::atomic<std::uint64_t> rest_spread_ns;  // how far off that may be, as predictions were lately
  std::atomic<std::uint64_t> cycle_ns;        // one runlist cycle, as measured lately
  std::atomic<std::uint64_t> request_ns;      // how long the urgent work takes, as learnt
  std::atomic<std::uint64_t> predicted_delay_ns;  // what the choice adds to it
  std::atomic<std::uint64_t> predicted_cost_ns;   // and takes from this queue
  std::atomic<std::uint64_t> took_ns;             // the driver calls, measured
  std::atomic<std::uint64_t> measured_ns;         // the urgent work, raise to lowering; 0: not over
};

// How long things took, in buckets that grow by an eighth of an octave: a percentile read from it is
// at most 12.5 % too high. Written by the layer with relaxed adds, from any thread; a reader copies
// and bounds. Buckets 0..7 are exact microseconds; bucket 8 * o + s, o >= 1, begins at
// (8 + s) << (o - 1) us. The last one also takes everything longer (71 minutes and more).
constexpr std::uint32_t LatencyBucket(std::uint64_t us) {
  if (us < 8) return static_cast<std::uint32_t>(us);
  std::uint32_t octave = 0;
  while (us >> octave >= 16) ++octave;
  const std::uint32_t bucket = 8 * (octave + 1) + static_cast<std::uint32_t>((us >> octave) - 8);
  return bucket < kLatencyBuckets ? bucket : kLatencyBuckets - 1;
}
constexpr std::uint64_t LatencyBucketFloorUs(std::uint32_t bucket) {
  return bucket < 8 ? bucket : std::uint64_t{8 + bucket % 8} << (bucket / 8 - 1);
}

struct LatencyHistogram {
  std::atomic<std::uint64_t> count, sum_us, max_us;
  std::atomic<std::uint64_t> buckets[kLatencyBuckets];

  void Add(std::uint64_t us) {
    buckets[LatencyBucket(us)].fetch_add(1, std::memory_order_relaxed);
    sum_us.fetch_add(us, std::memory_order_relaxed);
    std::uint64_t max = max_us.load(std::memory_order_relaxed);
    while (max < us && !max_us.compare_exchange_weak(max, us, std::memory_order_relaxed)) {
    }
    count.fetch_add(1, std::memory_order_release);
  }
};

// What a program says and shows of its requests. Written by the layer, read by anybody.
struct alignas(64) RequestPage {
  std::atomic<std::uint64_t> begun, ended;  // marked by the program (xsched_hsa.h)
  std::atomic<std::uint64_t> missed;        // ended after their deadline
  std::atomic<std::uint64_t> open;          // begun and not ended now
  LatencyHistogram marked;                  // begin to end
  LatencyHistogram bursts;  // of raising and reporting queues: from the doorbell that
                            // made one active until it had no more work (without the
                            // linger); for programs that mark nothing
};

struct ProcessPage {
  std::uint32_t magic, abi_version;
  std::uint32_t size_bytes;
  std::uint32_t session_id;
  std::uint32_t session_bit;  // below kSessionBits, nobody else's while the session lasts
  // Written by the controller, then FUTEX_WAKE on `wake`: the pump looks at everything again.
  alignas(64) std::atomic<std::uint32_t> wake;
  std::atomic<std::uint32_t> detached;  // 1: the controller has given this session up
  std::atomic<std::uint32_t> refresh;   // bumped to ask for fresh mirrors in every slot
  std::atomic<std::uint32_t> orders;    // bumped after an order changed that concerns the preemptor
  std::atomic<std::uint32_t> programs;  // the user's sessions: their pumps share the processors
  // Written by the layer.
  alignas(64) std::atomic<std::uint32_t> refreshed;  // the last `refresh` that was served
  std::atomic<std::uint32_t> queues_passed_through;  // queues that are not managed, and never held
  std::atomic<std::uint32_t> faults;    // the layer's own faults (each went pass-through)
  std::atomic<std::uint64_t> cycle_ns;  // a runlist cycle as measured here; 0: never
  std::atomic<std::uint64_t> mask_ns;   // the same where a mask was changed; 0: never
  std::atomic<std::uint64_t>
      reaction_ns;  // from an urgent doorbell to the preemptor's look; 0: never
  std::atomic<std::uint64_t> decisions_made;  // so many; the last kDecisionsMax are below
  // Bumped (before the eventfd is written) after a slot's state or line 1 changed. The controller
  // scans the slots only then.
  std::atomic<std::uint32_t> changes;
  Decision decisions[kDecisionsMax];  // number n at n % kDecisionsMax
  RequestPage requests;
  QueueSlot queues[kQueuesMax];
  TraceRing trace;  // untouched, and so without memory, until somebody records
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(sizeof(GpuUrgency) == 192);
static_assert(sizeof(QueueSlot) == 256);
static_assert(offsetof(ProcessPage, queues) % 64 == 0);
static_assert(LatencyBucket(7) == 7 && LatencyBucket(8) == 8 && LatencyBucket(16) == 16);
static_assert(LatencyBucketFloorUs(LatencyBucket(1000)) == 960);
static_assert(LatencyBucketFloorUs(LatencyBucket(1'000'000)) == 983'040);

}  // namespace xsched_hsa

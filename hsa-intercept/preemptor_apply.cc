// preemptor_apply.cc: the driver calls of a choice, their undoing, and the record of both.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "clock.h"
#include "log.h"
#include "preemptor.h"
#include "trace.h"

namespace xsched_hsa {
namespace {

// The first `units` compute units of the mask order, those of them that the program may use.
struct Mask {
  std::uint32_t words[kCuMaskWordsMax] = {};
  std::uint32_t bits = 0;
};

bool HasBit(const std::uint32_t* words, std::uint32_t bit) {
  return (words[bit / 32] >> (bit % 32) & 1) != 0;
}

std::uint32_t WordBits(std::uint32_t compute_units) {
  return std::min(kCuMaskWordsMax, (compute_units + 31) / 32) * 32;
}

// Is `bit` outside the standing mask?
bool IsStandingOut(const RestrictionState& state, std::uint32_t bit) {
  return state.standing_units != 0 &&
         (bit < state.standing_first || bit - state.standing_first >= state.standing_units);
}

// What the queue has while nothing restricts it: the program's own mask, or all; of these, what the
// standing mask leaves.
Mask FullMask(const RestrictionState& state) {
  Mask mask;
  mask.bits = WordBits(state.node.compute_units);
  if (state.user_mask_bits == 0) {
    std::memset(mask.words, 0xff, mask.bits / 8);
  } else {
    mask.bits = state.user_mask_bits;
    std::memcpy(mask.words, state.user_mask, mask.bits / 8);
  }
  for (std::uint32_t bit = 0; bit < mask.bits; ++bit) {
    if (IsStandingOut(state, bit)) mask.words[bit / 32] &= ~(1u << (bit % 32));
  }
  return mask;
}

// False if some shader array is left with nothing: a dispatch that has a workgroup for an XCC
// without compute units never ends (docs/decisions.md).
bool NarrowMask(const RestrictionState& state, std::uint32_t units, Mask* mask) {
  *mask = FullMask(state);
  const std::uint32_t arrays = state.node.shader_arrays;
  if (arrays == 0 || arrays > 256) return false;
  bool reached[256] = {};
  const std::uint32_t first = state.standing_units != 0 ? state.standing_first : 0;
  for (std::uint32_t bit = 0; bit < mask->bits; ++bit) {
    if (bit >= first + units) {
      mask->words[bit / 32] &= ~(1u << (bit % 32));
    } else if (HasBit(mask->words, bit)) {
      reached[bit % arrays] = true;
    }
  }
  return std::all_of(reached, reached + arrays, [](bool is_reached) { return is_reached; });
}

void LogRefusal(const ManagedQueue& queue, const char* what, int error, const char* consequence) {
  Log(LogLevel::kWarn,
      "the driver refuses to %s queue %lu (KFD queue %u): %s; %s; 'dmesg' may say why", what,
      queue.queue->id, queue.restricted.kfd.id, strerrordesc_np(error), consequence);
}

// Ten milliseconds, twenty ... 1.28 s between two tries to stop a queue again.
constexpr std::uint32_t kDoublingsMax = 7;

// What must come off is tried every 10 ms, for as long as it takes; told are the 1st, 2nd, 4th, 8th
// refusal and so on.
void LogRetry(ManagedQueue* queue, const char* what, int error) {
  const std::uint32_t retries = ++queue->restricted.retries;
  if ((retries & (retries - 1)) != 0) return;
  char consequence[64];
  std::snprintf(consequence, sizeof(consequence), "trying again until it does (%u refused so far)",
                retries);
  LogRefusal(*queue, what, error, consequence);
}

}  // namespace

int Preemptor::Timed(Arena* arena, int error, std::uint64_t began_ns, bool mask) {
  const std::uint64_t took_ns = NowNs() - began_ns;
  arena->cycles_ns += took_ns;
  if (error == 0) {
    arena->model.ObserveCycle(took_ns);
    if (mask) arena->model.ObserveMask(took_ns);
    arena->measured_ns = began_ns + took_ns;
    if (page_ == nullptr) return error;
    page_->cycle_ns.store(arena->model.CycleNs(), std::memory_order_relaxed);
    if (mask) page_->mask_ns.store(arena->model.MaskNs(), std::memory_order_relaxed);
  }
  return error;
}

int Preemptor::Suspend(Arena* arena, const Candidate& candidate) {
  RestrictionState& state = candidate.queue->restricted;
  const std::uint64_t began_ns = NowNs();
  const int error = Timed(arena, kfd_->Update(state.kfd, 0), began_ns);
  if (error != 0) {
    candidate.slot->mechanisms_available.fetch_and(~kMechanismSuspend);
    LogRefusal(*candidate.queue, "suspend", error, "it is only held from now on");
    // Whatever state the driver left it in, it has to run. Where this is refused, too, it counts as suspended, and
    // is resumed as soon as the driver does it.
    const int undone = UpdateOn(&state);
    if (undone != 0 && !IsWithoutEffect(error)) SetRestriction(candidate, kSuspended);
    return error;
  }
  candidate.slot->suspends.fetch_add(1, std::memory_order_relaxed);
  SetRestriction(candidate, kSuspended);
  TraceQueue(*candidate.queue, candidate.slot, kTraceSuspend, 0, NowNs() - began_ns);
  return 0;
}

int Preemptor::Squeeze(Arena* arena, const Candidate& candidate, std::uint32_t units_left) {
  RestrictionState& state = candidate.queue->restricted;
  Mask mask;
  // Of the program's mask and the standing one together too little may be left there: then it is only held.
  if (!NarrowMask(state, units_left, &mask)) return 0;
  const std::uint64_t began_ns = NowNs();
  const int error = Timed(arena, kfd_->SetMask(state.kfd, mask.words, mask.bits), began_ns, true);
  if (error != 0) {
    candidate.slot->mechanisms_available.fetch_and(~kMechanismSqueeze);
    LogRefusal(*candidate.queue, "mask", error, "it is not squeezed any more");
    return error;
  }
  candidate.slot->squeezes.fetch_add(1, std::memory_order_relaxed);
  state.units_left = units_left;
  SetRestriction(candidate, kSqueezed);
  TraceQueue(*candidate.queue, candidate.slot, kTraceSqueeze, units_left, NowNs() - began_ns);
  return 0;
}

void Preemptor::SetRestriction(const Candidate& candidate, Restriction restriction) {
  candidate.queue->restricted.restriction = restriction;
  candidate.queue->restricted.since_us = NowUs();
  candidate.slot->restriction.store(restriction, std::memory_order_relaxed);
  const bool goes_on = restriction == kSqueezed || restriction == kSharing;
  candidate.queue->goes_on.store(goes_on ? 1 : 0, std::memory_order_seq_cst);
}

void Preemptor::Apply(Arena* arena, const Outranked& outranked, std::uint64_t now_ns) {
  int error = 0;
  bool opened = false;
  if (arena->choice.mechanism == PlanMechanism::kSuspend && SuspendTogether(arena, outranked)) {
    return Record(arena, outranked, now_ns);
  }
  for (std::uint32_t i = 0; i < outranked.count; ++i) {
    const Candidate& candidate = outranked.list[i];
    if (candidate.queue->restricted.restriction != kUnrestricted) continue;
    const bool has_work = candidate.rest_ns != 0 || gate_->HasBacklog(*candidate.queue);
    if (arena->choice.mechanism == PlanMechanism::kShare) {
      SetRestriction(candidate, kSharing);
      opened = true;
    } else if (arena->choice.mechanism == PlanMechanism::kSuspend && candidate.rest_ns != 0) {
      if (const int failed = Suspend(arena, candidate); failed != 0) error = failed;
    } else if (arena->choice.mechanism == PlanMechanism::kSqueeze && has_work) {
      const int failed = Squeeze(arena, candidate, arena->choice.units_left);
      if (failed != 0) error = failed;
      opened = opened || failed == 0;
    }
  }
  // The gate of a queue that goes on is open again.
  if (opened) pump_->Wake(false);
  Record(arena, outranked, now_ns);
  if (arena->decision != 0 && error != 0) {
    page_->decisions[(arena->decision - 1) % kDecisionsMax].error.store(
        static_cast<std::uint32_t>(error), std::memory_order_relaxed);
  }
}

bool Preemptor::Lift(Arena* arena, ManagedQueue* queue, QueueSlot* slot) {
  RestrictionState& state = queue->restricted;
  if (state.restriction == kUnrestricted) return true;
  int error = 0;
  const std::uint64_t began_ns = NowNs();
  const bool stopped = queue->failed.load(std::memory_order_relaxed) != 0;
  if (state.restriction == kSuspended && (state.batched || !stopped)) {
    error = Resume(&state);
  } else if (state.restriction == kSqueezed && !stopped) {
    const Mask mask = FullMask(state);
    error = kfd_->SetMask(state.kfd, mask.words, mask.bits);
  }
  if (arena != nullptr) arena->cycles_ns += NowNs() - began_ns;
  // EFAULT, ENODEV of a batch: the driver knows no such queue any more.
  if (error != 0 && error != EFAULT && error != ENODEV) {
    LogRetry(queue, state.restriction == kSuspended ? "resume" : "unmask", error);
    return false;
  }
  Lifted(queue, slot, NowNs() - began_ns);
  return true;
}

void Preemptor::Lifted(ManagedQueue* queue, QueueSlot* slot, std::uint64_t took_ns) {
  RestrictionState& state = queue->restricted;
  if (state.restriction != kSharing) {
    slot->restricted_us.fetch_add(NowUs() - state.since_us, std::memory_order_relaxed);
  }
  slot->restriction.store(kUnrestricted, std::memory_order_relaxed);
  TraceQueue(*queue, slot, kTraceLift, 0, took_ns);
  state.restriction = kUnrestricted;
  state.batched = false;
  state.ordered = false;
  state.retries = 0;
  queue->goes_on.store(0, std::memory_order_seq_cst);
}

int Preemptor::Resume(RestrictionState* state) {
  return state->batched ? kfd_->ResumeBatch(&state->kfd.id, 1) : UpdateOn(state);
}

int Preemptor::UpdateOn(RestrictionState* state) {
  state->resumed = true;
  return kfd_->Update(state->kfd, 100);
}

// Of a queue that ROCr has stopped. We hear of that a moment later, and a call of ours in between has brought it back: it
// is taken off again. Returns when to look again: a driver that refuses is asked ever more seldom, since it may for ever,
// as after a reset of the device, and nobody is held for a queue in error.
std::uint64_t Preemptor::KeepStopped(ManagedQueue* queue) {
  RestrictionState& state = queue->restricted;
  if (queue->failed.load(std::memory_order_relaxed) == 0 || !state.resumed) return kForeverNs;
  if (NowNs() < state.stop_again_ns) return state.stop_again_ns;
  const int error = kfd_->Update(state.kfd, 0);
  if (error != 0 && !IsWithoutEffect(error)) {
    LogRetry(queue, "keep off the hardware", error);
    const std::uint32_t doublings = std::min(state.retries - 1, kDoublingsMax);
    state.stop_again_ns = NowNs() + (kRetryLiftNs << doublings);
    return state.stop_again_ns;
  }
  state.resumed = false;
  state.retries = 0;
  return kForeverNs;
}

void Preemptor::LiftNotOutranked(const GpuUrgency* urgency, Arena* arena,
                                 const Outranked& outranked) {
  ManagedQueue* together[kCandidatesMax];
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < registry_->end(); ++i) {
    ManagedQueue* queue = registry_->at(i);
    if (queue->live.load(std::memory_order_acquire) == 0 ||
        queue->urgency.load(std::memory_order_acquire) != urgency ||
        queue->restricted.restriction == kUnrestricted || queue->restricted.ordered) {
      continue;
    }
    const Candidate* const end = outranked.list + outranked.count;
    const bool still = std::any_of(outranked.list, end, [queue](const Candidate& candidate) {
      return candidate.queue == queue;
    });
    if (still) continue;
    if (queue->restricted.batched && count < kCandidatesMax) {
      together[count++] = queue;
    } else {
      Lift(arena, queue, queue->slot.load(std::memory_order_acquire));
    }
  }
  if (count != 0) ResumeTogether(arena, together, count);
}

std::uint64_t Preemptor::LiftAllLocked() {
  std::uint64_t next_ns = kForeverNs;
  for (std::uint32_t i = 0; i < registry_->end(); ++i) {
    ManagedQueue* queue = registry_->at(i);
    if (queue->live.load(std::memory_order_acquire) == 0) continue;
    queue->wide_window_ns.store(0, std::memory_order_relaxed);
    QueueSlot* slot = queue->slot.load(std::memory_order_acquire);
    const bool lifted = Lift(nullptr, queue, slot);
    if (!SetStandingMask(queue, slot, 0, 0) || !lifted) {
      next_ns = std::min(next_ns, NowNs() + kRetryLiftNs);
    }
    next_ns = std::min(next_ns, KeepStopped(queue));
  }
  for (Arena& arena : arenas_) arena.urgent = false;
  return next_ns;
}

// What a cycle costs has to be known before it is needed, and anew after a while: an update that
// changes nothing costs the same. Only with a queue at work: an empty device has nothing to save.
void Preemptor::Probe(const GpuUrgency* urgency, Arena* arena) {
  for (std::uint32_t i = 0; i < registry_->end(); ++i) {
    ManagedQueue* queue = registry_->at(i);
    if (queue->live.load(std::memory_order_acquire) == 0 ||
        queue->urgency.load(std::memory_order_acquire) != urgency) {
      continue;
    }
    QueueSlot* slot = queue->slot.load(std::memory_order_acquire);
    const std::uint32_t usable = slot->mechanisms.load(std::memory_order_relaxed) &
                                 slot->mechanisms_available.load(std::memory_order_relaxed);
    if ((usable & (kMechanismSqueeze | kMechanismSuspend)) == 0 ||
        queue->restricted.restriction != kUnrestricted || !gate_->HasUnfinished(*queue) ||
        queue->failed.load(std::memory_order_relaxed) != 0) {
      continue;
    }
    const std::uint64_t began_ns = NowNs();
    const int error = Timed(arena, UpdateOn(&queue->restricted), began_ns);
    if (error == 0) return;
    slot->mechanisms_available.fetch_and(~(kMechanismSqueeze | kMechanismSuspend));
    return LogRefusal(*queue, "update", error, "it is only held from now on");
  }
}

// The hardware queue's priority follows ours, unless the program has set one itself.
void Preemptor::FollowPriority(ManagedQueue* queue, QueueSlot* slot) {
  RestrictionState& state = queue->restricted;
  const std::int32_t wanted = slot->kfd_priority.load(std::memory_order_relaxed);
  const bool allowed =
      (slot->mechanisms.load(std::memory_order_relaxed) &
       slot->mechanisms_available.load(std::memory_order_relaxed) & kMechanismPriority) != 0;
  if (!allowed || state.program_set_priority || wanted < 0 || wanted > kPriorityMax ||
      state.restriction != kUnrestricted || queue->failed.load(std::memory_order_relaxed) != 0 ||
      state.kfd.priority == static_cast<std::uint32_t>(wanted)) {
    return;
  }
  const std::uint32_t before = state.kfd.priority;
  state.kfd.priority = static_cast<std::uint32_t>(wanted);
  const int error = UpdateOn(&state);
  if (error == 0) return;
  state.kfd.priority = before;
  slot->mechanisms_available.fetch_and(~kMechanismPriority);
  LogRefusal(*queue, "change the priority of", error, "it stays as it is");
}

// A partition of the device, as the controller has ordered it; it lasts as long as its lease.
void Preemptor::FollowStandingMask(ManagedQueue* queue, QueueSlot* slot, std::uint64_t* next_ns) {
  const bool allowed =
      (slot->mechanisms.load(std::memory_order_relaxed) &
       slot->mechanisms_available.load(std::memory_order_relaxed) & kMechanismSqueeze) != 0;
  const std::uint64_t lease_us = slot->standing_lease_until_us.load(std::memory_order_relaxed);
  std::uint32_t units = slot->standing_units.load(std::memory_order_relaxed);
  const std::uint32_t first = slot->standing_first.load(std::memory_order_relaxed);
  const KfdNode& node = queue->restricted.node;
  // Another process's words: whatever does not fit the device is no mask.
  if (!allowed || NowUs() >= lease_us || node.shader_arrays == 0 ||
      first % node.shader_arrays != 0 || units % node.shader_arrays != 0 ||
      first >= node.compute_units || units > node.compute_units - first) {
    units = 0;
  }
  const bool done = SetStandingMask(queue, slot, units != 0 ? first : 0, units);
  if (!done) *next_ns = std::min(*next_ns, NowNs() + kRetryLiftNs);
  if (queue->restricted.standing_units != 0 && units != 0) {
    *next_ns = std::min(*next_ns, lease_us * 1000);
  }
}

// False where a mask could not be taken off: it is to be tried again.
bool Preemptor::SetStandingMask(ManagedQueue* queue, QueueSlot* slot, std::uint32_t first,
                                std::uint32_t units) {
  RestrictionState& state = queue->restricted;
  const std::uint32_t first_before = state.standing_first, units_before = state.standing_units;
  if (first == first_before && units == units_before) return true;
  if (queue->failed.load(std::memory_order_relaxed) != 0) return true;
  // A squeezed queue's mask comes first; lifting it looks again.
  if (state.restriction == kSqueezed) return true;
  state.standing_first = first;
  state.standing_units = units;
  Mask mask;
  if (units != 0 && !NarrowMask(state, units, &mask)) {
    // Nothing would be left of the program's own mask on some shader array.
    state.standing_first = first_before;
    state.standing_units = units_before;
    return units_before == 0 || SetStandingMask(queue, slot, 0, 0);
  }
  mask = FullMask(state);
  const int error = kfd_->SetMask(state.kfd, mask.words, mask.bits);
  if (error == 0 || error == EFAULT) {
    slot->masked_units.store(units, std::memory_order_relaxed);
    state.retries = 0;
    return true;
  }
  state.standing_first = first_before;
  state.standing_units = units_before;
  slot->mechanisms_available.fetch_and(~kMechanismSqueeze);
  if (units == 0) {
    LogRetry(queue, "unmask", error);
    return false;
  }
  LogRefusal(*queue, "mask", error, "it keeps the compute units it has");
  return true;
}

void Preemptor::Record(Arena* arena, const Outranked& outranked, std::uint64_t now_ns) {
  if (page_ == nullptr) return;
  const Candidate* longest = &outranked.list[0];
  std::uint32_t restricted = 0;
  for (std::uint32_t i = 0; i < outranked.count; ++i) {
    if (outranked.list[i].rest_ns > longest->rest_ns) longest = &outranked.list[i];
    if (outranked.list[i].queue->restricted.restriction != kUnrestricted) ++restricted;
  }
  const std::uint64_t number = page_->decisions_made.load(std::memory_order_relaxed);
  Decision& decision = page_->decisions[number % kDecisionsMax];
  constexpr auto relaxed = std::memory_order_relaxed;
  decision.sequence.store(0, std::memory_order_seq_cst);
  decision.at_us.store(now_ns / 1000, relaxed);
  decision.serial.store(static_cast<std::uint32_t>(longest->queue->queue->id), relaxed);
  decision.mechanism.store(static_cast<std::uint32_t>(arena->choice.mechanism), relaxed);
  decision.reason.store(static_cast<std::uint32_t>(arena->choice.reason), relaxed);
  decision.queues.store(restricted, relaxed);
  decision.units_left.store(arena->choice.units_left, relaxed);
  decision.error.store(0, relaxed);
  decision.rest_ns.store(arena->rest_ns, relaxed);
  decision.rest_spread_ns.store(arena->rest_spread_ns, relaxed);
  decision.cycle_ns.store(arena->model.CycleNs(), relaxed);
  decision.request_ns.store(arena->model.RequestNs(), relaxed);
  decision.predicted_delay_ns.store(arena->choice.delay_ns, relaxed);
  decision.predicted_cost_ns.store(arena->choice.cost_ns, relaxed);
  decision.took_ns.store(arena->cycles_ns, relaxed);
  decision.measured_ns.store(0, relaxed);
  decision.sequence.store(number + 1, std::memory_order_seq_cst);
  page_->decisions_made.store(number + 1, std::memory_order_release);
  arena->decision = number + 1;
}

// The request is over: what it took against what was predicted, for the next choice.
void Preemptor::Complete(Arena* arena, std::uint64_t took_ns) {
  const PlanChoice& choice = arena->choice;
  if (arena->decision == 0) return arena->model.ObserveRequest(took_ns);
  if (page_ != nullptr) {
    Decision& decision = page_->decisions[(arena->decision - 1) % kDecisionsMax];
    if (decision.sequence.load(std::memory_order_relaxed) == arena->decision) {
      decision.measured_ns.store(took_ns, std::memory_order_relaxed);
    }
  }
  double share_left = 0;
  for (std::uint32_t i = 0; i < registry_->end() && share_left == 0; ++i) {
    const ManagedQueue* queue = registry_->at(i);
    const std::uint32_t all = queue->restricted.node.compute_units;
    if (queue->live.load(std::memory_order_relaxed) != 0 && all != 0) {
      share_left = static_cast<double>(choice.units_left) / all;
    }
  }
  arena->model.ObserveOutcome(choice.mechanism, took_ns, arena->rest_ns, arena->cycles_ns * 2,
                              share_left);
}

// ---------------------------------------------------------------- the program's own changes
void Preemptor::Adopt(ManagedQueue* queue, const KfdQueue& kfd, const KfdNode& node) {
  MutexScope scope(&mutex_);
  queue->restricted = RestrictionState{};
  queue->restricted.kfd = kfd;
  queue->restricted.node = node;
  queue->goes_on.store(0, std::memory_order_relaxed);
  queue->wide_window_ns.store(0, std::memory_order_relaxed);
}

// Ids are used again: nothing may be done to this one any more.
void Preemptor::Forget(ManagedQueue* queue) {
  MutexScope scope(&mutex_);
  Lift(nullptr, queue, queue->slot.load(std::memory_order_acquire));
  queue->restricted.kfd.id = kUnknownKfdQueueId;
}

// ROCr's update sets the percentage to 100 and so resumes the queue.
void Preemptor::ProgramSetPriority(ManagedQueue* queue, std::uint32_t kfd_priority) {
  RestrictionState& state = queue->restricted;
  state.kfd.priority = kfd_priority;
  state.program_set_priority = true;
  if (state.restriction == kSuspended && !state.batched) kfd_->Update(state.kfd, 0);
}

void Preemptor::ProgramSetMask(ManagedQueue* queue, const std::uint32_t* mask, std::uint32_t bits) {
  RestrictionState& state = queue->restricted;
  state.user_mask_bits = std::min(bits, kCuMaskWordsMax * 32);
  if (bits != 0) std::memcpy(state.user_mask, mask, state.user_mask_bits / 8);
  Mask narrowed;
  state.narrowable = NarrowMask(state, state.node.shader_arrays, &narrowed);
  // The program's mask has replaced the standing one: it is put on again at the next look.
  if (state.restriction != kSqueezed) {
    if (state.standing_units == 0) return;
    state.standing_first = state.standing_units = 0;
    queue->slot.load(std::memory_order_acquire)->masked_units.store(0, std::memory_order_relaxed);
    return Nudge();
  }
  // The program's mask stands now; narrow it again, or let the queue be.
  if (NarrowMask(state, state.units_left, &narrowed)) {
    kfd_->SetMask(state.kfd, narrowed.words, narrowed.bits);
  }
}

}  // namespace xsched_hsa

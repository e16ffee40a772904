// preemptor.cc: the rounds. When there is one is in preemptor_listen.cc, the calls that change a queue in
// preemptor_apply.cc.
#include "preemptor.h"

#include <sys/prctl.h>

#include <algorithm>

#include "clock.h"
#include "thread.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

// A rest that is not worth a thought: shorter than the reaction of host and device.
constexpr std::uint64_t kShortRestNs = 50'000;
// After a hold: look again when the prediction has run out by a quarter and this.
constexpr std::uint64_t kReviewSlackNs = 200'000;
// A cycle's cost is measured so often to begin with, and again when no measure is younger than this.
constexpr std::uint32_t kProbesFirst = 3;
constexpr std::uint64_t kStaleNs = 1'000'000'000;

// From the doorbell until the queue had no more work, as the urgent program's layer saw it. It is
// another process's word: if it is implausible, our own looks have to do.
std::uint64_t RequestTookNs(const GpuUrgency& urgency, std::uint64_t began_ns,
                            std::uint64_t ended_ns) {
  const std::uint64_t raised_ns = urgency.raised_ns.load(std::memory_order_relaxed);
  const std::uint64_t drained_ns = urgency.drained_ns.load(std::memory_order_relaxed);
  const bool plausible = raised_ns <= began_ns && began_ns - raised_ns < kLeaseUs * 1000 &&
                         raised_ns < drained_ns && drained_ns <= ended_ns;
  return plausible ? drained_ns - raised_ns : ended_ns - began_ns;
}

std::uint64_t FromNow(std::uint64_t at_ns) {
  if (at_ns == kForeverNs) return kForeverNs;
  const std::uint64_t now_ns = NowNs();
  return at_ns > now_ns ? at_ns - now_ns : 1;
}

// kGpusMax: of no GPU there, or of another session's page.
std::uint32_t IndexOf(const UserPage& page, const GpuUrgency* urgency) {
  const auto offset =
      reinterpret_cast<std::uintptr_t>(urgency) - reinterpret_cast<std::uintptr_t>(page.gpus);
  return static_cast<std::uint32_t>(
      std::min<std::uintptr_t>(offset / sizeof(GpuUrgency), kGpusMax));
}

}  // namespace

bool Preemptor::Start() {
  if (started_.exchange(true)) return true;
  const bool started = StartDetachedThread(&Preemptor::ThreadMain, this);
  if (!started) started_.store(false);
  return started;
}

void* Preemptor::ThreadMain(void* self) {
  prctl(PR_SET_NAME, "xsched-preempt");
  prctl(PR_SET_TIMERSLACK, 1000);
  static_cast<Preemptor*>(self)->Run();
  return nullptr;
}

void Preemptor::Nudge() {
  own_word_.fetch_add(1, std::memory_order_seq_cst);
  FutexWake(&own_word_);
  // Pages are never unmapped, so a late look at an old one does no harm.
  if (UserPage* page = listening_.load(std::memory_order_seq_cst); page != nullptr) RingBell(page);
}

void Preemptor::SetSession(ProcessPage* page, UserPage* user_page) {
  {
    MutexScope scope(&mutex_);
    LiftAllLocked();
    page_ = page;
    user_page_ = user_page;
    off_ = page == nullptr;
    for (Arena& arena : arenas_) arena.decision = 0;
  }
  Nudge();
}

void Preemptor::LiftAll() {
  MutexScope scope(&mutex_);
  LiftAllLocked();
  off_ = true;
}

void Preemptor::AfterForkInChild() {
  started_.store(false, std::memory_order_relaxed);
  listening_.store(nullptr, std::memory_order_relaxed);
  off_ = true;
}

std::uint64_t Preemptor::Round() {
  MutexScope scope(&mutex_);
  if (!off_) return RoundLocked(NowNs());
  // What the driver refused to take back when the session ended.
  return FromNow(LiftAllLocked());
}

std::uint64_t Preemptor::RoundLocked(std::uint64_t now_ns) {
  std::uint64_t next_ns = kForeverNs;
  // Those of our queues, whatever keys the table shows: every program of the user may write there, and a restriction
  // has to end all the same.
  std::uint32_t ours = 0;
  for (std::uint32_t i = 0; i < registry_->end(); ++i) {
    const ManagedQueue* queue = registry_->at(i);
    if (queue->live.load(std::memory_order_acquire) == 0) continue;
    ours |= 1u << IndexOf(*user_page_, queue->urgency.load(std::memory_order_acquire));
  }
  for (std::uint32_t i = 0; i < kGpusMax; ++i) {
    if ((ours >> i & 1) != 0 || arenas_[i].urgent) {
      LookAtGpu(i, &user_page_->gpus[i], now_ns, &next_ns);
    }
  }
  return FromNow(next_ns);
}

void Preemptor::LookAtGpu(std::uint32_t index, GpuUrgency* urgency, std::uint64_t now_ns,
                          std::uint64_t* next_ns) {
  Arena& arena = arenas_[index];
  Outranked outranked;
  FindOutranked(urgency, now_ns / 1000, &outranked);
  if (outranked.count != 0 && !arena.urgent) {
    Arrive(&arena, *urgency, &outranked, now_ns);
  } else if (outranked.count == 0 && arena.urgent) {
    Depart(&arena, *urgency, now_ns);
  } else if (arena.urgent && arena.review_ns != 0 && now_ns >= arena.review_ns) {
    Decide(&arena, &outranked, now_ns);
  }
  // Whoever is no longer outranked goes free at once; the others when the device is theirs again.
  const bool lifting = !arena.urgent && NowNs() >= arena.lift_ns;
  if (arena.urgent || lifting) LiftNotOutranked(urgency, &arena, outranked);
  if (arena.urgent) {
    arena.lease_ns = outranked.until_us * 1000;
    *next_ns = std::min(*next_ns, arena.lease_ns);
    if (arena.review_ns != 0) *next_ns = std::min(*next_ns, arena.review_ns);
  }
  if (lifting && MayProbe(arena, NowNs())) Probe(urgency, &arena);
  for (std::uint32_t i = 0; i < registry_->end(); ++i) {
    ManagedQueue* queue = registry_->at(i);
    if (queue->live.load(std::memory_order_acquire) == 0 ||
        queue->urgency.load(std::memory_order_acquire) != urgency) {
      continue;
    }
    QueueSlot* slot = queue->slot.load(std::memory_order_acquire);
    FollowPriority(queue, slot);
    FollowStandingMask(queue, slot, next_ns);
    FollowHoldOrder(&arena, queue, slot, next_ns);
    *next_ns = std::min(*next_ns, KeepStopped(queue));
    SizeWindow(arena, queue, slot);
    if (queue->restricted.restriction != kUnrestricted && !queue->restricted.ordered &&
        !arena.urgent) {
      *next_ns = std::min(*next_ns, lifting ? NowNs() + kRetryLiftNs : arena.lift_ns);
    }
  }
}

// At most once a round, and a round comes only with a request or an order: nothing here polls.
bool Preemptor::MayProbe(const Arena& arena, std::uint64_t now_ns) const {
  return arena.model.cycle_samples() < kProbesFirst || now_ns - arena.measured_ns > kStaleNs;
}

void Preemptor::FindOutranked(const GpuUrgency* urgency, std::uint64_t now_us, Outranked* found) {
  for (std::uint32_t i = 0; i < registry_->end() && found->count < kCandidatesMax; ++i) {
    ManagedQueue* queue = registry_->at(i);
    if (queue->live.load(std::memory_order_acquire) == 0 ||
        queue->urgency.load(std::memory_order_acquire) != urgency ||
        queue->foreign.load(std::memory_order_relaxed) != 0) {
      continue;
    }
    QueueSlot* slot = queue->slot.load(std::memory_order_acquire);
    std::uint64_t until_us = 0;
    if ((slot->mode.load(std::memory_order_acquire) & kModeArmed) == 0 ||
        !IsOutranked(*queue, *slot, now_us, &until_us)) {
      continue;
    }
    found->until_us = std::max(found->until_us, until_us);
    found->list[found->count++] = {queue, slot, 0};
  }
}

void Preemptor::Arrive(Arena* arena, const GpuUrgency& urgency, Outranked* outranked,
                       std::uint64_t now_ns) {
  arena->urgent = true;
  arena->began_ns = now_ns;
  arena->cycles_ns = 0;
  arena->decision = 0;
  if (arena->ended_ns != 0) {
    const std::uint64_t gap_ns = now_ns - arena->ended_ns;
    arena->gap_ns = arena->gap_ns == 0 ? gap_ns : (3 * arena->gap_ns + gap_ns) / 4;
  }
  // Another process's word. Orders make a queue outranked, too; then it is old, and was another request's.
  const std::uint64_t raised_ns = urgency.raised_ns.load(std::memory_order_relaxed);
  if (raised_ns > arena->ended_ns && raised_ns <= now_ns && now_ns - raised_ns < kLeaseUs * 1000) {
    arena->model.ObserveReaction(now_ns - raised_ns);
    page_->reaction_ns.store(arena->model.ReactionNs(), std::memory_order_relaxed);
  }
  Decide(arena, outranked, now_ns);
}

void Preemptor::Depart(Arena* arena, const GpuUrgency& urgency, std::uint64_t now_ns) {
  arena->urgent = false;
  arena->ended_ns = now_ns;
  arena->review_ns = 0;
  arena->lift_ns = now_ns + DwellNs(arena->model, PlanInputs{}, arena->gap_ns);
  // However long it took: a job of seconds is learnt from, too, or it would be held for for ever.
  Complete(arena, RequestTookNs(urgency, arena->began_ns, now_ns));
}

PlanInputs Preemptor::InputsOf(const Outranked& outranked) const {
  PlanInputs inputs;
  inputs.queues = 0;
  inputs.can_squeeze = inputs.can_suspend = inputs.can_share = true;
  for (std::uint32_t i = 0; i < outranked.count; ++i) {
    const Candidate& candidate = outranked.list[i];
    const RestrictionState& state = candidate.queue->restricted;
    const std::uint32_t usable =
        candidate.slot->mechanisms.load(std::memory_order_relaxed) &
        candidate.slot->mechanisms_available.load(std::memory_order_relaxed);
    inputs.can_share = inputs.can_share && candidate.seen && (usable & kMechanismShare) != 0;
    const bool has_work = candidate.rest_ns != 0 || gate_->HasBacklog(*candidate.queue);
    if (has_work) {
      ++inputs.queues;
      inputs.can_squeeze =
          inputs.can_squeeze && state.narrowable && (usable & kMechanismSqueeze) != 0;
      inputs.can_suspend = inputs.can_suspend && (usable & kMechanismSuspend) != 0;
    }
    if (candidate.rest_ns < inputs.rest_ns) continue;
    inputs.rest_ns = candidate.rest_ns;
    inputs.rest_spread_ns = candidate.spread_ns;
    inputs.compute_units = state.node.compute_units;
    inputs.unit_step = state.node.shader_arrays;
    inputs.units_ordered = candidate.slot->squeeze_units.load(std::memory_order_relaxed);
    inputs.budget_permille = candidate.slot->delay_budget_permille.load(std::memory_order_relaxed);
  }
  inputs.can_batch = CanBatch();
  if (inputs.rest_ns < kShortRestNs) inputs.rest_ns = 0;
  return inputs;
}

void Preemptor::SizeWindow(const Arena& arena, ManagedQueue* queue, QueueSlot* slot) const {
  Outranked alone;
  alone.list[alone.count++] = {queue, slot, 1};
  queue->wide_window_ns.store(WideWindowNs(arena.model, InputsOf(alone)),
                              std::memory_order_relaxed);
}

void Preemptor::Decide(Arena* arena, Outranked* outranked, std::uint64_t now_ns) {
  for (std::uint32_t i = 0; i < outranked->count; ++i) {
    Candidate& candidate = outranked->list[i];
    const PredictedRest rest = gate_->RestOf(candidate.queue, now_ns);
    candidate.rest_ns = rest.ns;
    candidate.spread_ns = rest.spread_ns;
    candidate.seen = rest.seen;
  }
  PlanInputs inputs = InputsOf(*outranked);
  arena->review_ns = 0;
  if (inputs.queues == 0) return;  // nobody here has work
  const bool again = arena->decision != 0;
  inputs.elapsed_ns = now_ns - arena->began_ns;
  // Of a request that was held for first, nothing could be learnt about leaving a queue alone.
  inputs.can_share = inputs.can_share && !again;
  const PlanChoice choice = ChoosePlan(arena->model, inputs);
  // A second look that comes to the same end is no new decision.
  if (!again || choice.mechanism != PlanMechanism::kHold) {
    arena->choice = choice;
    arena->rest_ns = inputs.rest_ns;
    arena->rest_spread_ns = inputs.rest_ns != 0 ? inputs.rest_spread_ns : 0;
    Apply(arena, *outranked, now_ns);
  }
  if (choice.mechanism == PlanMechanism::kHold && inputs.rest_ns != 0) {
    // The longer it has been so, the less often: where many programs share the device the hardware may not come to
    // this one's packets for long, and looking again each time a short prediction has run out costs a processor.
    const std::uint64_t soon_ns = inputs.rest_ns + inputs.rest_ns / 4 + kReviewSlackNs;
    arena->review_ns = now_ns + std::max(soon_ns, inputs.elapsed_ns / 2);
  }
}

}  // namespace xsched_hsa

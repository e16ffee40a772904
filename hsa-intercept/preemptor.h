// preemptor.h: reaches what the hardware has already taken: squeezes, suspends, and lifts again.
//
// Why        A gate holds what is not published yet; a kernel of many milliseconds that already
//            runs is beyond it. Only the owning process may tell the driver to take its queue off
//            the hardware or to narrow it, so this thread lives in the less urgent program and is
//            woken by the urgent one's doorbell. It decides once a request (preemption_plan.h),
//            looks again when its prediction has run out, and remembers what it decided and what
//            came of it.
// Threads    one of its own, asleep on the user page's bell while something here may be preempted
//            and has had work lately, or is restricted, else on a word of its own
//            (preemptor_listen.cc). Round is public for the simulation. The program's threads come
//            through Adopt, Forget, ProgramSetPriority and ProgramSetMask. Lock order: Layer's registration mutex, then
//            mutex_; nothing is called under mutex_ but the driver and the gate.
// Lease      whatever is restricted here is lifted when the urgency's lease runs out: a controller
//            that is dead or hangs can restrict a queue for no longer (shared_page.h).
// Errors     a refusal of the driver is logged once and that mechanism not tried again on that
//            queue; a lift that fails is tried again at each round.
// See        docs/life-of-a-preemption.md, preemptor_test.cc
#pragma once

#include <atomic>
#include <cstdint>

#include "kfd_access.h"
#include "managed_queue.h"
#include "mutex.h"
#include "preemption_plan.h"
#include "pump.h"
#include "queue_registry.h"
#include "window_gate.h"

namespace xsched_hsa {

class Preemptor {
 public:
  constexpr Preemptor(QueueRegistry* registry, WindowGate* gate, Pump* pump, KfdCalls* kfd)
      : registry_(registry), gate_(gate), pump_(pump), kfd_(kfd) {}

  // Starts the thread, once. False if the system has no thread left; then only holding is left.
  bool Start();

  // The session's pages, or null and null: everything is lifted then, before this returns.
  void SetSession(ProcessPage* page, UserPage* user_page);
  // The controller has changed orders of this process. Any thread.
  void Nudge();
  // Lifts every restriction and makes no new one until the next SetSession.
  void LiftAll();
  void AfterForkInChild();

  // Around the program's own changes, so that neither undoes the other's.
  void Adopt(ManagedQueue* queue, const KfdQueue& kfd, const KfdNode& node);
  void Forget(ManagedQueue* queue);  // before the queue is destroyed
  void ProgramSetPriority(ManagedQueue* queue, std::uint32_t kfd_priority);
  void ProgramSetMask(ManagedQueue* queue, const std::uint32_t* mask, std::uint32_t bits);
  Mutex* mutex() { return &mutex_; }  // held around those calls and what they report

  // One look at everything; returns after how many nanoseconds to look again.
  std::uint64_t Round();
  // The page on whose bell the thread has to sleep now; null: on none. Public for the test.
  UserPage* PageToHear();
  const PlanModel& model(std::uint32_t gpu_index) const { return arenas_[gpu_index].model; }
  // The thread itself, which never ends. Public for the explorer.
  void Run();

 private:
  // One GPU as this process has it.
  struct Arena {
    PlanModel model;
    PlanChoice choice;
    bool urgent = false;
    std::uint64_t began_ns = 0;
    std::uint64_t ended_ns = 0;
    std::uint64_t gap_ns = 0;     // lately, from the end of one request to the next
    std::uint64_t review_ns = 0;  // when the choice is looked at again; 0: no more
    std::uint64_t lift_ns = 0;    // when restrictions end, once nothing is urgent
    std::uint64_t lease_ns = 0;   // until then the urgency holds
    std::uint64_t rest_ns = 0;    // as predicted when the choice was made
    std::uint64_t rest_spread_ns = 0;
    std::uint64_t cycles_ns = 0;    // spent on it
    std::uint64_t measured_ns = 0;  // when a cycle was last measured
    std::uint64_t decision = 0;     // its number + 1; 0: none to complete
  };
  struct Candidate {
    ManagedQueue* queue;
    QueueSlot* slot;
    std::uint64_t rest_ns;
    std::uint64_t spread_ns = 0;
    bool seen = true;
  };
  static constexpr std::uint64_t kRetryLiftNs = 10'000'000;
  static constexpr std::uint32_t kCandidatesMax = 64;  // further queues are only held
  struct Outranked {
    Candidate list[kCandidatesMax];
    std::uint32_t count = 0;
    std::uint64_t until_us = 0;
  };

  static void* ThreadMain(void* self);
  std::uint64_t RoundLocked(std::uint64_t now_ns);
  void LookAtGpu(std::uint32_t index, GpuUrgency* urgency, std::uint64_t now_ns,
                 std::uint64_t* next_ns);
  void FindOutranked(const GpuUrgency* urgency, std::uint64_t now_us, Outranked* found);
  void Arrive(Arena* arena, const GpuUrgency& urgency, Outranked* outranked, std::uint64_t now_ns);
  void Depart(Arena* arena, const GpuUrgency& urgency, std::uint64_t now_ns);
  void Decide(Arena* arena, Outranked* outranked, std::uint64_t now_ns);
  PlanInputs InputsOf(const Outranked& outranked) const;
  void SizeWindow(const Arena& arena, ManagedQueue* queue, QueueSlot* slot) const;
  void Apply(Arena* arena, const Outranked& outranked, std::uint64_t now_ns);
  int Suspend(Arena* arena, const Candidate& candidate);
  bool CanBatch() const { return !batch_refused_ && kfd_->CanBatch(); }
  bool SuspendTogether(Arena* arena, const Outranked& outranked);
  void ResumeTogether(Arena* arena, ManagedQueue* const* queues, std::uint32_t count);
  int Resume(RestrictionState* state);
  int UpdateOn(RestrictionState* state);
  std::uint64_t KeepStopped(ManagedQueue* queue);
  void Lifted(ManagedQueue* queue, QueueSlot* slot, std::uint64_t took_ns);
  int Squeeze(Arena* arena, const Candidate& candidate, std::uint32_t units_left);
  static void SetRestriction(const Candidate& candidate, Restriction restriction);
  bool Lift(Arena* arena, ManagedQueue* queue, QueueSlot* slot);
  void LiftNotOutranked(const GpuUrgency* urgency, Arena* arena, const Outranked& outranked);
  int Timed(Arena* arena, int error, std::uint64_t began_ns, bool mask = false);
  bool MayProbe(const Arena& arena, std::uint64_t now_ns) const;
  void Probe(const GpuUrgency* urgency, Arena* arena);
  void FollowPriority(ManagedQueue* queue, QueueSlot* slot);
  // preemptor_orders.cc
  void FollowHoldOrder(Arena* arena, ManagedQueue* queue, QueueSlot* slot, std::uint64_t* next_ns);
  void FollowStandingMask(ManagedQueue* queue, QueueSlot* slot, std::uint64_t* next_ns);
  bool SetStandingMask(ManagedQueue* queue, QueueSlot* slot, std::uint32_t first,
                       std::uint32_t units);
  void Record(Arena* arena, const Outranked& outranked, std::uint64_t now_ns);
  void Complete(Arena* arena, std::uint64_t took_ns);
  // preemptor_listen.cc
  static bool IsPreemptible(const ManagedQueue& queue);
  bool Rest();
  void EndRest();
  std::uint64_t LiftAllLocked();  // returns when to try what the driver refuses for now again

  QueueRegistry* registry_;
  WindowGate* gate_;
  Pump* pump_;
  KfdCalls* kfd_;
  Mutex mutex_;
  Arena arenas_[kGpusMax];         // as the user page's entries
  ProcessPage* page_ = nullptr;    // under mutex_
  UserPage* user_page_ = nullptr;  // under mutex_
  bool off_ = true;                // under mutex_
  bool resting_ = false;           // under mutex_: queues have been told so
  std::uint64_t worked_ns_ = 0;    // under mutex_: when a queue was last seen with work
  bool batch_refused_ = false;     // under mutex_; then queue by queue, for good
  std::atomic<bool> started_{false};
  std::atomic<std::uint32_t> own_word_{0};
  std::atomic<UserPage*> listening_{nullptr};
};

}  // namespace xsched_hsa

// The preemptor against rings in plain memory and a driver that records what it is told. That real
// queues really stop and lose nothing is tested on the runtime (tests/preemption_test.cc).
#include "preemptor.h"

#include <algorithm>

#include "log.h"
#include "preemptor_fixture.h"

namespace xsched_hsa {
namespace {

TEST_F(PreemptorTest, SuspendsALongRestAndResumesWhenTheRequestIsOver) {
  SuspendForARequest();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 0% prio 7"});
  EXPECT_EQ(slot_->restriction, kSuspended);
  g_test_now_ns += 2 * kMs;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{});
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 7"});
  EXPECT_EQ(slot_->restriction, kUnrestricted);
  EXPECT_EQ(slot_->suspends, 1u);
  EXPECT_EQ(Last().mechanism, static_cast<std::uint32_t>(PlanMechanism::kSuspend));
  EXPECT_GE(Last().rest_ns, 4 * kMs);
  EXPECT_EQ(Last().measured_ns, 2 * kMs + 100'000);
}

TEST_F(PreemptorTest, ResumesByItselfWhenTheLeaseRunsOut) {
  slot_->mechanisms = kMechanismSuspend;
  Expose(40);
  Urgent();
  const std::uint64_t next_ns = preemptor_->Round();
  driver_.Take();
  EXPECT_LE(next_ns, kLeaseUs * 1000);
  g_test_now_ns += kLeaseUs * 1000 + 1000;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 7"});
}

TEST_F(PreemptorTest, SqueezesEqualSharesAndOpensTheGateMeanwhile) {
  slot_->mechanisms = kMechanismSqueeze;
  slot_->squeeze_units = 32;
  driver_.call_ns = 1000;
  Expose(40);
  Urgent();
  std::uint64_t until = 0;
  EXPECT_TRUE(IsClosed(*queue_, *slot_, NowUs(), &until));
  slot_->delay_budget_permille = 300;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"mask 5 32"});
  EXPECT_EQ(driver_.last_mask, (std::vector<std::uint32_t>{0xffffffff, 0, 0}));
  EXPECT_FALSE(IsClosed(*queue_, *slot_, NowUs(), &until)) << "a squeezed queue goes on";
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"mask 5 96"}) << "all bits: there is no way to say 'no mask'";
}

TEST_F(PreemptorTest, SuspendsSeveralQueuesInOneCallAndResumesThemInOne) {
  slot_->mechanisms = kMechanismSuspend;
  driver_.can_batch = true;
  Expose(40);
  AddQueue(40);
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"suspend 5 6"});
  EXPECT_EQ(slot_->restriction, kSuspended);
  EXPECT_EQ(Last().queues, 2u);
  // ROCr's own update leaves a queue off that was suspended so.
  preemptor_->ProgramSetPriority(queue_, 11);
  EXPECT_EQ(driver_.Take(), Calls{});
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"resume 5 6"});
  EXPECT_EQ(slot_->restriction, kUnrestricted);
}

TEST_F(PreemptorTest, SuspendsOneByOneWhereTheDriverRefusesABatch) {
  slot_->mechanisms = kMechanismSuspend;
  driver_.can_batch = true;
  driver_.batch_error = EPERM;
  Expose(40);
  AddQueue(40);
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(),
            (Calls{"suspend 5 6", "resume 5 6", "update 5 0% prio 7", "update 6 0% prio 7"}));
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), (Calls{"update 5 100% prio 7", "update 6 100% prio 7"}));
  g_test_now_ns += 50 * kMs;
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), (Calls{"update 5 0% prio 7", "update 6 0% prio 7"}))
      << "one refusal, and one line, is enough";
}

TEST_F(PreemptorTest, AQueueThatVanishedDuringABatchEndsNoLaterOne) {
  slot_->mechanisms = kMechanismSuspend;
  driver_.can_batch = true;
  driver_.batch_error = ENODEV;
  Expose(40);
  AddQueue(40);
  Urgent();
  preemptor_->Round();
  Urgent(0);
  preemptor_->Round();
  driver_.Take();
  driver_.batch_error = 0;
  g_test_now_ns += 50 * kMs;
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"suspend 5 6"});
}

TEST_F(PreemptorTest, AQueueOfABatchIsResumedBeforeItIsDestroyed) {
  slot_->mechanisms = kMechanismSuspend;
  driver_.can_batch = true;
  Expose(40);
  AddQueue(40);
  Urgent();
  preemptor_->Round();
  driver_.Take();
  preemptor_->Forget(queue_);  // the driver would wait with the destruction for ever
  EXPECT_EQ(driver_.Take(), Calls{"resume 5"});
  preemptor_->LiftAll();
  EXPECT_EQ(driver_.Take(), Calls{"resume 6"});
}

TEST_F(PreemptorTest, LeavesAQueueAloneWithoutADriverCallAndTakesItBackAfterwards) {
  LearnShortRests();
  slot_->mechanisms = kMechanismShare;
  const std::uint64_t restricted_us = slot_->restricted_us;
  Expose(1);
  Urgent();
  std::uint64_t until = 0;
  EXPECT_TRUE(IsClosed(*queue_, *slot_, NowUs(), &until));
  preemptor_->Round();
  EXPECT_EQ(Last().mechanism, static_cast<std::uint32_t>(PlanMechanism::kShare));
  EXPECT_EQ(slot_->restriction, kSharing);
  EXPECT_FALSE(IsClosed(*queue_, *slot_, NowUs(), &until));
  slot_->hold = 1;
  slot_->hold_lease_until_us = NowUs() + kLeaseUs;
  EXPECT_TRUE(IsClosed(*queue_, *slot_, NowUs(), &until)) << "an operator's hold is no request's";
  slot_->hold = 0;
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(slot_->restriction, kUnrestricted);
  EXPECT_EQ(slot_->restricted_us, restricted_us);
  Urgent();
  EXPECT_TRUE(IsClosed(*queue_, *slot_, NowUs(), &until)) << "the next request is a new choice";
  EXPECT_EQ(driver_.Take(), Calls{});
}

TEST_F(PreemptorTest, AnOrderToSuspendReachesAQueueThatGoesOn) {
  LearnShortRests();
  slot_->mechanisms = kMechanismShare;
  Expose(1);
  Urgent();
  preemptor_->Round();
  ASSERT_EQ(slot_->restriction, kSharing);
  slot_->hold_lease_until_us = NowUs() + kLeaseUs;
  slot_->hold = kHoldSuspend;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 0% prio 7"});
  EXPECT_EQ(slot_->restriction, kSuspended);
  slot_->hold = 0;
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 7"});
}

// A controller that hangs rings no more, so nobody else would make it look.
TEST_F(PreemptorTest, AnOrdersEndThatTheDriverRefusesIsTriedAgain) {
  slot_->mechanisms = kMechanismSuspend;
  slot_->hold_lease_until_us = NowUs() + kLeaseUs;
  slot_->hold = kHoldSuspend;
  preemptor_->Round();
  ASSERT_EQ(slot_->restriction, kSuspended);
  g_test_now_ns += kLeaseUs * 1000 + 1000;
  driver_.error = EIO;
  EXPECT_LE(preemptor_->Round(), 10'000'000u);
  ASSERT_EQ(slot_->restriction, kSuspended);
  driver_.error = 0;
  preemptor_->Round();
  EXPECT_EQ(slot_->restriction, kUnrestricted);
}

TEST_F(PreemptorTest, AQueueLeftAloneIsNotWhenTheLeaseRunsOut) {
  LearnShortRests();
  slot_->mechanisms = kMechanismShare;
  Expose(1);
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(slot_->restriction, kSharing);
  g_test_now_ns += kLeaseUs * 1000 + 1000;
  preemptor_->Round();
  EXPECT_EQ(slot_->restriction, kUnrestricted);
}

TEST_F(PreemptorTest, KeepsTheProgramsOwnMask) {
  slot_->mechanisms = kMechanismSqueeze;
  slot_->squeeze_units = 32;
  slot_->delay_budget_permille = 300;
  driver_.call_ns = 1000;
  const std::uint32_t own[3] = {0x0000ffff, 0xffff0000, 0};
  preemptor_->ProgramSetMask(queue_, own, 96);
  Expose(40);
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.last_mask, (std::vector<std::uint32_t>{0x0000ffff, 0, 0}));
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(driver_.last_mask, (std::vector<std::uint32_t>{0x0000ffff, 0xffff0000, 0}));
}

TEST_F(PreemptorTest, DoesNotSqueezeAnArrayOfTheDeviceDownToNothing) {
  slot_->mechanisms = kMechanismSqueeze;
  slot_->squeeze_units = 32;
  slot_->delay_budget_permille = 300;
  driver_.call_ns = 1000;
  const std::uint32_t own[3] = {0x0000fff0, 0xffffffff,
                                0};  // nothing of 4 arrays among the first 32
  preemptor_->ProgramSetMask(queue_, own, 96);
  Expose(40);
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{});
  EXPECT_EQ(slot_->restriction, kUnrestricted);
}

TEST_F(PreemptorTest, SuspendsAgainAfterTheProgramsPriorityChangeHasResumedIt) {
  SuspendForARequest();
  driver_.Take();
  {
    MutexScope scope(preemptor_->mutex());
    preemptor_->ProgramSetPriority(queue_, 11);
  }
  EXPECT_EQ(driver_.Take(), Calls{"update 5 0% prio 11"});
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 11"});
}

TEST_F(PreemptorTest, HardwarePriorityFollowsUnlessTheProgramHasSetOne) {
  slot_->kfd_priority = 0;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 0"});
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{});
  {
    MutexScope scope(preemptor_->mutex());
    preemptor_->ProgramSetPriority(queue_, 15);
  }
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{});
}

TEST_F(PreemptorTest, OnlyHoldsAfterTheDriverHasRefused) {
  slot_->mechanisms = kMechanismSuspend;
  driver_.error = EIO;
  Expose(40);
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), (Calls{"update 5 0% prio 7", "update 5 100% prio 7"}))
      << "whatever state the driver left it in, it has to run";
  EXPECT_EQ(Last().error, static_cast<std::uint32_t>(EIO));
  EXPECT_EQ(slot_->mechanisms_available & kMechanismSuspend, 0u);
  // Neither was done, for all that is known.
  Urgent(0);
  EXPECT_LE(preemptor_->Round(), 10 * kMs) << "a queue that nobody resumes any more";
  driver_.error = 0;
  driver_.Take();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 7"});
  EXPECT_EQ(slot_->restriction, kUnrestricted);
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{});
}

TEST_F(PreemptorTest, LearnsFromUrgentWorkOfAnyLength) {
  slot_->mechanisms = kMechanismSuspend;
  Preemptor fresh(registry_.get(), gate_.get(), pump_.get(), &driver_);
  fresh.SetSession(page_.get(), user_page_.get());
  int suspended = 0;
  for (std::uint32_t i = 0; i < 2 * PlanModel::kTriesFirst; ++i) {
    Expose(20);
    Urgent();
    fresh.Round();
    suspended += slot_->restriction == kSuspended ? 1 : 0;
    for (int lease = 0; lease < 20; ++lease) {  // a second of work, the lease renewed
      g_test_now_ns += 50 * kMs;
      urgency_->lease_until_us = NowUs() + kLeaseUs;
      fresh.Round();
    }
    Urgent(0);
    fresh.Round();
    Drain();
  }
  EXPECT_GT(suspended, 0);
  fresh.SetSession(nullptr, nullptr);
}

TEST_F(PreemptorTest, AsksADriverThatRefusesToMeasureOnlyOnce) {
  Expose(40);
  g_test_now_ns += 2'000 * kMs;  // the last measure is stale
  driver_.error = EPERM;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 7"});
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{});
  EXPECT_EQ(slot_->mechanisms_available & (kMechanismSqueeze | kMechanismSuspend), 0u);
}

TEST_F(PreemptorTest, TriesALiftAgainUntilItWorks) {
  SuspendForARequest();
  driver_.Take();
  Urgent(0);
  driver_.error = ETIME;
  EXPECT_LE(preemptor_->Round(), 10 * kMs);
  EXPECT_EQ(slot_->restriction, kSuspended);
  driver_.error = 0;
  g_test_now_ns += 10 * kMs;
  preemptor_->Round();
  EXPECT_EQ(slot_->restriction, kUnrestricted);
}

TEST_F(PreemptorTest, LooksAgainAtAHoldWhosePredictionWasTooShort) {
  slot_->mechanisms = kMechanismSuspend;
  CyclesCost(kMs);
  Expose(5);
  Urgent();
  const std::uint64_t next_ns = preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{});
  EXPECT_LT(next_ns, 10 * kMs);
  Expose(40);  // it turns out to be much more
  g_test_now_ns += next_ns + 1000;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 0% prio 7"});
}

// As where many programs share the device: the hardware does not come to the queue's packets for long.
TEST_F(PreemptorTest, LooksAtAHoldThatLastsEverMoreSeldom) {
  slot_->mechanisms = kMechanismSuspend;
  CyclesCost(10 * kMs);
  Expose(1);
  const std::uint64_t began_ns = g_test_now_ns;
  int looks = 0;
  for (; g_test_now_ns < began_ns + 300 * kMs && looks < 1000; ++looks) {
    Urgent();  // and its lease
    g_test_now_ns += preemptor_->Round() + 1000;
  }
  EXPECT_EQ(driver_.Take(), Calls{});
  EXPECT_GT(looks, 3);
  EXPECT_LT(looks, 40);
}

// What it would gain is over with the request, which would meet the cycle.
TEST_F(PreemptorTest, HoldsOnWhenItLooksAgainNearTheRequestsEnd) {
  slot_->mechanisms = kMechanismSqueeze;
  slot_->delay_budget_permille = 900;
  CyclesCost(400'000);
  Expose(10);  // half of the 2 ms that requests take
  ring_->Write(ring_->published(), 99);
  queue_->announced_index = queue_->reserved_index = ring_->published() + 1;
  Urgent();
  const std::uint64_t next_ns = preemptor_->Round();
  ASSERT_EQ(driver_.Take(), Calls{}) << "a hold first";
  ASSERT_GT(next_ns, 1 * kMs);
  Drain();
  g_test_now_ns += next_ns + 1000;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{}) << "two cycles for a quarter of a request";
}

TEST_F(PreemptorTest, LiftsEverythingWhenTheSessionEnds) {
  SuspendForARequest();
  driver_.Take();
  preemptor_->SetSession(nullptr, nullptr);
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 7"});
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{}) << "no session, no preemption";
}

TEST_F(PreemptorTest, GoesOnLiftingAfterTheSessionHasEnded) {
  SuspendForARequest();
  driver_.Take();
  driver_.error = EIO;
  preemptor_->SetSession(nullptr, nullptr);
  EXPECT_LE(preemptor_->Round(), 10 * kMs) << "a queue that nobody resumes any more";
  driver_.error = 0;
  driver_.Take();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 7"});
}

// Every 10 ms for as long as it takes: who reads the log wants to see other lines, too.
TEST_F(PreemptorTest, TellsOfResumesThatAreRefusedEverMoreSeldom) {
  SuspendForARequest();
  driver_.error = EIO;
  Urgent(0);
  SetLogLevel(LogLevel::kWarn);
  testing::internal::CaptureStderr();
  for (int i = 0; i < 100; ++i) preemptor_->Round();
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 7) << said;
  EXPECT_NE(said.find("to resume queue"), std::string::npos) << said;
  EXPECT_NE(said.find("(64 refused so far)"), std::string::npos) << said;
  driver_.error = 0;
  preemptor_->Round();
  EXPECT_EQ(slot_->restriction, kUnrestricted);
  EXPECT_EQ(queue_->restricted.retries, 0u) << "the next one is told of again";
}

TEST_F(PreemptorTest, AStandingMaskEndsWithItsLease) {
  slot_->standing_units = 32;
  slot_->standing_lease_until_us = NowUs() + kLeaseUs;
  EXPECT_LE(preemptor_->Round(), kLeaseUs * 1000);
  EXPECT_EQ(driver_.Take(), Calls{"mask 5 32"});
  EXPECT_EQ(slot_->masked_units, 32u);
  slot_->standing_lease_until_us = NowUs() + kLeaseUs;  // renewed
  g_test_now_ns += kLeaseUs * 1000 - 1000;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{});
  g_test_now_ns += 2'000;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"mask 5 96"});
  EXPECT_EQ(slot_->masked_units, 0u);
  slot_->standing_lease_until_us = NowUs() + kLeaseUs;  // its controller is there again
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"mask 5 32"});
}

TEST_F(PreemptorTest, TriesToTakeAStandingMaskOffUntilItWorks) {
  slot_->standing_units = 32;
  slot_->standing_lease_until_us = NowUs() + kLeaseUs;
  preemptor_->Round();
  slot_->standing_units = 0;
  driver_.error = EIO;
  EXPECT_LE(preemptor_->Round(), 10 * kMs);
  driver_.error = 0;
  driver_.Take();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"mask 5 96"});
}

TEST_F(PreemptorTest, ForgetsAQueueBeforeItsIdIsUsedAgain) {
  SuspendForARequest();
  driver_.Take();
  preemptor_->Forget(queue_);
  queue_->live = 0;
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 7"});
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{});
}

TEST_F(PreemptorTest, LeavesAloneWhatBypassesTheApi) {
  queue_->foreign = 1;
  Expose(40);
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{});
}

}  // namespace
// ------------------------------------------------------------------------------ who listens (preemptor_listen.cc)

constexpr std::uint64_t kIdleMs = 101;  // after which it rests

TEST_F(PreemptorTest, RestsWhileNothingHasWorkAndIsToldOfTheNextPacket) {
  int told = 0;
  pump_->SetOrdersListener([](void* count) { ++*static_cast<int*>(count); }, &told);
  Expose(1);
  EXPECT_EQ(preemptor_->PageToHear(), user_page_.get());
  Drain();
  EXPECT_EQ(preemptor_->PageToHear(), user_page_.get()) << "a pause";
  g_test_now_ns += kIdleMs * kMs;
  EXPECT_EQ(preemptor_->PageToHear(), nullptr);
  pump_->Round();
  EXPECT_EQ(told, 0) << "no work came";

  for (int i = 0; i < 2; ++i) {
    const std::uint64_t index = ring_->published();
    ring_->Write(index, 99);
    queue_->reserved_index = index + 1;
    EXPECT_EQ(gate_->Doorbell(queue_, index + 1), i == 0) << "it has to be told once";
    Drain();  // at once: only the doorbell knows that there was work
  }
  pump_->Round();
  EXPECT_EQ(told, 1);
  EXPECT_EQ(preemptor_->PageToHear(), user_page_.get());
  pump_->Round();
  EXPECT_EQ(told, 1);
}

TEST_F(PreemptorTest, HearsTheEndOfARequestWhoseBeginItHasHeard) {
  Expose(1);
  EXPECT_EQ(preemptor_->PageToHear(), user_page_.get());
  Urgent();
  preemptor_->Round();
  Drain();
  for (int i = 0; i < 3; ++i) {
    g_test_now_ns += kIdleMs * kMs;
    EXPECT_EQ(preemptor_->PageToHear(), user_page_.get()) << i;
  }
  Urgent(0);
  preemptor_->Round();
  g_test_now_ns += kIdleMs * kMs;
  EXPECT_EQ(preemptor_->PageToHear(), nullptr);
}

// Between the look that finds nothing and the mark that would have the doorbell tell.
TEST_F(PreemptorTest, WorkThatComesWhileItGoesToRestIsSeen) {
  AddQueue(0);
  preemptor_->PageToHear();
  Drain();
  g_test_now_ns += kIdleMs * kMs;
  // The first queue has been looked at when the second one is.
  TestRing::in_the_middle_of_a_look = [this] {
    TestRing::in_the_middle_of_a_look = [this] { Expose(1); };
  };
  EXPECT_EQ(preemptor_->PageToHear(), user_page_.get());
  EXPECT_EQ(ring_->published() - ring_->taken(), 1u) << "it came";
  EXPECT_EQ(queue_->preemptor_rest, kListens);
}

TEST_F(PreemptorTest, NobodyIsToldAfterTheSession) {
  Drain();
  g_test_now_ns += kIdleMs * kMs;
  ASSERT_EQ(preemptor_->PageToHear(), nullptr);
  EXPECT_EQ(queue_->preemptor_rest, kRests);
  preemptor_->SetSession(nullptr, nullptr);
  EXPECT_EQ(preemptor_->PageToHear(), nullptr);
  EXPECT_EQ(queue_->preemptor_rest, kListens);
}

TEST_F(PreemptorTest, AQueueThatMayOnlyBeHeldTellsNobody) {
  Drain();
  g_test_now_ns += kIdleMs * kMs;
  ASSERT_EQ(preemptor_->PageToHear(), nullptr);
  slot_->mechanisms = 0;
  EXPECT_EQ(preemptor_->PageToHear(), nullptr);
  EXPECT_EQ(queue_->preemptor_rest, kListens);
}

}  // namespace xsched_hsa

// The preemptor over several requests, and with the program's own changes in between.
#include <gtest/gtest.h>

#include "log.h"
#include "preemptor_fixture.h"

namespace xsched_hsa {
namespace {

// As narrow as this queue is, whatever another GPU's queues keep.
TEST_F(PreemptorTest, AMaskThatTheProgramSetsMeanwhileIsNarrowedAtOnceAndRestoredWhole) {
  slot_->delay_budget_permille = 300;
  GpuUrgency* const here = urgency_;
  urgency_ = FindUrgency(user_page_.get(), 8);
  queue_->urgency = urgency_;
  Learn();
  slot_->mechanisms = kMechanismSqueeze;
  slot_->squeeze_units = 64;
  Expose(40);
  Urgent();
  preemptor_->Round();
  Urgent(0);
  preemptor_->Round();
  ASSERT_EQ(driver_.Take(), (Calls{"mask 5 64", "mask 5 96"}));
  urgency_ = here;
  queue_->urgency = here;
  slot_->squeeze_units = 32;
  Urgent();
  preemptor_->Round();
  ASSERT_EQ(driver_.Take(), Calls{"mask 5 32"});
  const std::uint32_t own[3] = {0xffffffff, 0x0000ffff, 0};
  {
    MutexScope scope(preemptor_->mutex());
    preemptor_->ProgramSetMask(queue_, own, 96);
  }
  EXPECT_EQ(driver_.Take(), Calls{"mask 5 32"}) << "ROCr's call has widened it";
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(driver_.last_mask, (std::vector<std::uint32_t>{0xffffffff, 0x0000ffff, 0}));
}

TEST_F(PreemptorTest, AMaskThatTheProgramSetsUnderAStandingOneIsNarrowedByIt) {
  slot_->standing_units = 32;
  slot_->standing_lease_until_us = NowUs() + kLeaseUs;
  preemptor_->Round();
  ASSERT_EQ(driver_.Take(), Calls{"mask 5 32"});
  const std::uint32_t own[3] = {0xffff0000, 0xffffffff, 0};
  {
    MutexScope scope(preemptor_->mutex());
    preemptor_->ProgramSetMask(queue_, own, 96);
  }
  EXPECT_EQ(slot_->masked_units, 0u) << "it is not in force now";
  preemptor_->Round();
  EXPECT_EQ(driver_.last_mask, (std::vector<std::uint32_t>{0xffff0000, 0, 0}));
  EXPECT_EQ(slot_->masked_units, 32u);
  {
    MutexScope scope(preemptor_->mutex());
    preemptor_->ProgramSetMask(queue_, nullptr, 0);  // all of them again
  }
  preemptor_->Round();
  EXPECT_EQ(driver_.last_mask, (std::vector<std::uint32_t>{0xffffffff, 0, 0}));
  slot_->standing_units = 0;
  preemptor_->Round();
  EXPECT_EQ(driver_.last_mask, (std::vector<std::uint32_t>{0xffffffff, 0xffffffff, 0xffffffff}));
}

// One suspension for requests that come so fast that going back and forth would cost more.
TEST_F(PreemptorTest, StaysSuspendedThroughABurstAndComesBackOnceAfterIt) {
  slot_->mechanisms = kMechanismSuspend;
  Expose(40);
  const auto request = [&](std::uint64_t gap_ns) {
    Urgent();
    preemptor_->Round();
    g_test_now_ns += 2 * kMs;
    Urgent(0);
    preemptor_->Round();
    g_test_now_ns += gap_ns;
  };
  // Apart: each its own.
  request(50 * kMs);
  request(50 * kMs);
  EXPECT_EQ(driver_.Take(), (Calls{"update 5 0% prio 7", "update 5 100% prio 7",
                                   "update 5 0% prio 7", "update 5 100% prio 7"}));
  // The mean gap has to come down first.
  for (int i = 0; i < 30; ++i) request(200'000);
  driver_.Take();
  for (int i = 0; i < 20; ++i) request(200'000);
  EXPECT_EQ(driver_.Take(), Calls{}) << "two cycles between requests that are closer than those";
  EXPECT_EQ(slot_->restriction, kSuspended);
  g_test_now_ns += 5 * kMs;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 7"});
  EXPECT_EQ(slot_->restriction, kUnrestricted);
}

TEST_F(PreemptorTest, MeasuresACycleByUpdatesThatChangeNothingAndAgainWhenTheMeasureIsOld) {
  Preemptor fresh(registry_.get(), gate_.get(), pump_.get(), &driver_);
  fresh.SetSession(page_.get(), user_page_.get());
  Expose(1);
  for (int i = 0; i < 5; ++i) fresh.Round();
  EXPECT_EQ(driver_.Take(), Calls(3, "update 5 100% prio 7"));
  EXPECT_EQ(page_->cycle_ns, 200'000u);
  g_test_now_ns += 1'100 * kMs;
  for (int i = 0; i < 3; ++i) fresh.Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 7"});
  Drain();
  g_test_now_ns += 5'000 * kMs;
  fresh.Round();
  EXPECT_EQ(driver_.Take(), Calls{}) << "an empty device has nothing to save, and tells nothing";
  fresh.SetSession(nullptr, nullptr);
}

// A more urgent queue waits for it: it is no longer outranked, and the hardware has what is waited for.
TEST_F(PreemptorTest, AQueueThatAMoreUrgentOneWaitsForIsResumedAtOnce) {
  for (const std::uint32_t mechanism : {kMechanismSuspend, kMechanismSqueeze}) {
    slot_->mechanisms = mechanism;
    slot_->delay_budget_permille = 300;
    Expose(40);
    Urgent();
    preemptor_->Round();
    ASSERT_NE(slot_->restriction, kUnrestricted);
    driver_.Take();
    queue_->inherited_level = kPriorityHigh + 1;
    preemptor_->Round();
    EXPECT_EQ(driver_.Take(),
              Calls{mechanism == kMechanismSuspend ? "update 5 100% prio 7" : "mask 5 96"});
    EXPECT_EQ(slot_->restriction, kUnrestricted);
    queue_->inherited_level = 0;
    EndRequest();
  }
}

TEST_F(PreemptorTest, SaysHowFarOffItsPredictionMayBe) {
  slot_->mechanisms = kMechanismSuspend;
  for (const bool seen : {true, false}) {
    if (!seen) kernel_ = 77;
    Expose(40);
    Urgent();
    preemptor_->Round();
    EXPECT_GE(Last().rest_ns, 4 * kMs);
    if (seen) {
      EXPECT_LT(Last().rest_spread_ns, Last().rest_ns / 10);
    } else {
      EXPECT_EQ(Last().rest_spread_ns, Last().rest_ns) << "nothing is known of it";
    }
    EndRequest();
  }
}

// It may be of any length, and would run beside the whole request.
TEST_F(PreemptorTest, LeavesNoQueueAloneWhoseKernelHasNeverBeenSeenToEnd) {
  LearnShortRests();
  slot_->mechanisms = kMechanismShare;
  for (const std::uint64_t kernel : {77, 99}) {
    kernel_ = kernel;
    Expose(1);
    Urgent();
    preemptor_->Round();
    EXPECT_EQ(slot_->restriction, kernel == 99 ? kSharing : kUnrestricted);
    EndRequest();
  }
}

TEST_F(PreemptorTest, MeasuresWhatMasksCostAndTheWayFromTheUrgentDoorbell) {
  slot_->mechanisms = kMechanismSqueeze;
  slot_->squeeze_units = 32;
  slot_->delay_budget_permille = 300;
  driver_.call_ns = 50'000;
  EXPECT_EQ(page_->mask_ns, 0u);
  const auto request = [&](std::uint64_t raised_ns) {
    Expose(40);
    urgency_->raised_ns = raised_ns;
    g_test_now_ns += 30'000;
    Urgent();
    preemptor_->Round();
    EXPECT_EQ(slot_->restriction, kSqueezed);
    EndRequest();
  };
  // Old ones are another request's, and one to come is damaged.
  for (int i = 0; i < 3; ++i) request(1);
  request(g_test_now_ns + 1'000 * kMs);
  EXPECT_EQ(page_->reaction_ns, 0u);
  for (int i = 0; i < 3; ++i) request(g_test_now_ns);
  EXPECT_EQ(page_->reaction_ns, 30'000u);
  EXPECT_EQ(page_->mask_ns, 100'000u) << "twice the call, as for every cycle";
  EXPECT_EQ(preemptor_->model(0).MaskNs(), 100'000u);
  EXPECT_EQ(preemptor_->model(0).CycleNs(), 200'000u) << "which were dearer before";
}

// ROCr has taken it off the hardware after an error; 100 percent would bring it back to the same packet.
TEST_F(PreemptorTest, NoDriverCallBringsBackAQueueThatRocrHasStopped) {
  SuspendForARequest();
  ASSERT_EQ(driver_.Take(), Calls{"update 5 0% prio 7"});
  queue_->failed = queue_->foreign = 1;
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(slot_->restriction, kUnrestricted);
  slot_->mechanisms = kMechanismsAll;
  slot_->kfd_priority = 0;
  slot_->standing_units = 32;
  slot_->standing_lease_until_us = NowUs() + 10 * kLeaseUs;
  g_test_now_ns += 2'000 * kMs;  // the last measure of a cycle is stale
  Urgent();
  preemptor_->Round();
  Urgent(0);
  preemptor_->Round();
  slot_->hold_lease_until_us = NowUs() + kLeaseUs;
  slot_->hold = kHoldSuspend;
  preemptor_->Round();
  preemptor_->LiftAll();
  // Once, for what may have been on its way to the driver when ROCr stopped it.
  EXPECT_EQ(driver_.Take(), Calls{"update 5 0% prio 7"});
}

TEST_F(PreemptorTest, AQueueThatRocrHasStoppedIsTakenOffUntilTheDriverDoesIt) {
  LiftAndStopInError();
  driver_.error = EBUSY;
  SetLogLevel(LogLevel::kWarn);
  testing::internal::CaptureStderr();
  EXPECT_LT(preemptor_->Round(), 20 * kMs) << "nobody else says when to try again";
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("refuses to keep off the hardware queue"), std::string::npos) << said;
  EXPECT_EQ(driver_.Take(), Calls{"update 5 0% prio 7"});
  driver_.error = 0;
  g_test_now_ns += 20 * kMs;
  preemptor_->Round();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 0% prio 7"});
}

// Ever more seldom where the driver goes on refusing, and not at each look: with a session and without one.
TEST_F(PreemptorTest, ADriverThatKeepsRefusingIsAskedEverMoreSeldom) {
  LiftAndStopInError();
  driver_.error = EIO;
  for (const std::size_t most : {14u, 9u}) {
    const std::uint64_t end_ns = g_test_now_ns + 10'000 * kMs;
    while (g_test_now_ns < end_ns) {
      const std::uint64_t next_ns = preemptor_->Round();
      EXPECT_LE(preemptor_->Round(), next_ns) << "two looks are one call";
      g_test_now_ns += std::min<std::uint64_t>(next_ns, 5 * kMs);  // somebody else's requests
    }
    const std::size_t calls = driver_.Take().size();
    EXPECT_LE(calls, most) << "in ten seconds";
    EXPECT_GE(calls, 5u) << "it is tried again";
    preemptor_->SetSession(nullptr, nullptr);
  }
  driver_.error = 0;
  g_test_now_ns += 2'000 * kMs;
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 0% prio 7"});
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{}) << "it is off";
}

// Any program of the user may write there, and be gone.
TEST_F(PreemptorTest, ARestrictionEndsWhateverTheTableOfGpusSays) {
  SuspendForARequest();
  ASSERT_EQ(driver_.Take(), Calls{"update 5 0% prio 7"});
  urgency_->gpu_key = 0;
  Urgent(0);
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"update 5 100% prio 7"});
}

// Sixteen units of the standing mask's begin, and nothing of them is in the program's own mask.
TEST_F(PreemptorTest, ASqueezeThatWouldLeaveAShaderArrayNothingIsNotDone) {
  slot_->mechanisms = kMechanismSqueeze;
  slot_->squeeze_units = 16;
  slot_->delay_budget_permille = 1000;
  driver_.call_ns = 1000;
  const std::uint32_t own[3] = {0x0000ffff, 0x0000ffff, 0};
  preemptor_->ProgramSetMask(queue_, own, 96);
  slot_->standing_first = 16;
  slot_->standing_units = 32;
  slot_->standing_lease_until_us = NowUs() + kLeaseUs;
  preemptor_->Round();
  ASSERT_EQ(driver_.last_mask, (std::vector<std::uint32_t>{0, 0x0000ffff, 0}));
  driver_.Take();
  Expose(40);
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{});
  EXPECT_EQ(slot_->restriction, kUnrestricted);
}

// A call that never came to the driver has done nothing: there is nothing to try again.
TEST_F(PreemptorTest, WhatNeverCameToTheDriverIsNotTakenBack) {
  slot_->mechanisms = kMechanismSuspend;
  driver_.error = EPERM;
  Expose(40);
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), (Calls{"update 5 0% prio 7", "update 5 100% prio 7"}));
  EXPECT_EQ(slot_->restriction, kUnrestricted);
}

// Some of them may be off the hardware all the same.
TEST_F(PreemptorTest, ABatchThatIsRefusedAndNotTakenBackIsResumedLater) {
  slot_->mechanisms = kMechanismSuspend;
  driver_.can_batch = true;
  driver_.batch_error = EIO;
  Expose(40);
  AddQueue(40);
  Urgent();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), (Calls{"suspend 5 6", "resume 5 6"}));
  Urgent(0);
  EXPECT_LE(preemptor_->Round(), 10 * kMs) << "queues that nobody resumes any more";
  driver_.batch_error = 0;
  driver_.Take();
  preemptor_->Round();
  EXPECT_EQ(driver_.Take(), Calls{"resume 5 6"});
  EXPECT_EQ(slot_->restriction, kUnrestricted);
}

// But the driver waits with the end of a queue for the debugger that has suspended it.
TEST_F(PreemptorTest, OneOfABatchThatRocrHasStoppedIsGivenBackToIt) {
  slot_->mechanisms = kMechanismSuspend;
  driver_.can_batch = true;
  Expose(40);
  AddQueue(40);
  Urgent();
  preemptor_->Round();
  ASSERT_EQ(driver_.Take(), Calls{"suspend 5 6"});
  queue_->failed = queue_->foreign = 1;
  preemptor_->Forget(queue_);
  EXPECT_EQ(driver_.Take(), Calls{"resume 5"});
}

}  // namespace
}  // namespace xsched_hsa

#include "preemption_plan.h"

#include <gtest/gtest.h>

namespace xsched_hsa {
namespace {

constexpr std::uint64_t kMs = 1'000'000;

// An MI308X with a measured cycle and requests of 2.2 ms, past learning.
class PlanTest : public testing::Test {
 protected:
  PlanTest() {
    SetCycle(200'000);
    for (int i = 0; i < 8; ++i) model_.ObserveRequest(2'200'000);
    // And suspended often enough to know that a cycle is felt in full.
    for (std::uint32_t i = 0; i < PlanModel::kTriesFirst; ++i) {
      model_.ObserveOutcome(PlanMechanism::kSuspend, 3'200'000, 18 * kMs, 1'000'000, 0);
    }
  }
  void SetCycle(std::uint64_t ns) {
    for (std::uint32_t i = 0; i < Samples::kMax; ++i) model_.ObserveCycle(ns / 2);
  }
  void SawRests(std::uint64_t rest_ns) {
    for (std::uint32_t i = 0; i < Samples::kMax; ++i) {
      model_.ObserveOutcome(PlanMechanism::kHold, 2'200'000, rest_ns, 0, 0);
    }
  }
  static PlanInputs Running(std::uint64_t rest_ns) {
    return {.rest_ns = rest_ns,
            .can_squeeze = true,
            .can_suspend = true,
            .compute_units = 80,
            .unit_step = 16,
            .budget_permille = 50};
  }
  PlanModel model_;
};

TEST_F(PlanTest, HoldsOnlyWhenNothingElseIsAllowed) {
  PlanInputs inputs = Running(20 * kMs);
  inputs.can_squeeze = inputs.can_suspend = false;
  const PlanChoice choice = ChoosePlan(model_, inputs);
  EXPECT_EQ(choice.mechanism, PlanMechanism::kHold);
  EXPECT_EQ(choice.reason, PlanReason::kOnlyHold);
}

TEST_F(PlanTest, SuspendsALongRestThatACycleIsShorterThan) {
  PlanInputs inputs = Running(18 * kMs);
  inputs.can_squeeze = false;
  const PlanChoice choice = ChoosePlan(model_, inputs);
  EXPECT_EQ(choice.mechanism, PlanMechanism::kSuspend);
  EXPECT_EQ(choice.delay_ns, 200'000u);
  EXPECT_EQ(choice.cost_ns, 2'400'000u);
}

TEST_F(PlanTest, HoldsWhereACycleCostsMoreThanTheRestWouldDelay) {
  PlanInputs inputs = Running(3 * kMs);
  inputs.can_squeeze = false;
  SetCycle(5 * kMs);
  EXPECT_EQ(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kHold);
  inputs.rest_ns = 18 * kMs;
  EXPECT_EQ(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kSuspend);
}

TEST_F(PlanTest, HoldsWithoutACycleWhenTheRestIsShort) {
  const PlanChoice choice = ChoosePlan(model_, Running(60'000));
  EXPECT_EQ(choice.mechanism, PlanMechanism::kHold);
  EXPECT_EQ(choice.reason, PlanReason::kCheapestWithinBudget);
}

TEST_F(PlanTest, NeverSuspendsAQueueThatHasNothingOnTheHardware) {
  SetCycle(50'000);
  PlanInputs inputs = Running(0);
  inputs.can_squeeze = false;
  const PlanChoice choice = ChoosePlan(model_, inputs);
  EXPECT_EQ(choice.mechanism, PlanMechanism::kHold);
  EXPECT_EQ(choice.reason, PlanReason::kNothingExposed);
}

TEST_F(PlanTest, SqueezesAsLittleAsTheBudgetAllows) {
  SetCycle(20'000);
  const PlanChoice choice = ChoosePlan(model_, Running(18 * kMs));
  EXPECT_EQ(choice.mechanism, PlanMechanism::kSqueeze);
  EXPECT_EQ(choice.units_left, 32u);  // 48 would delay by 0.8 x 0.6^4 = 10 %
  EXPECT_LE(choice.delay_ns, 110'000u);
}

TEST_F(PlanTest, GivesUpSqueezesThatTurnOutToDelayTooMuch) {
  SetCycle(20'000);
  PlanInputs inputs = Running(18 * kMs);
  for (int i = 0; i < 16; ++i) {
    model_.ObserveOutcome(PlanMechanism::kSqueeze, 3'300'000, 18 * kMs, 20'000, 0.4);
  }
  const PlanChoice choice = ChoosePlan(model_, inputs);
  EXPECT_FALSE(choice.mechanism == PlanMechanism::kSqueeze && choice.units_left >= 32)
      << "what delays by half at 32 units cannot delay less at more";
}

TEST_F(PlanTest, TriesAStepMoreWhereASqueezeIsFarWithinTheBudget) {
  SetCycle(20'000);
  const PlanInputs inputs = Running(18 * kMs);
  // A hold, and squeezes; of those to 48 and 64 units the chooser assumes 10 % and 33 %.
  const auto took = [](std::uint32_t units) {
    return std::uint64_t{units == 0 ? 9'000'000u : units <= 48 ? 2'230'000u : 3'000'000u};
  };
  std::uint32_t chosen[81] = {};
  for (std::uint32_t i = 0; i < PlanModel::kShareEvery; ++i) {
    const PlanChoice choice = ChoosePlan(model_, inputs);
    if (choice.mechanism == PlanMechanism::kSqueeze) ++chosen[choice.units_left];
    const bool tries = choice.reason == PlanReason::kLearning;
    EXPECT_TRUE(!tries ||
                WideWindowNs(model_, inputs) == (choice.units_left != 0 ? kWideWindowNs : 0));
    model_.ObserveOutcome(choice.mechanism, took(choice.units_left), 18 * kMs, 20'000,
                          choice.units_left / 80.0);
  }
  EXPECT_EQ(chosen[32], Samples::kMax) << "as many as are remembered";
  EXPECT_EQ(chosen[64], 1u) << "the first one was dear";
  EXPECT_GT(chosen[48], PlanModel::kShareEvery - 96);
  // Much later it is tried afresh.
  for (std::uint32_t i = 0; i < PlanModel::kShareEvery; ++i) {
    const PlanChoice choice = ChoosePlan(model_, inputs);
    if (choice.units_left == 64) ++chosen[64];
    model_.ObserveOutcome(choice.mechanism, took(choice.units_left), 18 * kMs, 20'000,
                          choice.units_left / 80.0);
  }
  EXPECT_EQ(chosen[64], 2u);
}

TEST_F(PlanTest, WhatOnlyTriesSpeakForHasToStayWellWithinTheBudget) {
  SetCycle(20'000);
  const PlanInputs inputs = Running(18 * kMs);
  const auto request = [&](std::uint64_t took_ns) {
    const PlanChoice choice = ChoosePlan(model_, inputs);
    const std::uint64_t other_ns =
        choice.units_left == 0 ? 9'000'000 : 3'000'000;  // holds, and 64 units
    model_.ObserveOutcome(choice.mechanism, choice.units_left % 64 == 0 ? other_ns : took_ns,
                          18 * kMs, 20'000, choice.units_left / 80.0);
    return choice.units_left;
  };
  for (std::uint32_t i = 0; i < Samples::kMax + 16; ++i) request(2'230'000);
  ASSERT_EQ(request(2'300'000), 48u);  // of a budget of 110
  EXPECT_EQ(request(2'230'000), 48u) << "one may have been late for another reason";
  EXPECT_EQ(request(2'300'000), 48u);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(request(2'230'000), 32u) << i;
  std::uint32_t lately = 0;
  for (std::uint32_t i = 0; i < PlanModel::kShareEvery + 64; ++i) {
    lately = request(2'230'000) == 48 ? lately + 1 : 0;
  }
  EXPECT_GT(lately, 8u) << "tried afresh";
}

TEST_F(PlanTest, TriesNoStepMoreWhereTheBudgetIsHalfSpent) {
  SetCycle(80'000);  // of a budget of 110
  const PlanInputs inputs = Running(18 * kMs);
  for (std::uint32_t i = 0; i < 4 * Samples::kMax; ++i) {
    const PlanChoice choice = ChoosePlan(model_, inputs);
    EXPECT_LE(choice.units_left, 16u) << i;
    model_.ObserveOutcome(choice.mechanism, 2'280'000, 18 * kMs, 80'000, choice.units_left / 80.0);
  }
}

TEST_F(PlanTest, ObeysAnOrderedNumberOfUnits) {
  SetCycle(20'000);
  PlanInputs inputs = Running(18 * kMs);
  inputs.units_ordered = 16;
  inputs.can_suspend = false;
  EXPECT_EQ(ChoosePlan(model_, inputs).units_left, 16u);
  inputs.units_ordered = 17;  // not a multiple of the shader arrays: no such mask
  EXPECT_EQ(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kHold);
}

TEST_F(PlanTest, TakesTheLeastDelayWhenNothingIsWithinTheBudget) {
  SetCycle(1 * kMs);
  const PlanChoice choice = ChoosePlan(model_, Running(18 * kMs));
  EXPECT_EQ(choice.reason, PlanReason::kLeastDelay);
  EXPECT_EQ(choice.mechanism, PlanMechanism::kSuspend);
}

TEST_F(PlanTest, CountsACycleForEachQueue) {
  PlanInputs inputs = Running(2 * kMs);
  inputs.can_squeeze = false;
  EXPECT_EQ(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kSuspend);
  inputs.queues = 16;
  EXPECT_EQ(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kHold);
}

TEST_F(PlanTest, LearnsTheSlackThatHidesACycle) {
  SetCycle(500'000);
  PlanInputs inputs = Running(18 * kMs);
  inputs.can_squeeze = false;
  EXPECT_EQ(ChoosePlan(model_, inputs).reason, PlanReason::kLeastDelay);
  for (int i = 0; i < 40; ++i) {
    model_.ObserveOutcome(PlanMechanism::kSuspend, 2'200'000, 18 * kMs, 500'000, 0);
  }
  EXPECT_GT(model_.SlackNs(), 450'000u);
  EXPECT_EQ(ChoosePlan(model_, inputs).reason, PlanReason::kCheapestWithinBudget);
}

TEST_F(PlanTest, LearnsHowMuchOfARestARequestFeels) {
  for (int i = 0; i < 40; ++i) {
    model_.ObserveOutcome(PlanMechanism::kHold, 2'200'000, 10 * kMs, 0, 0);
  }
  EXPECT_LT(model_.co_run(), 0.05);
  // Three of 32 that feel it are no exception any more.
  for (int i = 0; i < 3; ++i) {
    EXPECT_LT(model_.co_run(), 0.05);
    model_.ObserveOutcome(PlanMechanism::kHold, 12'200'000, 10 * kMs, 0, 0);
  }
  EXPECT_GT(model_.co_run(), 0.9);
}

TEST_F(PlanTest, HoldsTheFirstRequestsAndARareLaterOneToLearnTheirLength) {
  PlanModel fresh;
  PlanInputs inputs = Running(18 * kMs);
  for (std::uint32_t i = 0; i < PlanModel::kTriesFirst; ++i) {
    EXPECT_EQ(ChoosePlan(fresh, inputs).reason, PlanReason::kLearning);
    fresh.ObserveOutcome(PlanMechanism::kHold, 2'200'000, 18 * kMs, 0, 0);
  }
  for (std::uint32_t i = 0; i < PlanModel::kTriesFirst; ++i) {
    const PlanChoice choice = ChoosePlan(fresh, inputs);
    EXPECT_EQ(choice.mechanism, PlanMechanism::kSuspend);
    EXPECT_EQ(choice.reason, PlanReason::kLearning);
    fresh.ObserveOutcome(PlanMechanism::kSuspend, 9'000'000, 18 * kMs, 400'000, 0);
  }
  for (std::uint32_t i = PlanModel::kTriesFirst; i < PlanModel::kHoldEvery; ++i) {
    EXPECT_NE(ChoosePlan(fresh, inputs).reason, PlanReason::kLearning) << i;
    fresh.ObserveOutcome(PlanMechanism::kSuspend, 9'000'000, 18 * kMs, 400'000, 0);
  }
  EXPECT_EQ(fresh.RequestNs(), 2'200'000u) << "what suspending costs is not the request's";
  EXPECT_EQ(ChoosePlan(fresh, inputs).reason, PlanReason::kLearning);
}

// A hold is looked at again when its prediction has run out. Near the request's end two cycles cost
// more than holding on does, and the request itself would meet one of them.
TEST_F(PlanTest, HoldsOnNearTheEndOfARequest) {
  PlanInputs inputs = Running(0);
  inputs.budget_permille = 200;
  ASSERT_EQ(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kSqueeze);
  inputs.elapsed_ns = 300'000;
  EXPECT_EQ(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kSqueeze) << "most is to come";
  for (const std::uint64_t elapsed_ns : {2'000'000, 2'200'000, 2'500'000}) {
    inputs.elapsed_ns = elapsed_ns;
    const PlanChoice choice = ChoosePlan(model_, inputs);
    EXPECT_EQ(choice.mechanism, PlanMechanism::kHold) << elapsed_ns;
    EXPECT_LE(choice.cost_ns, 320'000u);
  }
  inputs.elapsed_ns = 60 * kMs;
  EXPECT_EQ(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kSqueeze)
      << "what has taken so long may take long yet";
}

TEST_F(PlanTest, LeavesAQueueAloneThatRequestsHardlyFeel) {
  PlanInputs inputs = Running(200'000);
  inputs.can_share = true;
  SawRests(200'000);
  for (std::uint32_t i = 0; i < PlanModel::kTriesFirst; ++i) {
    const PlanChoice choice = ChoosePlan(model_, inputs);
    EXPECT_EQ(choice.mechanism, PlanMechanism::kShare);
    EXPECT_EQ(choice.reason, PlanReason::kLearning);
    model_.ObserveOutcome(PlanMechanism::kShare, 2'220'000, 200'000, 0, 0);
  }
  const PlanChoice choice = ChoosePlan(model_, inputs);
  EXPECT_EQ(choice.mechanism, PlanMechanism::kShare);
  EXPECT_EQ(choice.reason, PlanReason::kCheapestWithinBudget);
  EXPECT_NEAR(static_cast<double>(choice.delay_ns), 20'000, 1'000);
  // Two requests that feel it are enough to stop.
  for (int i = 0; i < 2; ++i) {
    model_.ObserveOutcome(PlanMechanism::kShare, 4'400'000, 200'000, 0, 0);
  }
  EXPECT_NE(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kShare);
}

TEST_F(PlanTest, TriesToLeaveAloneOnlyWhatIsShortAndAgainOnlyLongAfter) {
  PlanInputs inputs = Running(18 * kMs);
  inputs.can_share = true;
  EXPECT_NE(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kShare);
  inputs.rest_ns = 200'000;
  SawRests(2 * kMs);
  EXPECT_NE(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kShare)
      << "short just now, but a long one may come next";
  SawRests(200'000);
  EXPECT_EQ(ChoosePlan(model_, inputs).mechanism, PlanMechanism::kShare);
  // One that is this dear is enough.
  model_.ObserveOutcome(PlanMechanism::kShare, 9'000'000, 200'000, 0, 0);
  std::uint32_t tried = 0;
  for (std::uint32_t i = 0; i < 2 * PlanModel::kShareEvery; ++i) {
    const PlanChoice choice = ChoosePlan(model_, inputs);
    const bool shares = choice.mechanism == PlanMechanism::kShare;
    tried += shares ? 1 : 0;
    model_.ObserveOutcome(choice.mechanism, shares ? 9'000'000 : 2'200'000, 0, 0, 0);
  }
  EXPECT_EQ(tried, 1u);
  inputs.can_share = false;
  PlanModel fresh;
  for (int i = 0; i < 8; ++i) {
    fresh.ObserveOutcome(PlanMechanism::kHold, 2'200'000, 200'000, 0, 0);
  }
  EXPECT_NE(ChoosePlan(fresh, inputs).mechanism, PlanMechanism::kShare);
}

// Masks are measured only while there are squeezes: were they the squeeze's price, some dear ones would end
// both for good.
TEST_F(PlanTest, DearMasksAreToldAndDoNotEndSqueezing) {
  SetCycle(20'000);
  EXPECT_EQ(model_.MaskNs(), 0u);
  for (int i = 0; i < 3; ++i) model_.ObserveMask(1'500'000);
  EXPECT_EQ(model_.MaskNs(), 3 * kMs);
  EXPECT_EQ(ChoosePlan(model_, Running(18 * kMs)).mechanism, PlanMechanism::kSqueeze);
}

TEST_F(PlanTest, OneOddMeasureDoesNotCount) {
  model_.ObserveCycle(40 * kMs);
  EXPECT_EQ(model_.CycleNs(), 200'000u);
  PlanModel fresh;
  EXPECT_EQ(fresh.CycleNs(), PlanModel::kCyclePriorNs);
  fresh.ObserveCycle(40 * kMs);
  fresh.ObserveCycle(100'000);
  EXPECT_EQ(fresh.CycleNs(), 200'000u);
}

TEST_F(PlanTest, ARequestsOwnLengthIsWhatTheShorterOnesTake) {
  for (int i = 0; i < 20; ++i) model_.ObserveRequest(i % 2 == 0 ? 9'000'000 : 2'000'000);
  EXPECT_LE(model_.RequestNs(), 2'200'000u);
  // All longer for good: followed.
  for (std::uint32_t i = 0; i < Samples::kMax; ++i) model_.ObserveRequest(5'000'000);
  EXPECT_EQ(model_.RequestNs(), 5'000'000u);
}

TEST_F(PlanTest, WidensTheWindowOnlyWhereARunningKernelCanBeReachedWithinTheBudget) {
  SetCycle(50'000);
  EXPECT_EQ(WideWindowNs(model_, Running(0)), kWideWindowNs);
  PlanInputs inputs = Running(0);
  inputs.can_squeeze = inputs.can_suspend = false;
  EXPECT_EQ(WideWindowNs(model_, inputs), 0u);
  SetCycle(2 * kMs);
  EXPECT_EQ(WideWindowNs(model_, Running(0)), 0u);
  EXPECT_EQ(WideWindowNs(PlanModel(), Running(0)), 0u) << "nothing measured yet";
}

TEST_F(PlanTest, StaysRestrictedOnlyAcrossGapsThatACycleIsLongerThan) {
  const PlanInputs inputs = Running(1);
  EXPECT_EQ(DwellNs(model_, inputs, 0), 0u);
  EXPECT_EQ(DwellNs(model_, inputs, 50 * kMs), 0u);
  EXPECT_EQ(DwellNs(model_, inputs, 300'000), 400'000u);
}

}  // namespace
}  // namespace xsched_hsa

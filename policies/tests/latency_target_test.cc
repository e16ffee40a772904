// latency_target_test.cc: the ladder climbs until the target is met and comes down when it can.
#include <gtest/gtest.h>

#include <utility>

#include "policies/registry.h"

namespace xsched_hsa {
namespace {

class LatencyTargetTest : public ::testing::Test {
 protected:
  LatencyTargetTest() {
    views_.resize(2);
    views_[0].session = 1;
    views_[1].session = 2;
    views_[1].priority = 15;
    views_[1].latency_target_us = 3'000;
  }
  const QueueIntent& Ask(std::uint64_t p99_us, std::uint64_t samples = 100) {
    views_[1].latency_p99_us = p99_us;
    views_[1].latency_samples = samples;
    for (std::size_t i = 0; i < answer_.queues.size(); ++i) {
      views_[i].memory = answer_.queues[i].memory;
    }
    Snapshot snapshot;
    snapshot.now_us = now_us_ += 1'000'000;
    snapshot.queues = views_;
    snapshot.memory = answer_.memory;
    policy_->Decide(snapshot, &answer_);
    return answer_.queues[0].intent;
  }

  std::unique_ptr<Policy> policy_ = MakePolicy("latency-target", {});
  std::vector<QueueView> views_;
  Answer answer_;
  std::uint64_t now_us_ = 0;
};

TEST_F(LatencyTargetTest, StartsAsStrictPriority) {
  const QueueIntent& intent = Ask(0, 0);
  EXPECT_TRUE(intent.armed);
  EXPECT_EQ(intent.preemption.delay_budget_permille, 80u);
  EXPECT_EQ(intent.window_us, 200u);
  EXPECT_FALSE(answer_.restart_latency);
  EXPECT_TRUE(answer_.next_us);
}

TEST_F(LatencyTargetTest, ClimbsWhileTheTargetIsMissedAndStopsAtTheTop) {
  Ask(0, 0);
  std::uint32_t budget = 80;
  for (int i = 0; i < 10; ++i) {
    const QueueIntent& intent = Ask(5'000);
    EXPECT_TRUE(answer_.restart_latency);
    EXPECT_LE(intent.preemption.delay_budget_permille, budget);
    budget = intent.preemption.delay_budget_permille;
  }
  EXPECT_EQ(budget, 0u);
  EXPECT_EQ(answer_.queues[0].intent.window_us, 50u);
}

TEST_F(LatencyTargetTest, ComesDownToHoldingOnlyWhenTheTargetIsFar) {
  for (int i = 0; i < 10; ++i) Ask(1'000);
  EXPECT_FALSE(answer_.queues[0].intent.preemption.suspend);
  EXPECT_FALSE(answer_.queues[0].intent.preemption.squeeze);
  EXPECT_EQ(answer_.queues[0].intent.window_us, 1'600u);
}

TEST_F(LatencyTargetTest, StaysWhereTheTargetIsJustMet) {
  Ask(5'000);
  const QueueIntent before = answer_.queues[0].intent;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Ask(2'700), before);
}

// Where one step changes much: 1 ms with it, 9 ms without.
TEST_F(LatencyTargetTest, StepThatMissedIsTriedAgainLaterAndLater) {
  int misses = 0, since = 0;
  std::vector<int> between;
  for (int verdict = 0; verdict < 400; ++verdict, ++since) {
    const bool protected_now =
        answer_.queues.empty() || answer_.queues[0].intent.preemption.squeeze;
    Ask(protected_now ? 1'000 : 9'000);
    if (protected_now) continue;
    ++misses;
    between.push_back(std::exchange(since, 0));
  }
  ASSERT_GE(misses, 4);
  EXPECT_LE(misses, 12);
  for (std::size_t i = 2; i < between.size(); ++i) EXPECT_GE(between[i], between[i - 1]);
  EXPECT_GT(between.back(), 60);
}

TEST_F(LatencyTargetTest, ProbeEndsAtItsFirstMiss) {
  while (answer_.queues.empty() || answer_.queues[0].intent.preemption.squeeze) Ask(1'000);
  Ask(1'000, 5);
  EXPECT_FALSE(answer_.queues[0].intent.preemption.squeeze) << "a request in time is no miss";
  Ask(9'000, 6);
  EXPECT_TRUE(answer_.queues[0].intent.preemption.squeeze);
  EXPECT_TRUE(answer_.restart_latency);
}

TEST_F(LatencyTargetTest, DoesNotJudgeByTooFewRequests) {
  Ask(0, 0);
  const QueueIntent before = answer_.queues[0].intent;
  EXPECT_EQ(Ask(9'000, 99), before);
  EXPECT_FALSE(answer_.restart_latency);
}

TEST_F(LatencyTargetTest, MechanismsThatAreForbiddenStayForbidden) {
  policy_ = MakePolicy("latency-target", {.preemption = {.squeeze = false, .suspend = false}});
  for (int i = 0; i < 10; ++i) Ask(5'000);
  EXPECT_FALSE(answer_.queues[0].intent.preemption.suspend);
}

TEST_F(LatencyTargetTest, WithoutATargetItNeverAsksForItself) {
  views_[1].latency_target_us = 0;
  Ask(5'000);
  EXPECT_FALSE(answer_.next_us);
}

}  // namespace
}  // namespace xsched_hsa

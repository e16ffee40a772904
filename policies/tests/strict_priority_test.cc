// strict_priority_test.cc: what strict-priority intends for each constellation of queues.
#include <gtest/gtest.h>

#include "policies/policy.h"
#include "policies/registry.h"

namespace xsched_hsa {
namespace {

QueueView Queue(int priority) {
  QueueView view;
  view.priority = priority;
  return view;
}

std::vector<QueueIntent> Decide(const std::vector<QueueView>& queues) {
  const auto policy =
      MakePolicy("strict-priority", PolicyParams{.window_us = 111, .linger_us = 222});
  Snapshot snapshot;
  snapshot.queues = queues;
  Answer answer;
  policy->Decide(snapshot, &answer);
  std::vector<QueueIntent> intents;
  for (const QueueAnswer& own : answer.queues) intents.push_back(own.intent);
  return intents;
}

TEST(StrictPriorityTest, AloneIsLeftAlone) {
  const auto intents = Decide({Queue(0)});
  ASSERT_EQ(intents.size(), 1u);
  EXPECT_FALSE(intents[0].armed);
  EXPECT_FALSE(intents[0].raise);
}

TEST(StrictPriorityTest, EqualsAreLeftAlone) {
  for (const QueueIntent& intent : Decide({Queue(7), Queue(7), Queue(7)})) {
    EXPECT_FALSE(intent.armed);
    EXPECT_FALSE(intent.raise);
  }
}

TEST(StrictPriorityTest, LowIsArmedHighRaisesMiddleIsBoth) {
  const auto intents = Decide({Queue(0), Queue(15), Queue(7)});
  EXPECT_TRUE(intents[0].armed);
  EXPECT_FALSE(intents[0].raise);
  EXPECT_FALSE(intents[1].armed);
  EXPECT_TRUE(intents[1].raise);
  EXPECT_TRUE(intents[2].armed);
  EXPECT_TRUE(intents[2].raise);
}

TEST(StrictPriorityTest, CarriesItsParameters) {
  const auto intents = Decide({Queue(0), Queue(15)});
  EXPECT_EQ(intents[0].window_us, 111u);
  EXPECT_EQ(intents[1].linger_us, 222u);
}

TEST(StrictPriorityTest, UncontrollableQueueIsOnNeitherSide) {
  std::vector<QueueView> queues = {Queue(0), Queue(15)};
  queues[1].controllable = false;
  const auto intents = Decide(queues);
  EXPECT_FALSE(intents[0].armed);
  EXPECT_FALSE(intents[1].raise);
}

TEST(StrictPriorityTest, EmptySnapshotGivesNoIntents) { EXPECT_TRUE(Decide({}).empty()); }

}  // namespace
}  // namespace xsched_hsa

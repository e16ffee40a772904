// turns_test.cc: shares, turns and deadlines, over many decisions.
#include <gtest/gtest.h>

#include <algorithm>

#include "arena_model.h"

namespace xsched_hsa {
namespace {

using testing::ArenaModel;
using testing::Program;

Program AlwaysBusy(std::uint32_t weight = 100, int priority = 7) {
  Program program;
  program.view.weight = weight;
  program.view.priority = priority;
  return program;
}

Program Requests(std::uint64_t period_us, std::uint64_t offset_us, std::uint64_t work_us,
                 std::uint64_t deadline_us) {
  Program program = AlwaysBusy();
  program.relative_deadline_us = deadline_us;
  program.arrivals = [=](std::uint64_t now_us) {
    return (now_us + offset_us) % period_us == 0 ? work_us : 0;
  };
  return program;
}

TEST(WeightedFairTest, SharesFollowTheWeights) {
  ArenaModel model(MakePolicy("weighted-fair", {}));
  model.Add(AlwaysBusy(300));
  model.Add(AlwaysBusy(100));
  model.Run(5'000'000);
  EXPECT_NEAR(model.Share(0), 0.75, 0.01);
}

TEST(WeightedFairTest, SharesFollowTheWeightsOfMany) {
  ArenaModel model(MakePolicy("weighted-fair", {.slice_us = 5000}));
  for (const std::uint32_t weight : {500u, 300u, 100u, 100u}) model.Add(AlwaysBusy(weight));
  model.Run(10'000'000);
  EXPECT_NEAR(model.Share(0), 0.5, 0.02);
  EXPECT_NEAR(model.Share(1), 0.3, 0.02);
  EXPECT_NEAR(model.Share(2), 0.1, 0.02);
}

TEST(WeightedFairTest, WhatOneDoesNotWantGoesToTheOthers) {
  ArenaModel model(MakePolicy("weighted-fair", {}));
  Program little = AlwaysBusy(300);
  little.work_us = 0;
  little.arrivals = [](std::uint64_t now_us) { return now_us % 100'000 == 0 ? 5'000u : 0u; };
  model.Add(std::move(little));
  model.Add(AlwaysBusy(100));
  model.Run(5'000'000);
  EXPECT_NEAR(model.Share(1), 0.95, 0.01);
  // And it need not wait for the other's turn to end.
  const auto& latencies = model.program(0).latencies_us;
  ASSERT_GT(latencies.size(), 40u);
  EXPECT_LE(*std::max_element(latencies.begin() + 5, latencies.end()), 16'000u);
}

TEST(WeightedFairTest, IdleTimeIsNotMadeUpFor) {
  ArenaModel model(MakePolicy("weighted-fair", {}));
  Program late = AlwaysBusy();
  late.arrivals = [](std::uint64_t now_us) {
    return now_us == 4'000'000 ? std::uint64_t{100'000'000} : 0;
  };
  model.Add(std::move(late));
  model.Add(AlwaysBusy());
  model.Run(3'000'000);
  const double before = model.program(1).received_us;
  model.Run(1'000'000);
  EXPECT_NEAR(model.program(1).received_us - before, 480'000, 45'000);
}

TEST(WeightedFairTest, PauseAfterEachIterationDoesNotCostTheShare) {
  ArenaModel model(MakePolicy("weighted-fair", {}));
  Program& pausing = model.Add(AlwaysBusy(300));
  pausing.work_us = 0;
  // 6 ms of work, then 1 ms of host time: at most 6/7 of the device.
  std::uint64_t next_us = 0;
  pausing.arrivals = [&](std::uint64_t now_us) -> std::uint64_t {
    if (pausing.work_us != 0) {
      next_us = now_us + 1'000;
      return 0;
    }
    return now_us >= next_us ? 6'000 : 0;
  };
  model.Add(AlwaysBusy(100));
  model.Run(5'000'000);
  EXPECT_GT(model.Share(0), 0.70);
  EXPECT_LT(model.Share(0), 0.80);
}

TEST(WeightedFairTest, HigherPrioritiesComeFirst) {
  ArenaModel model(MakePolicy("weighted-fair", {}));
  Program urgent = AlwaysBusy(1, 15);
  urgent.work_us = 0;
  urgent.arrivals = [](std::uint64_t now_us) { return now_us % 20'000 == 0 ? 4'000u : 0u; };
  model.Add(std::move(urgent));
  model.Add(AlwaysBusy(300));
  model.Add(AlwaysBusy(100));
  model.Run(5'000'000);
  for (const std::uint64_t latency : model.program(0).latencies_us) EXPECT_LE(latency, 4'100u);
  EXPECT_NEAR(model.program(1).received_us / model.program(2).received_us, 3, 0.1);
  EXPECT_NEAR(model.Share(0), 0.2, 0.01);
}

TEST(WeightedFairTest, OneAloneIsNotTouched) {
  ArenaModel model(MakePolicy("weighted-fair", {}));
  model.Add(AlwaysBusy());
  model.Run(1'000'000);
  EXPECT_EQ(model.answer().queues[0].intent.armed, false);
  EXPECT_EQ(model.decisions(), 1u);
}

TEST(WeightedFairTest, TwoQueuesOfOneProgramAreOneContender) {
  ArenaModel model(MakePolicy("weighted-fair", {}));
  QueueView a, b, c;
  a.session = b.session = 1;
  c.session = 2;
  a.active = b.active = c.active = true;
  std::vector<QueueView> views = {a, b, c};
  Snapshot snapshot;
  snapshot.now_us = 1'000'000;
  snapshot.queues = views;
  Answer answer;
  MakePolicy("weighted-fair", {})->Decide(snapshot, &answer);
  EXPECT_EQ(answer.queues[0].intent.hold, answer.queues[1].intent.hold);
  EXPECT_NE(answer.queues[0].intent.hold, answer.queues[2].intent.hold);
}

TEST(WeightedFairTest, NextTurnWaitsForTheTailOfTheLast) {
  QueueView a, b;
  a.session = 1;
  b.session = 2;
  a.active = b.active = true;
  const auto policy = MakePolicy("weighted-fair", {.slice_us = 10'000, .turn_tail_us = 50'000});
  std::vector<QueueView> views = {a, b};
  Snapshot snapshot;
  snapshot.now_us = 1'000'000;
  Answer answer;
  const auto decide = [&](std::uint64_t after_us, std::uint64_t a_used, bool a_exposed) {
    snapshot.now_us += after_us;
    snapshot.elapsed_us = after_us;
    views[0].used_us = a_used;
    views[0].exposed = a_exposed;
    for (std::size_t i = 0; i < answer.queues.size(); ++i) {
      views[i].memory = answer.queues[i].memory;
    }
    snapshot.queues = views;
    policy->Decide(snapshot, &answer);
  };
  decide(0, 0, true);
  ASSERT_FALSE(answer.queues[0].intent.hold);
  decide(11'000, 11'000, true);
  EXPECT_TRUE(answer.queues[0].intent.hold);
  EXPECT_TRUE(answer.queues[1].intent.hold) << "the device is not free yet";
  decide(2'000, 2'000, false);
  EXPECT_TRUE(answer.queues[0].intent.hold);
  EXPECT_FALSE(answer.queues[1].intent.hold);
}

TEST(WeightedFairTest, TailThatDoesNotEndIsNotWaitedForForEver) {
  ArenaModel model(MakePolicy("weighted-fair", {}));
  QueueView a, b;
  a.session = 1;
  b.session = 2;
  a.active = a.exposed = b.active = true;
  std::vector<QueueView> views = {a, b};
  Snapshot snapshot;
  Answer answer;
  const auto policy = MakePolicy("weighted-fair", {.slice_us = 10'000, .turn_tail_us = 50'000});
  for (int i = 0; i < 80; ++i) {
    snapshot.now_us = 1'000'000 + static_cast<std::uint64_t>(i) * 1'000;
    snapshot.elapsed_us = i == 0 ? 0 : 1'000;
    views[0].used_us = snapshot.elapsed_us;
    for (std::size_t v = 0; v < answer.queues.size(); ++v) {
      views[v].memory = answer.queues[v].memory;
    }
    snapshot.queues = views;
    policy->Decide(snapshot, &answer);
  }
  EXPECT_FALSE(answer.queues[1].intent.hold);
}

TEST(WeightedFairTest, StoppedProgramPaysForTheTurnsItDoesNotUse) {
  for (const char* name : {"weighted-fair", "round-robin"}) {
    QueueView stopped, honest;
    stopped.session = 1;
    honest.session = 2;
    stopped.active = honest.active = true;
    std::vector<QueueView> views = {stopped, honest};
    Snapshot snapshot;
    Answer answer;
    const auto policy = MakePolicy(name, {.slice_us = 10'000, .turn_tail_us = 10'000});
    std::uint64_t honest_us = 0;
    bool runs = false;
    for (int i = 0; i < 2'000; ++i) {
      snapshot.now_us = 1'000'000 + static_cast<std::uint64_t>(i) * 1'000;
      snapshot.elapsed_us = i == 0 ? 0 : 1'000;
      views[1].used_us = runs ? 1'000 : 0;
      views[1].exposed = runs;
      honest_us += views[1].used_us;
      for (std::size_t v = 0; v < answer.queues.size(); ++v) {
        views[v].memory = answer.queues[v].memory;
      }
      snapshot.queues = views;
      policy->Decide(snapshot, &answer);
      runs = !answer.queues[1].intent.hold;
    }
    EXPECT_GT(honest_us, 300'000u) << name;
  }
}

TEST(RoundRobinTest, TurnsAreEqualWhateverTheWeights) {
  ArenaModel model(MakePolicy("round-robin", {}));
  for (const std::uint32_t weight : {900u, 100u, 100u}) model.Add(AlwaysBusy(weight));
  model.Run(6'000'000);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(model.Share(i), 1.0 / 3, 0.01);
    EXPECT_LE(model.program(i).waited_max_us, 21'000u) << "two turns";
  }
}

TEST(RoundRobinTest, ConcurrentTurnsOfDeadlinePoliciesRunSideBySide) {
  ArenaModel model(MakePolicy("earliest-deadline", {.concurrent = 2}));
  for (int i = 0; i < 3; ++i) model.Add(AlwaysBusy());
  model.Run(100'000);
  int holding = 0;
  for (const QueueAnswer& own : model.answer().queues) holding += own.intent.hold;
  EXPECT_EQ(holding, 1);
}

TEST(DeadlineTest, EarliestDeadlineGoesFirstAndBreaksAGoingTurn) {
  ArenaModel model(MakePolicy("earliest-deadline", {}));
  model.Add(Requests(50'000, 0, 20'000, 50'000));
  model.Add(Requests(50'000, 40'000, 5'000, 10'000));  // comes in the middle of the other
  model.Run(5'000'000);
  EXPECT_EQ(model.program(0).missed, 0u);
  EXPECT_EQ(model.program(1).missed, 0u);
  ArenaModel equal(MakePolicy("round-robin", {.slice_us = 40'000}));
  equal.Add(Requests(50'000, 0, 20'000, 50'000));
  equal.Add(Requests(50'000, 40'000, 5'000, 10'000));
  equal.Run(5'000'000);
  EXPECT_GT(equal.program(1).missed, 0u) << "the load would not need deadlines";
}

TEST(DeadlineTest, WorkWithoutADeadlineComesLastAndStillRuns) {
  ArenaModel model(MakePolicy("earliest-deadline", {}));
  model.Add(Requests(20'000, 0, 5'000, 8'000));
  model.Add(AlwaysBusy());
  model.Run(2'000'000);
  EXPECT_EQ(model.program(0).missed, 0u);
  EXPECT_NEAR(model.Share(1), 0.75, 0.02);
}

TEST(DeadlineTest, LeastLaxityStartsTheLongRequestWithTheLaterDeadline) {
  // Deadlines 30 and 40 ms away, needs 5 and 38 ms: by deadline the second one is late.
  QueueView small, large;
  small.session = 1;
  large.session = 2;
  small.active = large.active = true;
  small.deadline_us = 1'030'000;
  small.request_us = 5'000;
  large.deadline_us = 1'040'000;
  large.request_us = 38'000;
  std::vector<QueueView> views = {small, large};
  Snapshot snapshot;
  snapshot.now_us = 1'000'000;
  snapshot.queues = views;
  Answer answer;
  MakePolicy("earliest-deadline", {})->Decide(snapshot, &answer);
  EXPECT_FALSE(answer.queues[0].intent.hold);
  EXPECT_TRUE(answer.queues[1].intent.hold);
  MakePolicy("least-laxity", {})->Decide(snapshot, &answer);
  EXPECT_TRUE(answer.queues[0].intent.hold);
  EXPECT_FALSE(answer.queues[1].intent.hold);
}

TEST(TurnsTest, PolicySwitchInTheMiddleLeavesNobodyHeld) {
  ArenaModel model(MakePolicy("weighted-fair", {}));
  model.Add(AlwaysBusy(300));
  model.Add(AlwaysBusy(100));
  model.Run(1'000'000);
  model.SwitchTo(MakePolicy("strict-priority", {}));
  model.Run(1'000);
  for (const QueueAnswer& own : model.answer().queues) EXPECT_FALSE(own.intent.hold);
  model.SwitchTo(MakePolicy("round-robin", {}));
  const double before = model.program(1).received_us;
  model.Run(2'000'000);
  EXPECT_NEAR(model.program(1).received_us - before, 1'000'000, 30'000);
}

}  // namespace
}  // namespace xsched_hsa

// aging_test.cc: what a program gets that more urgent ones never leave alone, and what caps leave.
#include <gtest/gtest.h>

#include "arena_model.h"

namespace xsched_hsa {
namespace {

using testing::ArenaModel;
using testing::Program;

Program AlwaysBusy(int priority, std::uint32_t cap_permille = 1000) {
  Program program;
  program.view.priority = priority;
  program.view.cap_permille = cap_permille;
  return program;
}

Program Every(int priority, std::uint64_t period_us, std::uint64_t work_us) {
  Program program;
  program.view.priority = priority;
  program.arrivals = [=](std::uint64_t now_us) { return now_us % period_us == 0 ? work_us : 0; };
  return program;
}

TEST(AgingTest, QueueBehindWorkThatNeverEndsWaitsAtMostHoldMaxAndGetsItsShare) {
  ArenaModel model(
      MakePolicy("strict-priority", {.hold_max_us = 200'000, .guaranteed_share_permille = 100}));
  model.Add(AlwaysBusy(15));
  model.Add(AlwaysBusy(0));
  model.Run(10'000'000);
  EXPECT_LE(model.program(1).waited_max_us, 240'000u);
  // Beside the urgent program for a tenth of the time, so a twentieth of the device.
  EXPECT_NEAR(static_cast<double>(model.program(1).used_us) / 1e7, 0.1, 0.02);
  EXPECT_GT(model.Share(0), 0.93);
}

TEST(AgingTest, NothingAtAllWithoutAGuaranteedShare) {
  ArenaModel model(MakePolicy("strict-priority", {.guaranteed_share_permille = 0}));
  model.Add(AlwaysBusy(15));
  model.Add(AlwaysBusy(0));
  model.Run(5'000'000);
  EXPECT_LT(model.program(1).received_us, 1000) << "beyond the first look";
}

TEST(AgingTest, RequestsWithPausesAreNotDisturbed) {
  ArenaModel model(MakePolicy("strict-priority", {.hold_max_us = 200'000}));
  model.Add(Every(15, 50'000, 20'000));
  model.Add(AlwaysBusy(0));
  model.Run(10'000'000);
  for (const std::uint64_t latency : model.program(0).latencies_us) EXPECT_LE(latency, 20'100u);
  EXPECT_NEAR(model.Share(1), 0.6, 0.02);
}

TEST(AgingTest, EveryWaitingQueueGetsATurnNotOnlyTheHighest) {
  ArenaModel model(MakePolicy("strict-priority", {.hold_max_us = 100'000}));
  model.Add(AlwaysBusy(15));
  model.Add(AlwaysBusy(7));
  model.Add(AlwaysBusy(0));
  model.Run(5'000'000);
  EXPECT_LE(model.program(1).waited_max_us, 150'000u);
  EXPECT_LE(model.program(2).waited_max_us, 150'000u);
}

TEST(AgingTest, QueueThatMovesOrRunsIsNotBoosted) {
  QueueView low, high;
  high.session = 1;
  high.priority = 15;
  low.session = 2;
  low.pending_packets = 5;
  const auto policy = MakePolicy("strict-priority", {.hold_max_us = 1000});
  for (const bool exposed : {false, true}) {
    Answer answer;
    for (std::uint64_t i = 0; i < 10; ++i) {
      low.published_packets = exposed ? 3 : i;
      low.exposed = exposed;
      std::vector<QueueView> views = {low, high};
      if (!answer.queues.empty()) {
        for (std::size_t v = 0; v < 2; ++v) views[v].memory = answer.queues[v].memory;
      }
      Snapshot snapshot;
      snapshot.now_us = 1'000'000 + i * 15'000;
      snapshot.level = 16;
      snapshot.queues = views;
      policy->Decide(snapshot, &answer);
      EXPECT_EQ(answer.queues[0].intent.boost, -1) << i << exposed;
    }
  }
}

TEST(AgingTest, SuspendedQueueCountsAsWaiting) {
  QueueView low, high;
  high.session = 1;
  high.priority = 15;
  low.session = 2;
  low.pending_packets = 1;
  low.exposed = low.suspended = true;
  const auto policy = MakePolicy("strict-priority", {.hold_max_us = 20'000});
  Answer answer;
  for (std::uint64_t i = 0; i < 3; ++i) {
    std::vector<QueueView> views = {low, high};
    if (!answer.queues.empty()) {
      for (std::size_t v = 0; v < 2; ++v) views[v].memory = answer.queues[v].memory;
    }
    Snapshot snapshot;
    snapshot.now_us = 1'000'000 + i * 15'000;
    snapshot.level = 16;
    snapshot.queues = views;
    policy->Decide(snapshot, &answer);
  }
  EXPECT_EQ(answer.queues[0].intent.boost, 15);
}

TEST(CapTest, ProgramUsesNoMoreThanItsCapInAnyPolicy) {
  for (const PolicyInfo& info : ListPolicies()) {
    ArenaModel model(MakePolicy(info.name, {}));
    model.Add(AlwaysBusy(7, 300));
    model.Add(AlwaysBusy(7));
    model.Run(5'000'000);
    EXPECT_LE(static_cast<double>(model.program(0).used_us) / 5e6, 0.32) << info.name;
    EXPECT_GE(static_cast<double>(model.program(0).used_us) / 5e6, 0.27) << info.name;
  }
}

TEST(CapTest, HoldsAlsoAProgramThatIsAlone) {
  ArenaModel model(MakePolicy("utilisation-cap", {}));
  model.Add(AlwaysBusy(7, 500));
  model.Run(3'000'000);
  EXPECT_NEAR(static_cast<double>(model.program(0).used_us) / 3e6, 0.5, 0.03);
}

TEST(CapTest, IdleTimeIsNotSavedUp) {
  ArenaModel model(MakePolicy("utilisation-cap", {.cap_period_us = 100'000}));
  Program& program = model.Add(AlwaysBusy(7, 200));
  program.work_us = 0;
  program.arrivals = [](std::uint64_t now_us) {
    return now_us == 3'000'000 ? std::uint64_t{10'000'000} : 0;
  };
  model.Run(2'000'000);
  EXPECT_EQ(model.program(0).used_us, 0u);
  model.Run(1'000'000);
  EXPECT_LE(model.program(0).used_us, 240'000u);
}

TEST(CapTest, ProgramsWithoutACapAreLeftAlone) {
  ArenaModel model(MakePolicy("utilisation-cap", {}));
  model.Add(AlwaysBusy(0));
  model.Add(AlwaysBusy(15));
  model.Run(100'000);
  for (const QueueAnswer& own : model.answer().queues) EXPECT_EQ(own.intent, QueueIntent{});
  EXPECT_EQ(model.decisions(), 1u);
}

}  // namespace
}  // namespace xsched_hsa

// runlist_test.cc: what preemption cycles cost and whom, suspended queues, over-subscription.

#include <gtest/gtest.h>

#include "test_source.h"

namespace virtual_gpu {
namespace {

constexpr TimeNs kCycle = 200'000;
DeviceParams Params() {
  DeviceParams params;
  params.runlist_cycle_ns = kCycle;
  return params;
}
KernelCost Kernel(std::uint64_t workgroups, TimeNs ns) { return {workgroups, 4, 32, 0, ns}; }

// More queues than fit.
struct Many {
  explicit Many(const DeviceParams& params) : rig(params) {}
  void Add(std::uint64_t process = 0) {
    sources.push_back(std::make_unique<TestSource>());
    ids.push_back(rig.AddQueue(sources.back().get(), 7, process));
  }
  void SubmitToAll(const KernelCost& kernel, int count = 1) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      for (int k = 0; k < count; ++k) sources[i]->Submit(kernel);
      rig.Kick(ids[i]);
    }
  }
  void ExpectDone(std::size_t count) const {
    for (std::size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(sources[i]->done.size(), count) << i;
  }
  std::size_t Mapped() const {
    std::size_t mapped = 0;
    for (const QueueId id : ids) mapped += rig.Stats(id).mapped;
    return mapped;
  }

  TestRig rig;
  std::vector<std::unique_ptr<TestSource>> sources;
  std::vector<QueueId> ids;
};

TEST(RunlistTest, FirstQueueOnAnIdleDeviceCostsTheBase) {
  TestRig rig(Params());
  TestSource source;
  QueueId id = 0;
  TimeNs returns_at = 0;
  ASSERT_EQ(rig.device->CreateQueue(0, {1, 7, true}, &source, &id, &returns_at), Status::kOk);
  EXPECT_EQ(returns_at, kCycle / 2);
  EXPECT_FALSE(rig.Stats(id).mapped);
  rig.Idle();
  EXPECT_EQ(rig.now, kCycle);
  EXPECT_TRUE(rig.Stats(id).mapped);
  EXPECT_EQ(source.rereads, 1u);
}

TEST(RunlistTest, EveryQueueFeelsAnothersCycle) {
  TestRig rig(Params());
  TestSource worker, other;
  const QueueId qw = rig.AddQueue(&worker), qo = rig.AddQueue(&other);
  worker.Submit(Kernel(64'000, 20'000));
  rig.Kick(qw);
  ASSERT_TRUE(rig.Idle());
  const TimeNs alone = worker.done[0].end - worker.done[0].start;
  worker.Submit(Kernel(64'000, 20'000));
  rig.Kick(qw);
  for (int i = 0; i < 3; ++i) {
    rig.Run(300'000 + (i ? kCycle + 2 * 209'715 : 0));
    const TimeNs returns_at = rig.SetActive(qo, true);  // a change of nothing
    EXPECT_GT(returns_at, rig.now + kCycle / 2);        // saved waves cost extra
    EXPECT_EQ(rig.Stats(qw).resident_workgroups, 0u);
  }
  ASSERT_TRUE(rig.Idle());
  const TimeNs disturbed = worker.done[1].end - worker.done[1].start;
  // 640 workgroups of 4 waves x 32 registers: 21 MB, 0.21 ms at 100 bytes/ns, each way.
  EXPECT_NEAR(disturbed - alone, 3 * (kCycle + 2 * 209'715), 100'000);
  // An SE's turn comes in order, so a few of the 640 slots are empty at any moment.
  EXPECT_GE(rig.device->GetStats().saved_waves, 3u * 600 * 4);
}

TEST(RunlistTest, InactiveQueueStandsStillAndResumesWithWhatIsLeft) {
  TestRig rig(Params());
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  source.Submit(Kernel(640, 1'000'000));
  rig.Kick(id);
  rig.Run(600'000);
  rig.SetActive(id, false);
  const std::uint64_t before = source.workgroups;
  ASSERT_TRUE(rig.Idle());
  rig.Run(50'000'000);
  EXPECT_EQ(source.workgroups, before);
  EXPECT_FALSE(rig.Stats(id).mapped);
  source.Submit(Kernel(1, 1'000));
  rig.Kick(id);  // a doorbell while suspended is not lost
  EXPECT_EQ(rig.device->NextEvent(), kNever);
  const TimeNs resumed = rig.SetActive(id, true);
  ASSERT_TRUE(rig.Idle());
  ASSERT_EQ(source.done.size(), 2u);
  EXPECT_LT(source.done[0].end - resumed, 1'250'000 - 600'000 + kCycle + 300'000);
}

TEST(RunlistTest, SecondChangeStartsAfterTheFirstCycle) {
  TestRig rig(Params());
  TestSource a, b;
  const QueueId qa = rig.AddQueue(&a), qb = rig.AddQueue(&b);
  const TimeNs first = rig.SetActive(qa, false), second = rig.SetActive(qb, false);
  EXPECT_EQ(first, rig.now + kCycle / 2);
  EXPECT_EQ(second, rig.now + kCycle + kCycle / 2);
  EXPECT_TRUE(rig.Idle());
}

TEST(RunlistTest, WithoutHardwareSchedulerOnlyTheChangedQueueLeaves) {
  DeviceParams params = Params();
  params.hardware_scheduler = false;
  TestRig rig(params);
  TestSource worker, other;
  const QueueId qw = rig.AddQueue(&worker), qo = rig.AddQueue(&other);
  worker.Submit(Kernel(64'000, 20'000));
  rig.Kick(qw);
  other.Submit(Kernel(64'000, 20'000));
  rig.Kick(qo);
  rig.Run(500'000);
  rig.SetActive(qo, false);
  EXPECT_GT(rig.Stats(qw).resident_workgroups, 0u);
  EXPECT_EQ(rig.Stats(qo).resident_workgroups, 0u);
  EXPECT_TRUE(rig.Stats(qw).mapped);
  rig.Run(100'000);
  EXPECT_EQ(rig.Stats(qw).resident_workgroups, 640u);  // it has the device to itself
  rig.SetActive(qo, true);
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(other.done.size(), 1u);
  EXPECT_EQ(worker.done.size(), 1u);
}

TEST(RunlistTest, WithoutCwsrRunningWorkgroupsDrainFirst) {
  DeviceParams params = Params();
  params.cwsr = false;
  TestRig rig(params);
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  source.Submit(Kernel(1'280, 2'000'000));
  rig.Kick(id);
  rig.Run(500'000);
  const TimeNs returns_at = rig.SetActive(id, false);
  EXPECT_GT(returns_at - rig.now, 1'000'000);
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(source.workgroups, 640u);
  EXPECT_EQ(rig.device->GetStats().saved_waves, 0u);
  rig.SetActive(id, true);
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(source.done.size(), 1u);
}

TEST(RunlistTest, DrainBeyondTheTimeoutFailsAndTheQueuesGoOn) {
  DeviceParams params = Params();
  params.cwsr = false;
  params.preempt_timeout_ns = 1'000'000;
  TestRig rig(params);
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  source.Submit(Kernel(1'280, 20'000'000));
  rig.Kick(id);
  rig.Run(500'000);
  TimeNs returns_at = 0;
  EXPECT_EQ(rig.device->UpdateQueue(rig.now, id, {1, 7, false}, &returns_at),
            Status::kPreemptTimeout);
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(source.done.size(), 1u);
}

TEST(RunlistTest, MoreQueuesThanSlotsTakeTurns) {
  Many many(Params());
  for (int i = 0; i < 30; ++i) many.Add(1);
  many.SubmitToAll(Kernel(640, 1'000'000), 5);
  ASSERT_TRUE(many.rig.Idle());
  many.ExpectDone(5);
  EXPECT_GT(many.rig.device->GetStats().runlist_cycles, 31u);
}

TEST(RunlistTest, MoreProcessesThanVmidsTakeTurns) {
  Many many(Params());
  for (int i = 0; i < 16; ++i) many.Add();
  many.SubmitToAll(Kernel(6'400, 1'000'000));
  ASSERT_TRUE(many.rig.Idle());
  many.ExpectDone(1);
}

// Created in turns, as programs that start together do, their queues alternate; nobody is passed over for that.
TEST(RunlistTest, QueuesOfManyProcessesThatAlternateAllGetTheirTurn) {
  Many many(Params());
  // A multiple of the 24 slots, so that a second round of turns begins where the first one did.
  for (std::uint64_t i = 0; i < 9 * 32; ++i) many.Add(100 + i % 32);
  many.SubmitToAll(Kernel(64, 100'000));
  many.rig.Run(1'000'000'000);
  many.ExpectDone(1);
}

// A turn lasts as long as it would have: cycles for other reasons, closer together than a turn is long, do not keep
// those that wait from theirs.
TEST(RunlistTest, CyclesForOthersDoNotKeepAQueueFromItsTurn) {
  Many many(Params());
  for (int i = 0; i < 30; ++i) many.Add(1);
  TestSource& last = *many.sources.back();
  last.Submit(Kernel(64, 100'000));
  many.rig.Kick(many.ids.back());
  for (int i = 0; i < 20 && last.done.empty(); ++i) {
    many.rig.Run(5'000'000);
    many.rig.SetActive(many.ids[0], true);
  }
  EXPECT_EQ(last.done.size(), 1u);
}

// Also where the others stay on the device while one queue changes (MES), and the turn ends in the middle of that.
TEST(RunlistTest, NeverMoreQueuesAreMappedThanThereAreSlots) {
  for (const bool hardware_scheduler : {true, false}) {
    DeviceParams params = Params();
    params.hardware_scheduler = hardware_scheduler;
    params.runlist_cycle_ns = 3'000'000;
    Many many(params);
    for (int i = 0; i < 60; ++i) many.Add(1);
    many.SubmitToAll(Kernel(640, 1'000'000), 40);
    for (int i = 0; i < 100; ++i) {
      many.rig.SetActive(many.ids[i % 60], true);
      many.rig.Run(3'700'000);
      EXPECT_LE(many.Mapped(), 24u) << i;
    }
    ASSERT_TRUE(many.rig.Idle());
    many.ExpectDone(40);
  }
}

TEST(RunlistTest, DroppedProcessLeavesItsCusToTheOthers) {
  TestRig rig(Params());
  TestSource dead, alive;
  const QueueId qd = rig.AddQueue(&dead, 7, 77), qa = rig.AddQueue(&alive, 7, 78);
  dead.Submit(Kernel(1'000'000, 50'000));
  rig.Kick(qd);
  rig.Run(100'000);
  alive.Submit(Kernel(6'400, 50'000));
  rig.Kick(qa);
  rig.Run(100'000);
  rig.device->DropProcess(rig.now, 77);
  const std::uint64_t reported = dead.workgroups;
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(dead.workgroups, reported);
  EXPECT_EQ(alive.done.size(), 1u);
  QueueStats stats;
  EXPECT_EQ(rig.device->GetQueueStats(qd, &stats), Status::kUnknownQueue);
}

}  // namespace
}  // namespace virtual_gpu

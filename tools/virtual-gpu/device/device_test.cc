// device_test.cc: how queues share the device: pipes, CUs, masks, priorities, packets.

#include "device.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "test_source.h"

namespace virtual_gpu {
namespace {

// 80 CUs; whole device full with 640 workgroups of 4 waves.
DeviceParams Params() { return DeviceParams{}; }
KernelCost Kernel(std::uint64_t workgroups, TimeNs ns, std::uint32_t waves = 4,
                  std::uint32_t lds = 0) {
  return {workgroups, waves, 32, lds, ns};
}

TEST(DeviceTest, RunsAKernelAloneAtFullRate) {
  TestRig rig(Params());
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  source.Submit(Kernel(64'000, 50'000));  // a hundred rounds, then a tail of up to one
  rig.Kick(id);
  ASSERT_TRUE(rig.Idle());
  ASSERT_EQ(source.done.size(), 1u);
  EXPECT_EQ(source.workgroups, 64'000u);
  EXPECT_NEAR(source.done[0].end - source.done[0].start, 5'050'000, 150'000);
  EXPECT_NEAR(rig.Stats(id).cu_ns, 80 * 5'000'000, 80 * 50'000);
}

TEST(DeviceTest, NeverWakesWhenIdle) {
  TestRig rig(Params());
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  EXPECT_EQ(rig.device->NextEvent(), kNever);
  rig.Kick(id);
  EXPECT_EQ(rig.device->NextEvent(), kNever);
  source.Submit(Kernel(1, 1000));
  rig.Kick(id);
  EXPECT_NE(rig.device->NextEvent(), kNever);
  EXPECT_TRUE(rig.Idle());
}

TEST(DeviceTest, AdvancesThroughWorkgroupsOfNoDuration) {
  for (const TimeNs grain : {TimeNs{0}, TimeNs{20'000}}) {
    DeviceParams params = Params();
    params.grain_ns = grain;
    TestRig rig(params);
    TestSource source;
    const QueueId id = rig.AddQueue(&source);
    source.Submit(Kernel(100'000, 0));
    source.Submit({0, 1, 8, 0, 0});
    source.Submit(Kernel(1, -5));
    rig.Kick(id);
    ASSERT_TRUE(rig.Idle(10'000'000));
    EXPECT_EQ(source.done.size(), 3u);
  }
}

TEST(DeviceTest, EqualProgramsShareEqually) {
  TestRig rig(Params());
  TestSource a, b;
  const QueueId qa = rig.AddQueue(&a), qb = rig.AddQueue(&b);
  a.Submit(Kernel(400'000, 20'000));
  b.Submit(Kernel(400'000, 20'000));
  rig.Kick(qa);
  rig.Kick(qb);
  rig.Run(5'000'000);
  const double ratio = static_cast<double>(a.workgroups) / static_cast<double>(b.workgroups);
  EXPECT_NEAR(ratio, 1.0, 0.06);
}

TEST(DeviceTest, FourPipesRunFourQueuesAtOnce) {
  TestRig rig(Params());
  TestSource sources[4];
  QueueId ids[4];
  for (int i = 0; i < 4; ++i) ids[i] = rig.AddQueue(&sources[i]);
  for (int i = 0; i < 4; ++i) {
    sources[i].Submit(Kernel(40'000, 20'000));
    rig.Kick(ids[i]);
  }
  rig.Run(2'000'000);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(rig.Stats(ids[i]).pipe, static_cast<std::uint32_t>(i));
    EXPECT_GT(sources[i].workgroups, 8'000u);
  }
}

TEST(DeviceTest, NeighbourOnThePipeWaitsForTheLaunchOrTheQuantum) {
  TestRig rig(Params());
  TestSource sources[5];
  QueueId ids[5];
  for (int i = 0; i < 5; ++i) ids[i] = rig.AddQueue(&sources[i]);
  EXPECT_EQ(rig.Stats(ids[4]).pipe, rig.Stats(ids[0]).pipe);
  EXPECT_EQ(rig.Stats(ids[4]).slot, rig.Stats(ids[0]).slot + 1);
  sources[0].Submit(Kernel(64'000, 20'000));  // launches for 2 ms
  rig.Kick(ids[0]);
  rig.Run(100'000);
  const TimeNs submitted = rig.now;
  sources[4].Submit(Kernel(1, 1'000));
  rig.Kick(ids[4]);
  sources[1].Submit(Kernel(1, 1'000));
  rig.Kick(ids[1]);
  ASSERT_TRUE(rig.Idle());
  ASSERT_EQ(sources[4].done.size(), 1u);
  ASSERT_EQ(sources[1].done.size(), 1u);
  EXPECT_LT(sources[1].done[0].end - submitted, 100'000);  // a pipe of its own
  EXPECT_GT(sources[4].done[0].end - submitted, 850'000);  // the 1 ms quantum
  EXPECT_LT(sources[4].done[0].end - submitted, 1'100'000);
}

TEST(DeviceTest, KernelThatDoesNotFillTheDeviceLeavesCusAlone) {
  TestRig rig(Params());
  TestSource a, b;
  const QueueId qa = rig.AddQueue(&a), qb = rig.AddQueue(&b);
  // One to a CU, two CUs of each SE. (An SE gets its turn whether it has room or not: with three in
  // some SEs the second kernel would wait for them.)
  a.Submit(Kernel(32, 500'000, 16, 60'000));
  rig.Kick(qa);
  rig.Run(50'000);
  EXPECT_EQ(rig.device->ResidentCus(qa).size(), 32u);
  b.Submit(Kernel(32, 500'000, 16, 60'000));
  rig.Kick(qb);
  ASSERT_TRUE(rig.Idle());
  EXPECT_LT(b.done[0].end - b.done[0].start, 650'000);
  EXPECT_LT(a.done[0].end - a.done[0].start, 650'000);
}

TEST(DeviceTest, ResidentsShareACuInProportionToTheirDemands) {
  DeviceParams params = Params();
  params.xccs = params.ses_per_xcc = 1;
  params.cus_per_se = {1};
  params.workgroup_spread = 0;
  TestRig rig(params);
  TestSource a, b;
  const QueueId qa = rig.AddQueue(&a), qb = rig.AddQueue(&b);
  a.Submit(Kernel(1, 100'000, 1, 60'000));  // LDS-limited: demands the CU
  b.Submit(Kernel(1, 100'000, 16));         // two fit: demands half of it
  rig.Kick(qa);
  rig.Kick(qb);
  ASSERT_TRUE(rig.Idle());
  EXPECT_NEAR(b.done[0].end - b.done[0].start, 150'000, 100);
  EXPECT_NEAR(a.done[0].end - a.done[0].start, 150'000, 1'100);
}

TEST(DeviceTest, WorkgroupsStayOnTheCusOfTheirMask) {
  for (const TimeNs grain : {TimeNs{0}, TimeNs{20'000}}) {
    DeviceParams params = Params();
    params.grain_ns = grain;
    TestRig rig(params);
    TestSource source;
    const QueueId id = rig.AddQueue(&source);
    rig.SetMask(id, {0xffffffffu, 0, 0});  // CUs 0 and 1 of every SE
    rig.Idle();
    source.Submit(Kernel(64'000, 10'000));
    rig.Kick(id);
    rig.Run(500'000);
    std::vector<CuLocation> cus = rig.device->ResidentCus(id);
    EXPECT_EQ(cus.size(), 32u);
    for (const CuLocation& cu : cus) EXPECT_LT(cu.cu, 2u);
    rig.SetMask(id, {0, 0xffffu << 16, 0});  // CU 3 of SEs 0..3: half a word, 16 bits
    rig.Run(1'000'000);
    cus = rig.device->ResidentCus(id);
    EXPECT_EQ(cus.size(), 16u);
    for (const CuLocation& cu : cus) EXPECT_EQ(cu.cu, 3u);
    rig.SetMask(id, {~0u, ~0u, ~0u});
    ASSERT_TRUE(rig.Idle());
    EXPECT_EQ(source.workgroups, 64'000u);
  }
}

TEST(DeviceTest, DispatchStallsWhenAnXccHasNoCu) {
  TestRig rig(Params());
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  rig.SetMask(id, {0x11111111u, 0x11111111u, 0x11111111u});  // XCC 0 only
  rig.Idle();
  source.Submit(Kernel(400, 10'000));
  rig.Kick(id);
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(source.workgroups, 100u);
  EXPECT_TRUE(source.done.empty());
  rig.SetMask(id, {~0u, ~0u, ~0u});
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(source.done.size(), 1u);
}

TEST(DeviceTest, DispatchThatFitsNoCuNeverStarts) {
  TestRig rig(Params());
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  const KernelCost cost = Kernel(1, 1'000, 4, 70'000);
  EXPECT_EQ(rig.device->Occupancy(cost), 0u);
  source.Submit(cost);
  rig.Kick(id);
  ASSERT_TRUE(rig.Idle());
  EXPECT_TRUE(source.done.empty());
}

TEST(DeviceTest, BarrierBitWaitsForEarlierPacketsAndItsAbsenceDoesNot) {
  TestRig rig(Params());
  TestSource with, without;
  const QueueId a = rig.AddQueue(&with);
  with.Submit(Kernel(1, 500'000));
  with.Submit(Kernel(1, 10'000), true);
  rig.Kick(a);
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(with.done[0].index, 0u);
  EXPECT_GE(with.done[1].start, with.done[0].end);
  const QueueId b = rig.AddQueue(&without);
  without.Submit(Kernel(1, 500'000));
  without.Submit(Kernel(1, 10'000), false);
  rig.Kick(b);
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(without.done[0].index, 1u);
  EXPECT_LT(without.done[0].end, without.done[1].end);
}

TEST(DeviceTest, BarrierPacketBlocksItsQueueButNotItsPipe) {
  TestRig rig(Params());
  TestSource sources[5];
  QueueId ids[5];
  for (int i = 0; i < 5; ++i) ids[i] = rig.AddQueue(&sources[i]);
  sources[0].dependencies_met = false;
  sources[0].SubmitKind(Packet::Kind::kBarrierAnd);
  sources[0].Submit(Kernel(1, 1'000));
  rig.Kick(ids[0]);
  EXPECT_TRUE(rig.device->AnyBarrierBlocked());
  sources[4].Submit(Kernel(1, 1'000));
  rig.Kick(ids[4]);
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(sources[4].done.size(), 1u);
  EXPECT_TRUE(sources[0].done.empty());
  EXPECT_FALSE(rig.device->PollBarriers(rig.now));
  sources[0].dependencies_met = true;
  EXPECT_TRUE(rig.device->PollBarriers(rig.now));
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(sources[0].done.size(), 2u);
  EXPECT_FALSE(rig.device->AnyBarrierBlocked());
}

TEST(DeviceTest, CompletionSatisfiesAnotherQueuesBarrierAtOnce) {
  TestRig rig(Params());
  TestSource first, second;
  const QueueId a = rig.AddQueue(&first), b = rig.AddQueue(&second);
  second.dependencies_met = false;
  first.on_complete = [&](const Packet&) {
    second.dependencies_met = true;
    rig.device->Kick(0, b);  // from within a callback
  };
  second.SubmitKind(Packet::Kind::kBarrierOr);
  rig.Kick(b);
  first.Submit(Kernel(1, 100'000));
  rig.Kick(a);
  ASSERT_TRUE(rig.Idle());
  ASSERT_EQ(second.done.size(), 1u);
  EXPECT_EQ(second.done[0].end, first.done[0].end + Params().packet_other_ns);
}

TEST(DeviceTest, VendorPacketsAreConsumedAndCompleted) {
  TestRig rig(Params());
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  source.SubmitKind(Packet::Kind::kVendor);
  source.SubmitKind(Packet::Kind::kVendor);
  rig.Kick(id);
  ASSERT_TRUE(rig.Idle());
  EXPECT_EQ(source.consumed(), 2u);
  EXPECT_EQ(source.done[1].end - source.done[0].end, Params().packet_other_ns);
}

// A saturating low queue against short kernels of a high one: what one of them takes.
TimeNs MeanLatency(bool effective, std::uint32_t priority) {
  DeviceParams params = Params();
  params.pipe_priority_effective = effective;
  TestRig rig(params);
  TestSource low, high;
  const QueueId ql = rig.AddQueue(&low, 0), qh = rig.AddQueue(&high, priority);
  low.Submit(Kernel(500'000, 40'000));
  rig.Kick(ql);
  rig.Run(200'000);
  TimeNs sum = 0;
  for (int i = 0; i < 50; ++i) {
    const TimeNs begin = rig.now;
    high.Submit(Kernel(1'600, 10'000));
    rig.Kick(qh);
    while (high.done.size() <= static_cast<std::size_t>(i)) {
      rig.device->AdvanceTo(rig.now = rig.device->NextEvent());
    }
    sum += rig.now - begin;
    rig.Run(100'000);
  }
  return sum / 50;
}

TEST(DeviceTest, HigherPipePriorityGetsFreedSlotsFirstOnlyWhereEffective) {
  const TimeNs equal = MeanLatency(true, 0), high = MeanLatency(true, 15),
               switched_off = MeanLatency(false, 15);
  EXPECT_LT(high, equal * 8 / 10);
  EXPECT_NEAR(switched_off, equal, static_cast<double>(equal) / 10);
}

TEST(DeviceTest, AdvancesToACompletionAndNotBeyond) {
  TestRig rig(DeviceParams{});
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  source.Submit({80, 1, 8, 0, 50'000});
  source.Submit({80, 1, 8, 0, 70'000});
  rig.Kick(id);
  const TimeNs limit = rig.now + 10'000'000;
  for (std::size_t packets = 1; packets <= 2; ++packets) {
    rig.now = rig.device->AdvanceToCompletion(limit);
    ASSERT_EQ(source.done.size(), packets);
    EXPECT_EQ(rig.now, source.done.back().end);
    EXPECT_EQ(rig.now, rig.device->GetStats().now);
  }
  EXPECT_EQ(rig.device->AdvanceToCompletion(limit), limit);  // nothing more: as AdvanceTo
}

TEST(DeviceTest, RefusesWhatIsImpossible) {
  TestRig rig(Params());
  TestSource source;
  QueueId id = 0;
  TimeNs at = 0;
  EXPECT_EQ(rig.device->CreateQueue(0, {1, 16, true}, &source, &id, &at), Status::kInvalidArgument);
  EXPECT_EQ(rig.device->CreateQueue(0, {1, 7, true}, nullptr, &id, &at), Status::kInvalidArgument);
  EXPECT_EQ(rig.device->DestroyQueue(0, 99, &at), Status::kUnknownQueue);
  EXPECT_EQ(rig.device->UpdateQueue(0, 99, {}, &at), Status::kUnknownQueue);
  const std::vector<std::uint32_t> mask = {1};
  EXPECT_EQ(rig.device->SetCuMask(0, 99, mask, &at), Status::kUnknownQueue);
  id = rig.AddQueue(&source);
  EXPECT_EQ(rig.device->SetCuMask(rig.now, id, {}, &at), Status::kInvalidArgument);
}

}  // namespace
}  // namespace virtual_gpu

// rules_test.cc: the device model's rules one by one, each by what queues see of it.

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <utility>

#include "test_source.h"

namespace virtual_gpu {
namespace {

// One workgroup after the other, without spread: what happens when is exact.
DeviceParams Exact() {
  DeviceParams params;
  params.grain_ns = 0;
  params.workgroup_spread = 0;
  return params;
}
DeviceParams OneCu() {
  DeviceParams params = Exact();
  params.xccs = params.ses_per_xcc = 1;
  params.cus_per_se = {1};
  return params;
}

TEST(SlotRuleTest, TwentyFourQueuesAreThereAtOnceAndTheNextOneBringsTurns) {
  TestRig rig{DeviceParams{}};
  std::vector<std::unique_ptr<TestSource>> sources;
  std::vector<QueueId> ids;
  std::map<std::uint32_t, int> on_pipe;
  const auto cycles_of_work = [&] {
    const std::uint64_t before = rig.device->GetStats().runlist_cycles;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      sources[i]->Submit({640, 4, 32, 0, 2'000'000});
      rig.Kick(ids[i]);
    }
    EXPECT_TRUE(rig.Idle());
    return rig.device->GetStats().runlist_cycles - before;
  };
  for (int i = 0; i < 25; ++i) {
    if (i == 24) {
      for (const QueueId id : ids) {
        EXPECT_TRUE(rig.Stats(id).mapped);
        ++on_pipe[rig.Stats(id).pipe];
      }
      EXPECT_EQ(on_pipe, (std::map<std::uint32_t, int>{{0, 6}, {1, 6}, {2, 6}, {3, 6}}));
      EXPECT_EQ(cycles_of_work(), 0u);
    }
    sources.push_back(std::make_unique<TestSource>());
    ids.push_back(rig.AddQueue(sources.back().get(), 7, 1));
  }
  EXPECT_GT(cycles_of_work(), 0u);
}

// Workgroup by workgroup to the next XCC; the rest of the division shows which came first.
std::vector<std::uint32_t> PerXcc(TestRig* rig, QueueId id, TestSource* source, std::uint64_t n) {
  source->Submit({n, 16, 32, 60'000, 100'000});  // a CU each
  rig->Kick(id);
  rig->Run(50'000);
  std::vector<std::uint32_t> count(4);
  for (const CuLocation& cu : rig->device->ResidentCus(id)) ++count[cu.xcc];
  EXPECT_TRUE(rig->Idle());
  return count;
}

TEST(PlacementRuleTest, WorkgroupsGoToTheXccsInTurn) {
  TestRig rig(Exact());
  TestSource a, b;
  const QueueId qa = rig.AddQueue(&a), qb = rig.AddQueue(&b);
  EXPECT_EQ(PerXcc(&rig, qa, &a, 1), (std::vector<std::uint32_t>{1, 0, 0, 0}));
  EXPECT_EQ(PerXcc(&rig, qa, &a, 6), (std::vector<std::uint32_t>{2, 2, 1, 1}));
  EXPECT_EQ(PerXcc(&rig, qb, &b, 6), (std::vector<std::uint32_t>{2, 2, 1, 1}));
}

// XCC x is the (x + start)-th in turn, so the third queue's workgroup 0 goes to XCC 2.
TEST(PlacementRuleTest, EachQueueBeginsAtAnotherXccWhereTheDriverSaysSo) {
  DeviceParams params = Exact();
  params.xcc_start_rotates = true;
  TestRig rig(params);
  TestSource sources[6];
  const std::vector<std::uint32_t> expected[6] = {{2, 2, 1, 1}, {2, 1, 1, 2}, {1, 1, 2, 2},
                                                  {1, 2, 2, 1}, {2, 2, 1, 1}, {2, 1, 1, 2}};
  for (int i = 0; i < 6; ++i) {
    const QueueId id = rig.AddQueue(&sources[i]);
    EXPECT_EQ(PerXcc(&rig, id, &sources[i], 6), expected[i]) << i;
    EXPECT_EQ(PerXcc(&rig, id, &sources[i], 1)[(4 - i % 4) % 4], 1u) << i;
  }
}

// The driver's map takes the n-th CU of every SE before the next of any.
TEST(PlacementRuleTest, WorkgroupsThatNameTheirCuAreWhereTheMaskLeavesThem) {
  TestRig rig{DeviceParams{}};
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  const auto seen = [&](const std::vector<std::uint32_t>& mask) {
    rig.SetMask(id, mask);
    source.done_on.clear();
    source.Submit({5000, 4, 32, 0, 10'000, true});
    rig.Kick(id);
    EXPECT_TRUE(rig.Idle());
    EXPECT_EQ(source.done_on.size(), 5000u);
    std::map<std::uint32_t, std::set<std::pair<std::uint32_t, std::uint32_t>>> cus;  // by index
    for (const CuLocation& at : source.done_on) cus[at.cu].insert({at.xcc, at.se});
    for (const auto& [index, ses] : cus) EXPECT_EQ(ses.size(), 16u) << index;
    std::set<std::uint32_t> indices;
    for (const auto& [index, ses] : cus) indices.insert(index);
    return indices;
  };
  // Alone and again: what would be in bulk by then is nowhere.
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(seen({0xffffffff, 0, 0}), (std::set<std::uint32_t>{0, 1}));
  }
  EXPECT_EQ(seen({0, 0xffffffff, 0xffff}), (std::set<std::uint32_t>{2, 3, 4}));
}

// With two SEs of one CU each: the first workgroup waits for the first SE, though the second one's
// CU is free.
TEST(PlacementRuleTest, AWorkgroupWaitsForItsSeThoughAnotherIsFree) {
  DeviceParams params = Exact();
  params.xccs = 1;
  params.ses_per_xcc = 2;
  params.cus_per_se = {1, 1};
  TestRig rig(params);
  TestSource blocker, source;
  const QueueId qb = rig.AddQueue(&blocker), id = rig.AddQueue(&source);
  blocker.Submit({1, 16, 32, 60'000, 900'000});  // on SE 0
  rig.Kick(qb);
  rig.Run(10'000);
  source.Submit({2, 16, 32, 60'000, 100'000});  // its first one is for SE 0, too
  rig.Kick(id);
  rig.Run(500'000);
  EXPECT_EQ(rig.Stats(id).resident_workgroups + rig.Stats(id).workgroups, 0u);
  ASSERT_TRUE(rig.Idle());
  EXPECT_GT(source.done[0].end, blocker.done[0].end);
}

// Each of a CU's limits alone keeps a second kernel's workgroup off it until the first ends.
TEST(OccupancyRuleTest, EachLimitAloneMakesAWorkgroupWait) {
  struct Limit {
    const char* name;
    KernelCost first, beside, too_much;
  };
  const TimeNs ns = 500'000;
  const Limit limits[] = {
      {"waves", {1, 20, 8, 0, ns}, {1, 12, 8, 0, ns}, {1, 13, 8, 0, ns}},
      {"registers", {1, 4, 256, 0, ns}, {1, 4, 256, 0, ns}, {1, 5, 256, 0, ns}},
      {"LDS", {1, 1, 8, 40'000, ns}, {1, 1, 8, 25'536, ns}, {1, 1, 8, 25'537, ns}},
      {"workgroups", {31, 1, 8, 0, ns}, {1, 1, 8, 0, ns}, {2, 1, 8, 0, ns}},
  };
  for (const Limit& limit : limits) {
    for (const bool fits : {true, false}) {
      DeviceParams params = OneCu();
      params.waves_per_simd = 8;
      if (std::string(limit.name) == "workgroups") params.waves_per_simd = 16;
      TestRig rig(params);
      TestSource a, b;
      const QueueId qa = rig.AddQueue(&a), qb = rig.AddQueue(&b);
      a.Submit(limit.first);
      rig.Kick(qa);
      rig.Run(10'000);
      b.Submit(fits ? limit.beside : limit.too_much);
      rig.Kick(qb);
      rig.Run(10'000);
      const std::uint32_t there = rig.Stats(qb).resident_workgroups;
      const auto all =
          static_cast<std::uint32_t>(fits ? limit.beside.workgroups : limit.too_much.workgroups);
      EXPECT_EQ(there == all, fits) << limit.name << ": " << there << " of " << all;
      EXPECT_TRUE(rig.Idle());
      EXPECT_EQ(b.done.size(), 1u) << limit.name;
    }
  }
}

// Of two queues on two pipes that want the same slots: what the first has done when the second has
// done 100 workgroups.
std::uint64_t DoneBeside(std::uint32_t one, std::uint32_t other) {
  TestRig rig(OneCu());
  TestSource a, b;
  const QueueId qa = rig.AddQueue(&a, one), qb = rig.AddQueue(&b, other);
  a.Submit({100'000, 16, 32, 60'000, 1'000});
  b.Submit({100'000, 16, 32, 60'000, 1'000});
  rig.Kick(qa);
  rig.Kick(qb);
  while (b.workgroups < 100 && a.workgroups < 1'000) rig.Run(1'000);
  return a.workgroups;
}

// pipe_priority_map: 0 to 6, 7 to 10, 11 to 15.
TEST(PriorityRuleTest, PipesHaveThreePriorities) {
  for (const auto& [low, high] : {std::pair{0u, 6u}, {7u, 10u}, {11u, 15u}}) {
    EXPECT_NEAR(DoneBeside(low, high), 100, 2) << low << " beside " << high;
    EXPECT_NEAR(DoneBeside(high, low), 100, 2) << high << " beside " << low;
  }
  for (const auto& [low, high] : {std::pair{6u, 7u}, {10u, 11u}}) {
    EXPECT_LE(DoneBeside(low, high), 2u) << low << " beside " << high;
    EXPECT_GE(DoneBeside(high, low), 1'000u) << high << " beside " << low;
  }
}

// Two queues of one pipe: when a packet of the second one ends, if the first has work for 30 ms.
TimeNs EndOnTheSamePipe(bool effective, std::uint32_t first, std::uint32_t second) {
  DeviceParams params = OneCu();
  params.pipes = 1;
  params.queue_priority_effective = effective;
  TestRig rig(params);
  TestSource a, b;
  const QueueId qa = rig.AddQueue(&a, first), qb = rig.AddQueue(&b, second);
  for (int i = 0; i < 3; ++i) a.Submit({100, 16, 32, 60'000, 100'000}, false);
  rig.Kick(qa);
  rig.Run(100'000);
  const TimeNs submitted = rig.now;
  b.Submit({1, 1, 8, 0, 1'000});
  rig.Kick(qb);
  EXPECT_TRUE(rig.Idle());
  return b.done[0].end - submitted;
}

TEST(PriorityRuleTest, InsideAPipeTheQueuePriorityCountsWhereItIsEffectiveOnly) {
  constexpr TimeNs kQuantum = 1'100'000, kAll = 28'000'000;
  EXPECT_LT(EndOnTheSamePipe(false, 15, 0), kQuantum);
  EXPECT_LT(EndOnTheSamePipe(true, 7, 7), kQuantum);
  EXPECT_LT(EndOnTheSamePipe(true, 7, 8), kQuantum);  // the same pipe priority
  EXPECT_GT(EndOnTheSamePipe(true, 8, 7), kAll);      // strict: it starves
}

// Whatever changes, every queue of every process is off the device until the list is mapped again.
TEST(CycleRuleTest, EveryKindOfChangeTakesEveryQueueOff) {
  TestRig rig{DeviceParams{}};
  TestSource worker, other, third, dead;
  const QueueId qw = rig.AddQueue(&worker, 7, 50), qo = rig.AddQueue(&other, 7, 51);
  rig.AddQueue(&dead, 7, 52);
  worker.Submit({6'400'000, 4, 32, 0, 20'000});
  rig.Kick(qw);
  const std::vector<std::uint32_t> mask(3, ~0u);
  QueueId made = 0;
  TimeNs returns_at = 0;
  const std::pair<const char*, std::function<Status()>> changes[] = {
      {"create",
       [&] {
         return rig.device->CreateQueue(rig.now, {60, 7, true}, &third, &made, &returns_at);
       }},
      {"destroy", [&] { return rig.device->DestroyQueue(rig.now, made, &returns_at); }},
      {"update",
       [&] {
         return rig.device->UpdateQueue(rig.now, qo, {51, 7, true}, &returns_at);
       }},
      {"mask", [&] { return rig.device->SetCuMask(rig.now, qo, mask, &returns_at); }},
      {"none of several", [&] { return rig.device->UpdateQueues(rig.now, {}, &returns_at); }},
      {"the end of a process",
       [&] {
         rig.device->DropProcess(rig.now, 52);
         returns_at = rig.now;
         return Status::kOk;
       }},
  };
  for (const auto& [name, change] : changes) {
    rig.Run(2'000'000);
    EXPECT_TRUE(rig.Stats(qw).mapped) << name;
    const DeviceStats before = rig.device->GetStats();
    EXPECT_EQ(change(), Status::kOk) << name;
    EXPECT_FALSE(rig.Stats(qw).mapped) << name;
    EXPECT_EQ(rig.Stats(qw).resident_workgroups, 0u) << name;
    const DeviceStats after = rig.device->GetStats();
    EXPECT_EQ(after.runlist_cycles, before.runlist_cycles + 1) << name;
    EXPECT_GT(after.saved_waves, before.saved_waves) << name;
    rig.Run(returns_at - rig.now);
    EXPECT_FALSE(rig.Stats(qw).mapped) << name << ": mapped when the ioctl returns";
  }
}

TEST(CycleRuleTest, EachCycleRereadsTheWriteIndexOfWhatItMaps) {
  TestRig rig{DeviceParams{}};
  TestSource on, off;
  const QueueId qon = rig.AddQueue(&on), qoff = rig.AddQueue(&off);
  rig.SetActive(qoff, false);
  rig.Idle();
  const std::uint32_t reads_on = on.rereads, reads_off = off.rereads;
  rig.SetActive(qon, true);
  rig.Idle();
  EXPECT_EQ(on.rereads, reads_on + 1);
  EXPECT_EQ(off.rereads, reads_off);
}

TEST(CycleRuleTest, EachXccSavesItsOwnWaves) {
  TestRig rig(Exact());
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  source.Submit({6, 2, 32, 0, 1'000'000});
  rig.Kick(id);
  rig.Run(100'000);
  rig.SetActive(id, false);
  constexpr std::uint64_t kBytes = 2 * 32 * 64 * 4;
  for (const std::uint32_t xcc : {0u, 1u, 2u, 3u}) {
    const std::uint64_t workgroups = xcc < 2 ? 2 : 1;
    EXPECT_EQ(rig.device->SavedIn(id, xcc).waves, 2 * workgroups) << xcc;
    EXPECT_EQ(rig.device->SavedIn(id, xcc).bytes, kBytes * workgroups) << xcc;
  }
  EXPECT_EQ(rig.device->SavedIn(id, 4).bytes, 0u);
  EXPECT_EQ(rig.Stats(id).saved_bytes, 6 * kBytes);
}

TEST(CycleRuleTest, ACuMaskOutlivesSuspensionsAndPriorities) {
  TestRig rig{DeviceParams{}};
  TestSource source;
  const QueueId id = rig.AddQueue(&source);
  rig.SetMask(id, {0x0000ffffu, 0, 0});  // CU 0 of every SE
  rig.Idle();
  rig.SetActive(id, false);
  rig.Idle();
  rig.SetActive(id, true, 15);
  rig.Idle();
  source.Submit({64'000, 4, 32, 0, 10'000});
  rig.Kick(id);
  rig.Run(200'000);
  const std::vector<CuLocation> cus = rig.device->ResidentCus(id);
  EXPECT_EQ(cus.size(), 16u);
  for (const CuLocation& cu : cus) EXPECT_EQ(cu.cu, 0u);
}

TEST(PacketRuleTest, EveryBarrierKindHoldsItsQueueUntilItsDependenciesAreMet) {
  for (const Packet::Kind kind :
       {Packet::Kind::kBarrierAnd, Packet::Kind::kBarrierOr, Packet::Kind::kBarrierValue}) {
    TestRig rig{DeviceParams{}};
    TestSource source;
    const QueueId id = rig.AddQueue(&source);
    source.dependencies_met = false;
    source.SubmitKind(kind);
    source.Submit({1, 1, 8, 0, 1'000}, false);
    rig.Kick(id);
    ASSERT_TRUE(rig.Idle());
    EXPECT_TRUE(source.done.empty());
    EXPECT_TRUE(rig.device->AnyBarrierBlocked());
    source.dependencies_met = true;
    rig.Kick(id);
    ASSERT_TRUE(rig.Idle());
    EXPECT_EQ(source.done.size(), 2u);
  }
}

}  // namespace
}  // namespace virtual_gpu

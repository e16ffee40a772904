// stress_test.cc: every workgroup of every dispatch exactly once, whatever is done to the queues.
//
// XSCHED_HSA_SEED=N runs one seed only; it is printed with every failure.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "profiles.h"
#include "random.h"
#include "test_source.h"

namespace virtual_gpu {
namespace {

class Stress {
 public:
  // `kernels` > 0: only so many different ones and at most two queues, so that kernels repeat and
  // are often alone (bulk.cc).
  Stress(std::uint64_t seed, const DeviceParams& params, std::uint64_t kernels)
      : random_(seed), rig_(params) {
    for (std::uint64_t i = 0; i < kernels; ++i) menu_.push_back(RandomKernel());
  }

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) Step();
    for (Entry& entry : queues_) {
      rig_.SetMask(entry.id, std::vector<std::uint32_t>(10, ~0u));
      rig_.SetActive(entry.id, true);
    }
    ASSERT_TRUE(rig_.Idle());
    for (const Entry& entry : queues_) {
      EXPECT_EQ(entry.source->done.size(), entry.source->submitted());
      EXPECT_EQ(rig_.Stats(entry.id).resident_workgroups, 0u);
    }
  }

 private:
  struct Entry {
    QueueId id = 0;
    std::unique_ptr<TestSource> source;
  };
  std::uint64_t Below(std::uint64_t n) { return random_.Bits() % n; }

  void Step() {
    if (queues_.size() < 2 || (menu_.empty() && queues_.size() < 30 && Below(60) == 0))
      return Create();
    Entry& entry = queues_[Below(queues_.size())];
    switch (Below(16)) {
      case 0:
        if (Below(8) == 0) Destroy(&entry);
        break;
      case 1:
        rig_.SetActive(entry.id, Below(3) != 0, static_cast<std::uint32_t>(Below(16)));
        break;
      case 2:
        rig_.SetMask(entry.id, Mask());
        break;
      case 3:
      case 4:
      case 5:
        Submit(&entry);
        break;
      default:
        rig_.Run(static_cast<TimeNs>(Below(300'000)));
    }
    // The device may not wake for ever: it either has an event ahead or nothing to do.
    EXPECT_GE(rig_.device->NextEvent(), rig_.now);
  }
  void Create() {
    Entry entry;
    entry.source = std::make_unique<TestSource>();
    TimeNs returns_at = 0;
    const QueueConfig config{Below(20), static_cast<std::uint32_t>(Below(16)), true};
    ASSERT_EQ(
        rig_.device->CreateQueue(rig_.now, config, entry.source.get(), &entry.id, &returns_at),
        Status::kOk);
    queues_.push_back(std::move(entry));
  }
  void Destroy(Entry* entry) {
    TimeNs returns_at = 0;
    ASSERT_EQ(rig_.device->DestroyQueue(rig_.now, entry->id, &returns_at), Status::kOk);
    *entry = std::move(queues_.back());
    queues_.pop_back();
  }
  std::vector<std::uint32_t> Mask() {
    std::vector<std::uint32_t> mask(10);
    for (std::uint32_t& word : mask) word = static_cast<std::uint32_t>(random_.Bits());
    return mask;
  }
  void Submit(Entry* entry) {
    if (Below(8) == 0) entry->source->SubmitKind(Packet::Kind::kBarrierAnd, Below(2));
    const KernelCost cost = menu_.empty() ? RandomKernel() : menu_[Below(menu_.size())];
    if (rig_.device->Occupancy(cost) == 0) return;  // would rightly wait for ever
    entry->source->Submit(cost, Below(4) != 0);
    rig_.Kick(entry->id);
  }
  KernelCost RandomKernel() {
    KernelCost cost;
    cost.workgroups = 1 + Below(Below(4) ? 200 : 40'000);
    cost.waves = static_cast<std::uint32_t>(1 + Below(8));
    cost.vgprs = static_cast<std::uint32_t>(8 + Below(200));
    cost.lds_bytes = Below(3) ? 0 : static_cast<std::uint32_t>(Below(65'000));
    cost.workgroup_ns = static_cast<TimeNs>(Below(Below(5) ? 8'000 : 400'000));
    cost.names_cu = Below(6) == 0;
    return cost;
  }

  Random random_;
  TestRig rig_;
  std::vector<Entry> queues_;
  std::vector<KernelCost> menu_;
};

void RunSeeds(const DeviceParams& params, int steps, std::uint64_t kernels = 0) {
  const char* only = std::getenv("XSCHED_HSA_SEED");
  const std::uint64_t first = only ? std::strtoull(only, nullptr, 0) : 1;
  for (std::uint64_t seed = first; seed < first + (only ? 1 : 4); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    DeviceParams seeded = params;
    seeded.seed = seed;
    Stress(seed, seeded, kernels).Run(steps);
  }
}

TEST(StressTest, CountsEveryWorkgroupOnceWithBundles) {
  RunSeeds(FindProfile("mi308x")->params, 3'000);
}
TEST(StressTest, CountsEveryWorkgroupOnceWithFineGrain) {
  DeviceParams params = FindProfile("mi308x")->params;
  params.grain_ns = 1'000;
  RunSeeds(params, 2'000);
}
TEST(StressTest, CountsEveryWorkgroupOnceExactly) {
  DeviceParams params = FindProfile("mi308x")->params;
  params.grain_ns = 0;
  RunSeeds(params, 600);
}
TEST(StressTest, CountsEveryWorkgroupOnceOnOneXcc) {
  RunSeeds(FindProfile("mi100")->params, 2'000);
}
TEST(StressTest, CountsEveryWorkgroupOnceWithUnevenSes) {
  RunSeeds(FindProfile("mi300x")->params, 1'500);
}
TEST(StressTest, CountsEveryWorkgroupOnceWithoutHardwareScheduler) {
  DeviceParams params = FindProfile("mi308x")->params;
  params.hardware_scheduler = false;
  RunSeeds(params, 2'000);
}
TEST(StressTest, CountsEveryWorkgroupOnceWithoutCwsr) {
  DeviceParams params = FindProfile("mi308x")->params;
  params.cwsr = false;
  RunSeeds(params, 1'000);
}

TEST(StressTest, CountsEveryWorkgroupOnceWhenKernelsRepeat) {
  RunSeeds(FindProfile("mi308x")->params, 10'000, 3);
}
TEST(StressTest, CountsEveryWorkgroupOnceWhenKernelsRepeatWithoutHardwareScheduler) {
  DeviceParams params = FindProfile("mi308x")->params;
  params.hardware_scheduler = false;
  RunSeeds(params, 10'000, 3);
}
TEST(StressTest, CountsEveryWorkgroupOnceWhenKernelsRepeatWithoutCwsr) {
  DeviceParams params = FindProfile("mi308x")->params;
  params.cwsr = false;
  RunSeeds(params, 5'000, 3);
}

TEST(StressTest, CountsEveryWorkgroupOnceWhereQueuesBeginAtDifferentXccs) {
  DeviceParams params = FindProfile("mi308x")->params;
  params.xcc_start_rotates = true;
  RunSeeds(params, 1'000);
  RunSeeds(params, 5'000, 3);
}
TEST(StressTest, CountsEveryWorkgroupOnceWithPriorityInsidePipes) {
  DeviceParams params = FindProfile("mi308x")->params;
  params.queue_priority_effective = true;
  RunSeeds(params, 2'000);
}

TEST(StressTest, IsDeterministic) {
  std::uint64_t events[2] = {};
  TimeNs ends[2] = {};
  for (int i = 0; i < 2; ++i) {
    TestRig rig(FindProfile("mi308x")->params);
    TestSource a, b;
    const QueueId qa = rig.AddQueue(&a), qb = rig.AddQueue(&b);
    a.Submit({100'000, 1, 24, 0, 5'000});
    b.Submit({10'000, 4, 32, 1185, 7'000});
    rig.Kick(qa);
    rig.Kick(qb);
    rig.Idle();
    events[i] = rig.device->GetStats().events;
    ends[i] = rig.now;
  }
  EXPECT_EQ(events[0], events[1]);
  EXPECT_EQ(ends[0], ends[1]);
}

// Printed, not asserted: it depends on the machine.
TEST(StressTest, PrintsItsSpeed) {
  TestRig rig(FindProfile("mi308x")->params);
  TestSource a, b;
  const QueueId qa = rig.AddQueue(&a), qb = rig.AddQueue(&b);
  a.Submit({20'000'000, 1, 24, 0, 5'000});
  b.Submit({2'000'000, 4, 32, 0, 7'000});
  const auto begin = std::chrono::steady_clock::now();
  rig.Kick(qa);
  rig.Kick(qb);
  rig.Idle();
  const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const auto events = static_cast<double>(rig.device->GetStats().events);
  std::printf(
      "two contending queues: %.1f M events/s, %.3f s for %.3f simulated, 22 M workgroups\n",
      events / s / 1e6, s, static_cast<double>(rig.now) / 1e9);
}

}  // namespace
}  // namespace virtual_gpu

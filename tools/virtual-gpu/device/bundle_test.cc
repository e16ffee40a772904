#include "bundle.h"

#include <gtest/gtest.h>

namespace virtual_gpu {
namespace {

TEST(BundleTest, SplitKeepsEveryWorkgroupExactlyOnce) {
  DeviceParams params;
  const Bundler bundler(params);
  Random random(7);
  double left[64];
  for (int i = 0; i < 20'000; ++i) {
    Resident resident;
    resident.slots = static_cast<std::uint16_t>(1 + random.Bits() % 32);
    resident.rounds = 1 + random.Bits() % 60;
    resident.has_first = random.Bits() & 1;
    resident.fresh = random.Bits() & 1;
    const double duration = 5000.0 * resident.rounds;
    const double v = duration * (random.Uniform() + 1) / 2;
    const SplitCounts counts = bundler.Split(resident, v, duration, 5000, v / 5000, &random, left);
    EXPECT_EQ(counts.finished + counts.running + counts.unstarted,
              std::uint64_t{resident.slots} * resident.rounds);
    EXPECT_EQ(counts.running, resident.slots);
    EXPECT_LE(counts.first_finished, resident.has_first);
    for (std::uint32_t slot = 0; slot < counts.running; ++slot) {
      EXPECT_GE(left[slot], 0);
      EXPECT_LE(left[slot], 5000 * 1.3);
    }
  }
}

TEST(BundleTest, SplitConservesWorkOnAverage) {
  DeviceParams params;
  const Bundler bundler(params);
  Random random(3);
  double left[64], remaining = 0, expected = 0;
  for (int i = 0; i < 5'000; ++i) {
    Resident resident;
    resident.slots = 16;
    resident.rounds = 40;
    const double duration = 10'000.0 * resident.rounds;
    const double v = duration * (random.Uniform() + 1) / 2;
    const SplitCounts counts = bundler.Split(resident, v, duration, 10'000, 50, &random, left);
    remaining += static_cast<double>(counts.unstarted) * 10'000;
    for (std::uint32_t slot = 0; slot < counts.running; ++slot) remaining += left[slot];
    expected += (duration - v) * resident.slots;
  }
  EXPECT_NEAR(remaining / expected, 1.0, 0.01);
}

TEST(BundleTest, IsExactWithoutGrainAndForLongWorkgroups) {
  DeviceParams params;
  const ShapeQuestion question{1'000'000, 32, 1.0 / 20, 1.0 / 640, false, 1};
  const auto shape = [&](double workgroup_ns, std::uint32_t occupancy) {
    const Bundler bundler(params);
    return bundler.Choose(bundler.Plan(workgroup_ns, occupancy), question);
  };
  EXPECT_EQ(shape(5'000, 32).slots, 32u);
  EXPECT_GT(shape(5'000, 32).rounds, 10u);
  EXPECT_EQ(shape(2'000'000, 1).slots * shape(2'000'000, 1).rounds, 1u);
  params.grain_ns = 0;
  EXPECT_EQ(shape(5'000, 32).slots * shape(5'000, 32).rounds, 1u);
}

TEST(BundleTest, ChoosesSingleRoundsAtTheEndOfADispatch) {
  const DeviceParams params;
  const Bundler bundler(params);
  const ShapePlan plan = bundler.Plan(5'000, 32);
  const Shape shape = bundler.Choose(plan, {700, 32, 1.0 / 20, 1.0 / 640, false, 1});
  EXPECT_EQ(shape.rounds, 1u);
  const Shape few = bundler.Choose(plan, {30, 32, 1.0 / 20, 1.0 / 640, false, 1});
  EXPECT_EQ(few.slots, 1u);  // spread over the CUs
  EXPECT_TRUE(few.last_round);
}

TEST(BundleTest, BudgetCoarsensOnlyWhenEventsNeverStop) {
  EventBudget budget(true);
  TimeNs now = 0;
  for (int i = 0; i < 400'000; ++i) budget.Count(now += 50);  // 20 events a microsecond, 20 ms
  EXPECT_EQ(budget.strain(), 1);
  for (int i = 0; i < 4'000'000; ++i) budget.Count(now += 50);
  EXPECT_GT(budget.strain(), 2);
  for (int i = 0; i < 4'000'000; ++i) budget.Count(now += 2'000);
  EXPECT_EQ(budget.strain(), 1);
}

}  // namespace
}  // namespace virtual_gpu

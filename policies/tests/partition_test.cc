// partition_test.cc: who gets which compute units.
#include <gtest/gtest.h>

#include <set>

#include "policies/registry.h"

namespace xsched_hsa {
namespace {

struct Tenant {
  std::uint32_t share_permille, weight;
};

std::vector<QueueIntent> Divide(const std::vector<Tenant>& tenants, std::uint32_t units,
                                std::uint32_t step) {
  std::vector<QueueView> views(tenants.size());
  for (std::size_t i = 0; i < tenants.size(); ++i) {
    views[i].session = static_cast<std::uint32_t>(i) + 1;
    views[i].share_permille = tenants[i].share_permille;
    views[i].weight = tenants[i].weight;
  }
  Snapshot snapshot;
  snapshot.now_us = 1;
  snapshot.compute_units = units;
  snapshot.unit_step = step;
  snapshot.queues = views;
  Answer answer;
  MakePolicy("cu-partition", {})->Decide(snapshot, &answer);
  std::vector<QueueIntent> intents;
  for (const QueueAnswer& own : answer.queues) intents.push_back(own.intent);
  return intents;
}

TEST(CuPartitionTest, PartsAreDisjointWholeRowsAndUseTheDevice) {
  for (const auto& tenants : std::vector<std::vector<Tenant>>{{{0, 100}, {0, 100}},
                                                              {{0, 300}, {0, 100}},
                                                              {{250, 100}, {0, 100}, {0, 100}},
                                                              {{600, 100}, {600, 100}},
                                                              {{1, 100}, {0, 100}, {0, 1}},
                                                              {{0, 1}, {0, 10'000}}}) {
    const auto intents = Divide(tenants, 80, 16);
    std::set<std::uint32_t> used;
    for (const QueueIntent& intent : intents) {
      EXPECT_GT(intent.standing_units, 0u);
      EXPECT_EQ(intent.standing_units % 16, 0u);
      EXPECT_EQ(intent.standing_first % 16, 0u);
      EXPECT_LE(intent.standing_first + intent.standing_units, 80u);
      EXPECT_TRUE(intent.preemption.squeeze);
      EXPECT_FALSE(intent.armed || intent.hold || intent.raise);
      for (std::uint32_t unit = 0; unit < intent.standing_units; ++unit) {
        EXPECT_TRUE(used.insert(intent.standing_first + unit).second) << "given twice";
      }
    }
  }
}

TEST(CuPartitionTest, SharesAndWeightsAreKept) {
  auto intents = Divide({{250, 100}, {0, 300}, {0, 100}}, 320, 8);
  EXPECT_EQ(intents[0].standing_units, 80u);
  EXPECT_EQ(intents[1].standing_units,
            184u);  // 30 rows by weight: 22.5, 7.5; the odd one to the first
  EXPECT_EQ(intents[2].standing_units, 56u);
}

TEST(CuPartitionTest, MoreProgramsThanRowsShareThem) {
  const auto intents = Divide(std::vector<Tenant>(7, {0, 100}), 80, 16);
  EXPECT_EQ(intents[0].standing_first, intents[5].standing_first);
  EXPECT_NE(intents[0].standing_first, intents[1].standing_first);
}

TEST(CuPartitionTest, OneAloneOrAnUnknownDeviceIsLeftWhole) {
  EXPECT_EQ(Divide({{250, 100}}, 80, 16)[0], QueueIntent{});
  EXPECT_EQ(Divide({{250, 100}, {0, 100}}, 0, 0)[0], QueueIntent{});
}

}  // namespace
}  // namespace xsched_hsa

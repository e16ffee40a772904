#include "kernel_times.h"

#include <gtest/gtest.h>
#include <hsa/hsa.h>

#include <cstring>
#include <set>

namespace xsched_hsa {
namespace {

KernelKey KeyOf(KernelTimes* times, std::uint64_t kernel, std::uint32_t grid,
                KernelContext* context, int type = HSA_PACKET_TYPE_KERNEL_DISPATCH) {
  hsa_kernel_dispatch_packet_t packet{};
  packet.header = static_cast<std::uint16_t>(type);
  packet.kernel_object = kernel;
  packet.grid_size_x = grid;
  packet.grid_size_y = packet.grid_size_z = 1;
  packet.workgroup_size_x = 64;
  unsigned char bytes[64];
  std::memcpy(bytes, &packet, sizeof(bytes));
  return times->KeyOf(bytes, context);
}

KernelKey KeyAlone(KernelTimes* times, std::uint64_t kernel, std::uint32_t grid = 64) {
  KernelContext fresh;
  return KeyOf(times, kernel, grid, &fresh);
}

TEST(KernelTimesTest, LearnsAndForgetsSlowly) {
  KernelTimes times;
  const KernelKey key = KeyAlone(&times, 0x7000);
  EXPECT_EQ(times.PredictNs(key), KernelTimes::kUnknownNs);
  times.Observe(key, 1'000'000);
  EXPECT_EQ(times.PredictNs(key), 1'000'000u);
  times.Observe(key, 2'000'000);
  EXPECT_EQ(times.PredictNs(key), 1'250'000u);
}

TEST(KernelTimesTest, KnowsHowFarItsPredictionsWereOff) {
  KernelTimes times;
  const KernelKey key = KeyAlone(&times, 0x7000);
  EXPECT_FALSE(times.EstimateOf(key).seen);
  EXPECT_EQ(times.EstimateOf(key).spread_ns, times.EstimateOf(key).ns);
  times.Observe(key, 1'000'000);
  EXPECT_TRUE(times.EstimateOf(key).seen);
  EXPECT_EQ(times.EstimateOf(key).spread_ns, 1'000'000u) << "one says nothing of the next";
  for (int i = 0; i < 15; ++i) times.Observe(key, 1'000'000);
  EXPECT_EQ(times.EstimateOf(key).ns, 1'000'000u);
  EXPECT_LT(times.EstimateOf(key).spread_ns, 20'000u);
  for (int i = 0; i < 16; ++i) times.Observe(key, i % 2 == 0 ? 200'000 : 1'800'000);
  EXPECT_GT(times.EstimateOf(key).spread_ns, 500'000u) << "now they differ";
  const KernelKey other = KeyAlone(&times, 0x8000);
  times.Observe(other, 60'000'000'000);
  EXPECT_EQ(times.EstimateOf(other).ns, UINT32_MAX) << "cut, not wrapped";
  KernelContext context;
  const KernelKey barrier = KeyOf(&times, 0, 0, &context, HSA_PACKET_TYPE_BARRIER_AND);
  EXPECT_EQ(times.EstimateOf(barrier).spread_ns, 0u);
}

TEST(KernelTimesTest, TellsKernelsAndGridsApart) {
  KernelTimes times;
  const auto a = KeyAlone(&times, 0x7000, 64).itself;
  const auto b = KeyAlone(&times, 0x7000, 128).itself;
  const auto c = KeyAlone(&times, 0x7040, 64).itself;
  EXPECT_EQ((std::set<std::uint16_t>{a, b, c}.size()), 3u);
  EXPECT_EQ(a, KeyAlone(&times, 0x7000, 64).itself);
}

// One kernel, one grid, but 1 ms after A and 18 ms after B, as layers of a model that share a
// kernel.
TEST(KernelTimesTest, TellsOccurrencesApartByWhatRanBefore) {
  KernelTimes times;
  for (int round = 0; round < 4; ++round) {
    KernelContext context;
    KeyOf(&times, 0xA, 64, &context);
    times.Observe(KeyOf(&times, 0x7000, 64, &context), 1'000'000);
    KeyOf(&times, 0xB, 64, &context);
    times.Observe(KeyOf(&times, 0x7000, 64, &context), 18'000'000);
  }
  KernelContext context;
  KeyOf(&times, 0xA, 64, &context);
  EXPECT_EQ(times.PredictNs(KeyOf(&times, 0x7000, 64, &context)), 1'000'000u);
  KeyOf(&times, 0xB, 64, &context);
  EXPECT_EQ(times.PredictNs(KeyOf(&times, 0x7000, 64, &context)), 18'000'000u);
}

TEST(KernelTimesTest, FallsBackToTheKernelItselfInANewContext) {
  KernelTimes times;
  times.Observe(KeyAlone(&times, 0x7000), 3'000'000);
  KernelContext context;
  KeyOf(&times, 0xC, 64, &context);
  EXPECT_EQ(times.PredictNs(KeyOf(&times, 0x7000, 64, &context)), 3'000'000u);
}

TEST(KernelTimesTest, BarriersAreShortAndNeverLearnt) {
  KernelTimes times;
  KernelContext context;
  const KernelKey key = KeyOf(&times, 0, 0, &context, HSA_PACKET_TYPE_BARRIER_AND);
  times.Observe(key, 5'000'000);
  EXPECT_EQ(times.PredictNs(key), KernelTimes::kBarrierNs);
  EXPECT_EQ(context.last, 0u);
}

TEST(KernelTimesTest, StaysUsableWhenFull) {
  KernelTimes times;
  KernelContext context;
  for (std::uint64_t kernel = 1; kernel < std::uint64_t{10} * KernelTimes::kEntries; ++kernel) {
    const KernelKey key = KeyOf(&times, kernel * 64, 64, &context);
    ASSERT_LT(key.itself, KernelTimes::kEntries);
    ASSERT_LT(key.in_context, KernelTimes::kEntries);
    ASSERT_NE(key.itself, 0);
    times.Observe(key, kernel);
  }
}

}  // namespace
}  // namespace xsched_hsa

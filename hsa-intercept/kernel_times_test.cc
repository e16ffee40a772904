#include "kernel_times.h"

#include <gtest/gtest.h>
#include <hsa/hsa.h>

#include <cstring>
#include <set>

namespace xsched_hsa {
namespace {

std::uint16_t KeyOf(KernelTimes* times, std::uint64_t kernel, std::uint32_t grid, int type) {
  hsa_kernel_dispatch_packet_t packet{};
  packet.header = static_cast<std::uint16_t>(type);
  packet.kernel_object = kernel;
  packet.grid_size_x = grid;
  packet.grid_size_y = packet.grid_size_z = 1;
  packet.workgroup_size_x = 64;
  unsigned char bytes[64];
  std::memcpy(bytes, &packet, sizeof(bytes));
  return times->KeyOf(bytes);
}

TEST(KernelTimesTest, LearnsAndForgetsSlowly) {
  KernelTimes times;
  const auto key = KeyOf(&times, 0x7000, 64, HSA_PACKET_TYPE_KERNEL_DISPATCH);
  EXPECT_EQ(times.PredictNs(key), KernelTimes::kUnknownNs);
  times.Observe(key, 1'000'000);
  EXPECT_EQ(times.PredictNs(key), 1'000'000u);
  times.Observe(key, 2'000'000);
  EXPECT_EQ(times.PredictNs(key), 1'250'000u);
}

TEST(KernelTimesTest, TellsKernelsAndGridsApart) {
  KernelTimes times;
  const auto a = KeyOf(&times, 0x7000, 64, HSA_PACKET_TYPE_KERNEL_DISPATCH);
  const auto b = KeyOf(&times, 0x7000, 128, HSA_PACKET_TYPE_KERNEL_DISPATCH);
  const auto c = KeyOf(&times, 0x7040, 64, HSA_PACKET_TYPE_KERNEL_DISPATCH);
  EXPECT_EQ((std::set<std::uint16_t>{a, b, c}.size()), 3u);
  EXPECT_EQ(a, KeyOf(&times, 0x7000, 64, HSA_PACKET_TYPE_KERNEL_DISPATCH));
}

TEST(KernelTimesTest, BarriersAreShortAndNeverLearnt) {
  KernelTimes times;
  const auto key = KeyOf(&times, 0, 0, HSA_PACKET_TYPE_BARRIER_AND);
  times.Observe(key, 5'000'000);
  EXPECT_EQ(times.PredictNs(key), KernelTimes::kBarrierNs);
}

TEST(KernelTimesTest, StaysUsableWhenFull) {
  KernelTimes times;
  for (std::uint64_t kernel = 1; kernel < 10 * KernelTimes::kEntries; ++kernel) {
    const auto key = KeyOf(&times, kernel * 64, 64, HSA_PACKET_TYPE_KERNEL_DISPATCH);
    ASSERT_LT(key, KernelTimes::kEntries);
    times.Observe(key, kernel);
  }
}

}  // namespace
}  // namespace xsched_hsa

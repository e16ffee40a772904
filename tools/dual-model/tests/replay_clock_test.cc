#include "replay_clock.h"

#include <gtest/gtest.h>

#include <thread>

#include "virtual-gpu/clock_page.h"

namespace dual_model {
namespace {

constexpr std::int64_t kMs = 1'000'000;

TEST(ReplayClockTest, WithoutAVirtualGpuItIsTheHostsClock) {
  const ReplayClock clock(1);
  const std::int64_t now_ns = clock.NowNs();
  EXPECT_TRUE(clock.WaitUntil(now_ns + kMs));
  EXPECT_GE(MonotonicNs(), now_ns + kMs);
}

TEST(ReplayClockTest, WaitsForAClockThatStandsForAWhile) {
  virtual_gpu::ClockPage page;
  page.start_raw_ns = virtual_gpu::RawClockNs();
  page.limit_ns = kMs;
  const ReplayClock clock(4, &page);
  std::thread device([&page] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    page.limit_ns = virtual_gpu::kNoLimitNs;
  });
  EXPECT_TRUE(clock.WaitUntil(10 * kMs));
  EXPECT_GE(clock.NowNs(), 10 * kMs);
  device.join();
}

// A killed device process leaves its page behind, standing.
TEST(ReplayClockTest, GivesUpOnAClockThatNobodyMovesOn) {
  virtual_gpu::ClockPage page;
  page.start_raw_ns = virtual_gpu::RawClockNs();
  page.limit_ns = kMs;
  const ReplayClock clock(4, &page);
  EXPECT_FALSE(clock.WaitUntil(1000 * kMs));
}

}  // namespace
}  // namespace dual_model

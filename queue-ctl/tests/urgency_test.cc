// urgency_test.cc: the urgency word between raising layers and the lowering controller.
#include "urgency.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "core.h"
#include "fake_layer.h"
#include "gpu_key.h"
#include "manual_clock.h"

namespace xsched_hsa {
namespace {

using testing::FakeLayer;
using testing::kGpuA;
using testing::ManualClock;

class UrgencyTest : public ::testing::Test {
 protected:
  UrgencyTest() { Core::InitProcessPage(&process_, 1, 0); }

  UserPage user_{};
  ProcessPage process_{};
  ManualClock clock_{1'000'000};
  FakeLayer layer_{&process_, &user_, [this] { return clock_.NowUs(); }};
  GpuUrgency& gpu_ = *ClaimGpu(user_, kGpuA);

  SettleResult Settle(std::uint32_t level) {
    return SettleUrgency(
        gpu_, [level] { return level; }, clock_);
  }
};

TEST_F(UrgencyTest, AcknowledgesARaiseAndLeasesIt) {
  layer_.MakeQueue(0, 1, kPriorityHigh);
  layer_.RaiseWord(0);
  const SettleResult result = Settle(16);
  EXPECT_TRUE(result.acked);
  EXPECT_FALSE(result.lowered);
  EXPECT_EQ(result.level, 16u);
  EXPECT_EQ(gpu_.acked_epoch.load(), EpochOf(gpu_.word.load()));
  EXPECT_EQ(gpu_.lease_until_us.load(), clock_.NowUs() + kLeaseUs);
}

TEST_F(UrgencyTest, LowersWithANewEpochThatIsAcknowledged) {
  gpu_.word.store(UrgencyWord(7, 16));
  const SettleResult result = Settle(0);
  EXPECT_TRUE(result.lowered);
  EXPECT_EQ(gpu_.word.load(), UrgencyWord(8, 0));
  EXPECT_EQ(gpu_.acked_epoch.load(), 8u);
}

TEST_F(UrgencyTest, RaisesForARelay) {
  EXPECT_TRUE(Settle(9).raised);
  EXPECT_EQ(LevelOf(gpu_.word.load()), 9u);
}

TEST_F(UrgencyTest, LeavesTheLeaseAloneAtLevelZero) {
  gpu_.lease_until_us.store(5);
  Settle(0);
  EXPECT_EQ(gpu_.lease_until_us.load(), 5u);
}

// The window that the header's order rule is about: a queue becomes active after the controller has
// looked at it and before the controller's CAS.
TEST_F(UrgencyTest, ALoweringNeverSwallowsARaiseInBetween) {
  layer_.MakeQueue(0, 1, kPriorityHigh);
  layer_.Slot(0).mode.store(kModeRaise);
  gpu_.word.store(UrgencyWord(3, 16));
  bool raised = false;
  const SettleResult result = SettleUrgency(
      gpu_,
      [&] {
        const std::uint32_t level = layer_.Slot(0).active.load() != 0 ? 16 : 0;
        if (!raised) {
          raised = true;
          layer_.BecomeActive(0);
        }
        return level;
      },
      clock_);
  EXPECT_EQ(result.level, 16u);
  EXPECT_FALSE(result.lowered);
  EXPECT_EQ(LevelOf(gpu_.word.load()), 16u);
  EXPECT_GT(gpu_.lease_until_us.load(), clock_.NowUs());
}

TEST_F(UrgencyTest, ALayerThatRaisesWithoutEndDoesNotKeepTheController) {
  layer_.MakeQueue(0, 1, kPriorityHigh);
  const SettleResult result = SettleUrgency(
      gpu_,
      [&] {
        layer_.RaiseWord(0);
        return 0u;
      },
      clock_);
  EXPECT_LE(result.rounds, kSettleRoundsMax + 1);
}

TEST_F(UrgencyTest, EpochsWrap) {
  gpu_.word.store(UrgencyWord(0xffffffff, 4));
  Settle(0);
  EXPECT_EQ(gpu_.word.load(), UrgencyWord(0, 0));
  EXPECT_EQ(gpu_.acked_epoch.load(), 0u);
}

// Without a controller a raise is worth one lease, however often it is repeated.
TEST_F(UrgencyTest, UnansweredRaisesHoldForOneLeaseAtMost) {
  layer_.MakeQueue(0, 1, kPriorityHigh);
  for (int i = 0; i < 10; ++i) {
    layer_.RaiseWord(0);
    clock_.Advance(10'000);
  }
  EXPECT_EQ(gpu_.lease_until_us.load(), 1'000'000 + kLeaseUs);
}

TEST_F(UrgencyTest, ClaimsEachGpuOnceAndRefusesAtTheEnd) {
  for (std::uint32_t i = 0; i < kGpusMax; ++i) EXPECT_NE(ClaimGpu(user_, kGpuA + i), nullptr);
  EXPECT_EQ(ClaimGpu(user_, kGpuA + kGpusMax), nullptr);
  EXPECT_EQ(ClaimGpu(user_, kGpuA), &user_.gpus[0]);
}

TEST_F(UrgencyTest, ImplausibleKeysAreNotClaimed) {
  EXPECT_EQ(ClaimGpu(user_, 0), nullptr);
  EXPECT_EQ(ClaimGpu(user_, ~GpuKey{0}), nullptr);
}

TEST(GpuKeyTest, ReadsAsAPciAddress) {
  EXPECT_EQ(FormatGpuKey(MakeGpuKey(0, 3, 0, 0)), "0000:03:00.0");
  EXPECT_EQ(FormatGpuKey(MakeGpuKey(0x10000, 0xff, 0x1f, 7)), "10000:ff:1f.7");
  EXPECT_EQ(FormatGpuKey(0), "unknown");
  EXPECT_EQ(FormatGpuKey(~GpuKey{0}), "unknown");
}

// Real threads: layers become active and idle at will; whenever all is quiet the word must agree.
TEST(UrgencyRaceTest, WordFollowsActivityUnderConcurrentRaises) {
  UserPage user{};
  ProcessPage process{};
  Core::InitProcessPage(&process, 1, 0);
  SteadyClock clock;
  FakeLayer layer(&process, &user, [&clock] { return clock.NowUs(); });
  GpuUrgency& gpu = *ClaimGpu(user, kGpuA);
  constexpr int kLayers = 2;
  constexpr int kTurns = 20'000;
  for (int i = 0; i < kLayers; ++i) {
    layer.MakeQueue(i, i + 1, 5 + i);
    layer.Slot(i).mode.store(kModeRaise);
  }
  const auto level_now = [&] {
    std::uint32_t level = 0;
    for (int i = 0; i < kLayers; ++i) {
      if (layer.Slot(i).active.load() != 0) level = static_cast<std::uint32_t>(6 + i);
    }
    return level;
  };
  std::atomic<int> running = kLayers, swallowed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kLayers; ++i) {
    threads.emplace_back([&, i] {
      for (int turn = 0; turn < kTurns; ++turn) {
        layer.BecomeActive(i);
        // While this queue is active no lowering may go below it.
        for (int look = 0; look < 3; ++look) {
          if (LevelOf(gpu.word.load()) < static_cast<std::uint32_t>(6 + i)) ++swallowed;
        }
        layer.BecomeIdle(i);
      }
      --running;
    });
  }
  while (running != 0) SettleUrgency(gpu, level_now, clock);
  for (std::thread& thread : threads) thread.join();
  SettleUrgency(gpu, level_now, clock);
  EXPECT_EQ(swallowed, 0);
  EXPECT_EQ(LevelOf(gpu.word.load()), 0u);
  EXPECT_EQ(gpu.acked_epoch.load(), EpochOf(gpu.word.load()));
}

}  // namespace
}  // namespace xsched_hsa

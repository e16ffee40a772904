#include "urgency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "clock.h"

namespace xsched_hsa {
namespace {

struct Actor {
  Actor(GpuUrgency* urgency, std::int32_t priority) {
    queue.urgency = urgency;
    queue.requested_priority = priority;
    slot.priority = -1;
  }
  ManagedQueue queue;
  QueueSlot slot{};
};

TEST(UrgencyTest, WhoIsClosedSaysSoInItsProgramsBit) {
  auto user = std::make_unique<UserPage>();
  auto page = std::make_unique<ProcessPage>();
  page->session_bit = 70 + kSessionBits;  // a damaged page
  Actor high(nullptr, 15), low(nullptr, 0);
  for (Actor* actor : {&high, &low}) {
    actor->queue.gpu_key = 7;
    JoinUrgency(&actor->queue, user.get(), *page);
  }
  GpuUrgency& gpu = user->gpus[0];
  std::uint64_t until_us = 0;
  EXPECT_FALSE(ClosesNow(low.queue, low.slot, NowUs(), &until_us));
  EXPECT_EQ(gpu.closed[1], 0u);
  RaiseIfInactive(&high.queue, &high.slot);
  EXPECT_TRUE(ClosesNow(low.queue, low.slot, NowUs(), &until_us));
  EXPECT_EQ(gpu.closed[1], std::uint64_t{1} << 6);
  EXPECT_FALSE(ClosesNow(high.queue, high.slot, NowUs(), &until_us));
}

TEST(UrgencyTest, RaisesToItsOwnLevelWithANewEpoch) {
  GpuUrgency urgency{};
  Actor high(&urgency, 15);
  EXPECT_TRUE(RaiseIfInactive(&high.queue, &high.slot));
  EXPECT_EQ(LevelOf(urgency.word), 16u);
  EXPECT_EQ(EpochOf(urgency.word), 1u);
  EXPECT_FALSE(RaiseIfInactive(&high.queue, &high.slot));
  EXPECT_EQ(EpochOf(urgency.word), 1u);
}

TEST(UrgencyTest, NeverLowersAMoreUrgentLevel) {
  GpuUrgency urgency{};
  Actor high(&urgency, 15), middle(&urgency, 9);
  RaiseIfInactive(&high.queue, &high.slot);
  RaiseIfInactive(&middle.queue, &middle.slot);
  EXPECT_EQ(LevelOf(urgency.word), 16u);
  EXPECT_EQ(EpochOf(urgency.word), 2u);
}

TEST(UrgencyTest, TheControllersPriorityCountsBeforeTheProgramsOwn) {
  GpuUrgency urgency{};
  Actor queue(&urgency, 15);
  queue.slot.priority = 3;
  EXPECT_EQ(LevelOfQueue(queue.queue, queue.slot), 4u);
  queue.slot.priority = 77;  // garbage is as good as nothing
  EXPECT_EQ(LevelOfQueue(queue.queue, queue.slot), 16u);
}

// A controller that stopped answering can hold nobody for longer than one lease, however often an
// urgent queue becomes active.
TEST(UrgencyTest, DoesNotExtendTheLeaseWhileTheControllerIsSilent) {
  GpuUrgency urgency{};
  Actor high(&urgency, 15), low(&urgency, 0);
  RaiseIfInactive(&high.queue, &high.slot);  // epoch 0 was acknowledged from the start
  const std::uint64_t first = urgency.lease_until_us;
  EXPECT_GT(first, NowUs());
  high.slot.active = 0;
  const timespec pause{0, 2'000'000};
  nanosleep(&pause, nullptr);
  RaiseIfInactive(&high.queue, &high.slot);
  EXPECT_EQ(urgency.lease_until_us, first);
  std::uint64_t until_us = 0;
  EXPECT_FALSE(IsClosed(low.queue, low.slot, first, &until_us));
  urgency.acked_epoch = EpochOf(urgency.word);
  high.slot.active = 0;
  RaiseIfInactive(&high.queue, &high.slot);
  EXPECT_GT(urgency.lease_until_us, first);
}

TEST(UrgencyTest, FindsOrMakesAGpusEntryUntilTheTableIsFull) {
  auto page = std::make_unique<UserPage>();
  GpuUrgency* first = FindUrgency(page.get(), 7);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(FindUrgency(page.get(), 7), first);
  for (GpuKey key = 100; key < 100 + kGpusMax - 1; ++key)
    EXPECT_NE(FindUrgency(page.get(), key), nullptr);
  EXPECT_EQ(FindUrgency(page.get(), 999), nullptr);
  EXPECT_EQ(FindUrgency(page.get(), 7), first);
}

// Raises race with a controller that lowers by the protocol of shared_page.h. Whenever a queue is
// active and nobody moves, the level must be at least its own.
TEST(UrgencyTest, NoRaiseIsLostAgainstAConcurrentLowering) {
  GpuUrgency urgency{};
  std::vector<std::unique_ptr<Actor>> actors;
  for (int i = 0; i < 3; ++i) actors.push_back(std::make_unique<Actor>(&urgency, 5 + i * 4));
  std::atomic<bool> stop{false};
  std::thread controller([&] {
    while (!stop) {
      std::uint64_t word = urgency.word.load();
      std::uint32_t level = 0;
      for (const auto& actor : actors) {
        if (actor->slot.active.load() != 0)
          level = std::max(level, LevelOfQueue(actor->queue, actor->slot));
      }
      urgency.acked_epoch = EpochOf(word);
      if (level < LevelOf(word)) {
        urgency.word.compare_exchange_strong(word, UrgencyWord(EpochOf(word) + 1, level));
      }
    }
  });
  std::atomic<int> violations{0};
  std::vector<std::thread> threads;
  for (const auto& actor : actors) {
    threads.emplace_back([&, a = actor.get()] {
      for (int i = 0; i < 20'000; ++i) {
        RaiseIfInactive(&a->queue, &a->slot);
        if (LevelOf(urgency.word.load()) < LevelOfQueue(a->queue, a->slot)) ++violations;
        a->slot.active.store(0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  stop = true;
  controller.join();
  EXPECT_EQ(violations, 0);
}

}  // namespace
}  // namespace xsched_hsa

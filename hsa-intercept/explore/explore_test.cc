// Every interleaving of small scenarios, up to a number of preemptions: producers, the pump, a packet
// processor and a controller over one queue. What has to hold is in each scenario's check; how many
// interleavings were tried is printed. The order rules are those of docs/life-of-a-packet.md.
#include <gtest/gtest.h>

#include <vector>

#include "explored_sources.h"

namespace xsched_hsa {
namespace {

using explore::Explorer;

constexpr std::uint32_t kUrgent = kPriorityHigh + 1;
constexpr std::uint64_t kSoonNs = 1'000'000;  // less than any lease: nobody had to wait for one

std::uint64_t VirtualNow() { return Explorer::active != nullptr ? Explorer::active->now_ns() : 0; }

// What is too big to be made anew for each of a hundred thousand executions.
struct Big {
  QueueRegistry registry;
  ProcessPage pages[2];
  KernelTimes times;
};

struct World {
  World(Big* shared, std::uint32_t mode) : big(shared) {
    if (big->registry.end() == 0) big->registry.Take([](std::uint32_t) { return true; });
    queue = big->registry.at(0);
    new (queue) ManagedQueue{};
    user.gpus[0].gpu_key = 7;
    for (ProcessPage& page : big->pages) {
      page.wake = page.refresh = page.refreshed = page.orders = 0;
      new (&page.queues[0]) QueueSlot{};
      new (&page.requests) RequestPage{};
    }
    slot = &big->pages[0].queues[0];
    slot->mode = mode;
    slot->priority = -1;
    slot->linger_us = 50;
    ring.LendTo(queue);
    queue->slot = slot;
    queue->urgency = &user.gpus[0];
    queue->user_page = &user;
    queue->in_use = queue->live = 1;
    pump.SetSession(&big->pages[0], -1);
  }

  void Produce(std::uint64_t producer, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t index = queue->reserved_index.fetch_add(1);
      ring.Write(index, 1, producer << 8 | i);
      if (gate.Doorbell(queue, index + 1)) pump.Wake(false);
    }
  }
  // Reads the write index when the doorbell has been rung, and only then; waits at a slot below it
  // that is not written yet.
  void Process(Explorer* explorer, std::uint64_t count, std::uint64_t delay_ns = 0) {
    std::uint64_t rung = 0, known = 0;
    while (taken.size() < count) {
      explorer->WaitUntil([&] {
        return ring.rings() != rung || (ring.taken() < known && ring.IsWritten(ring.taken()));
      });
      rung = ring.rings();
      if (delay_ns != 0) {
        explorer->WaitUntil([] { return false; }, delay_ns);
        OnWork(explorer);
      }
      known = ring.published();
      for (std::uint64_t tag = 0; ring.taken() < known && ring.Take(&tag);) taken.push_back(tag);
    }
    done_ns = explorer->now_ns();
  }
  // The processor has work and everybody else waits: then the queue must count as active.
  void OnWork(Explorer* explorer) {
    if (ring.published() == ring.taken() || (slot->mode & kModeRaise) == 0) return;
    if (slot->active == 0) explorer->Fail("urgent work is on the device and nobody knows");
    if (LevelOf(user.gpus[0].word) != kUrgent) explorer->Fail("urgent work, and the level is down");
  }
  void WakePump(ProcessPage* page) {
    page->wake.fetch_add(1);
    FutexWake(&page->wake);
  }
  void Raise(std::uint64_t lease_us = kLeaseUs) {
    user.gpus[0].lease_until_us.store(VirtualNow() / 1000 + lease_us);
    user.gpus[0].word.store(UrgencyWord(1, kUrgent));
    user.gpus[0].acked_epoch.store(1);
  }
  void Lower() {
    user.gpus[0].word.store(UrgencyWord(2, 0));
    if (user.gpus[0].closed[0].exchange(0) != 0) WakePump(&big->pages[0]);
  }
  std::string CheckPackets(std::uint64_t count) const {
    if (taken.size() != count) {
      return std::to_string(taken.size()) + " of " + std::to_string(count) + " packets ran";
    }
    std::uint64_t next[4] = {};
    for (const std::uint64_t tag : taken) {
      if ((tag & 0xff) != next[tag >> 8]++) return "a packet twice or out of order";
    }
    return {};
  }
  std::string CheckSoon(std::uint64_t count) const {
    const std::string wrong = CheckPackets(count);
    if (!wrong.empty()) return wrong;
    return done_ns - began_ns < kSoonNs ? ""
                                        : "a wake-up was lost: somebody slept until a lease ended";
  }

  Big* big;
  TestRing ring{4};
  UserPage user{};
  ManagedQueue* queue;
  QueueSlot* slot;
  RealApi api = TestRing::Api();
  WindowGate gate{api, &big->times};
  Pump pump{&big->registry, &gate};
  std::vector<std::uint64_t> taken;
  std::uint64_t began_ns = VirtualNow(), done_ns = 0;
};

class ExploreTest : public testing::TestWithParam<bool> {
 protected:
  ExploreTest() { g_now_ns = &VirtualNow; }
  ~ExploreTest() override { g_now_ns = &SteadyNs; }

  using Scenario = std::function<Explorer::Check(Explorer*, std::shared_ptr<World>)>;
  void ExpectHolds(std::uint32_t mode, const Scenario& scenario) {
    // All with one preemption, as far as the time goes; then at random with up to four.
    Explore({.preemptions = 1, .executions = 30'000, .store_buffers = GetParam()}, mode, scenario);
    Explore({.preemptions = 4, .executions = 15'000, .store_buffers = GetParam(), .seed = 7}, mode,
            scenario);
  }
  void Explore(const Explorer::Limits& limits, std::uint32_t mode, const Scenario& scenario) {
    const auto result = Explorer::Explore(limits, [&](Explorer* explorer) {
      auto world = std::make_shared<World>(big_.get(), mode);
      explorer->Thread("pump", [world] { world->pump.Run(); });
      return scenario(explorer, world);
    });
    std::printf("%lu interleavings with at most %d preemptions%s\n", result.executions,
                limits.preemptions, result.complete ? ": all there are" : "");
    EXPECT_EQ(result.failure, "") << "in interleaving " << result.executions;
    EXPECT_GT(result.executions, 1000u);
  }
  std::unique_ptr<Big> big_ = std::make_unique<Big>();
};

TEST_P(ExploreTest, TwoProducersWhileTheGateClosesAndOpens) {
  ExpectHolds(kModeArmed, [](Explorer* explorer, std::shared_ptr<World> world) {
    explorer->Thread("first", [world] { world->Produce(1, 2); });
    explorer->Thread("second", [world] { world->Produce(2, 2); });
    explorer->Thread("processor", [=] { world->Process(explorer, 4); });
    explorer->Thread("controller", [world] {
      world->Raise();
      world->Lower();
    });
    return [world] { return world->CheckSoon(4); };
  });
}

// The second end of urgent work comes while the pump looks at the gate for the first one, whose wake took the
// program's bit: it has to be said anew, and the word looked at again.
TEST_P(ExploreTest, AGateThatClosesAgainIsWokenForTheSecondEnd) {
  ExpectHolds(kModeArmed, [](Explorer* explorer, std::shared_ptr<World> world) {
    world->Raise();
    explorer->Thread("producer", [world] { world->Produce(1, 1); });
    explorer->Thread("processor", [=] { world->Process(explorer, 1); });
    explorer->Thread("controller", [=] {
      explorer->WaitUntil([] { return false; }, 100'000);
      world->Lower();
      world->Raise();
      world->Lower();
    });
    return [world] { return world->CheckSoon(1); };
  });
}

TEST_P(ExploreTest, TwoProducersWhileTheQueueIsArmedAndDisarmed) {
  ExpectHolds(0, [](Explorer* explorer, std::shared_ptr<World> world) {
    world->Raise();
    explorer->Thread("first", [world] { world->Produce(1, 2); });
    explorer->Thread("second", [world] { world->Produce(2, 1); });
    explorer->Thread("processor", [=] { world->Process(explorer, 3); });
    explorer->Thread("controller", [world] {
      world->slot->mode.store(kModeArmed);
      world->slot->mode.store(0);
      world->WakePump(&world->big->pages[0]);
    });
    return [world] { return world->CheckSoon(3); };
  });
}

TEST_P(ExploreTest, HeldPacketsGoWhenTheLeaseEndsAndNotBefore) {
  ExpectHolds(kModeArmed, [](Explorer* explorer, std::shared_ptr<World> world) {
    world->Raise(500);
    explorer->Thread("first", [world] { world->Produce(1, 2); });
    explorer->Thread("second", [world] { world->Produce(2, 2); });
    explorer->Thread("processor", [=] { world->Process(explorer, 4); });
    return [world]() -> std::string {
      const std::uint64_t took_ns = world->done_ns - world->began_ns;
      if (took_ns < 500'000) return "a packet ran before more urgent work was done";
      return world->CheckSoon(4);
    };
  });
}

// Nobody but the producer wakes the pump here: urgency comes by a doorbell and goes by its lease.
TEST_P(ExploreTest, APumpThatStopsWatchingLooksOnceMore) {
  ExpectHolds(kModeArmed, [](Explorer* explorer, std::shared_ptr<World> world) {
    constexpr std::uint64_t kLease = 100;
    world->Raise(kLease);
    explorer->Thread("first", [world] { world->Produce(1, 1); });
    explorer->Thread("urgent", [=] {
      explorer->WaitUntil([] { return false; }, kLease * 1000);
      world->Raise(kLease);
    });
    explorer->Thread("second", [=] {
      explorer->WaitUntil([] { return false; }, kLease * 1000);
      world->Produce(2, 1);
    });
    explorer->Thread("processor", [=] { world->Process(explorer, 2); });
    return [world] { return world->CheckSoon(2); };
  });
}

TEST_P(ExploreTest, NothingIsPublishedWhileAnOrderHolds) {
  ExpectHolds(kModeArmed, [](Explorer* explorer, std::shared_ptr<World> world) {
    world->slot->hold = kHoldPackets;
    world->slot->hold_lease_until_us = VirtualNow() / 1000 + kLeaseUs;
    explorer->Thread("first", [world] { world->Produce(1, 2); });
    explorer->Thread("second", [world] { world->Produce(2, 1); });
    explorer->Thread("processor", [=] { world->Process(explorer, 3); });
    explorer->Thread("controller", [=] {
      explorer->WaitUntil([] { return false; }, 100'000);
      if (world->ring.published() != 0) explorer->Fail("published while an order holds");
      world->slot->hold.store(kHoldNone);
      world->WakePump(&world->big->pages[0]);
    });
    return [world] { return world->CheckSoon(3); };
  });
}

// The doorbell raises, the pump finds the end, the controller lowers: the level stands as long as there
// is work, and falls in the end.
TEST_P(ExploreTest, UrgentWorkIsKnownAsLongAsThereIsSome) {
  ExpectHolds(kModeRaise, [](Explorer* explorer, std::shared_ptr<World> world) {
    world->queue->requested_priority = kPriorityHigh;
    explorer->Thread("producer", [=] {
      world->Produce(1, 1);
      // About when the pump finds that the first is done.
      explorer->WaitUntil([] { return false; }, 125'000);
      const std::uint64_t index = world->queue->reserved_index.fetch_add(1);
      world->ring.Write(index, 1, 1 << 8 | 1);
      if (world->gate.Doorbell(world->queue, index + 1)) world->pump.Wake(false);
    });
    explorer->Thread("processor", [=] { world->Process(explorer, 2, 60'000); });
    explorer->Thread("controller", [=] {
      struct Virtual final : Clock {
        std::uint64_t NowUs() const override { return VirtualNow() / 1000; }
      } clock;
      GpuUrgency& gpu = world->user.gpus[0];
      const auto level = [&] { return world->slot->active.load() != 0 ? kUrgent : 0u; };
      for (;;) {
        explorer->WaitUntil(
            [&] { return EpochOf(gpu.word) != gpu.acked_epoch || LevelOf(gpu.word) != level(); });
        SettleUrgency(gpu, level, clock);
      }
    });
    return [world]() -> std::string {
      const std::string wrong = world->CheckPackets(2);
      if (!wrong.empty()) return wrong;
      if (world->slot->active != 0) return "the queue is done and counts as active";
      return LevelOf(world->user.gpus[0].word) == 0 ? "" : "the level stands with nobody active";
    };
  });
}

// A controller comes in the place of another while the pump goes to sleep: the new one's wake arrives.
TEST_P(ExploreTest, PumpHearsTheNewControllerAfterAnExchange) {
  ExpectHolds(kModeArmed, [](Explorer* explorer, std::shared_ptr<World> world) {
    world->slot->hold = kHoldPackets;
    world->slot->hold_lease_until_us = VirtualNow() / 1000 + kLeaseUs;
    explorer->Thread("producer", [world] { world->Produce(1, 1); });
    explorer->Thread("processor", [=] { world->Process(explorer, 1); });
    explorer->Thread("session", [=] {
      world->pump.SetSession(&world->big->pages[1], -1);
      explorer->WaitUntil([] { return false; }, 100'000);
      world->slot->hold.store(kHoldNone);
      world->WakePump(&world->big->pages[1]);
    });
    return [world] { return world->CheckSoon(1); };
  });
}

INSTANTIATE_TEST_SUITE_P(Memory, ExploreTest, testing::Bool(),
                         [](const auto& one) { return one.param ? "StoreBuffers" : "Sequential"; });

}  // namespace
}  // namespace xsched_hsa

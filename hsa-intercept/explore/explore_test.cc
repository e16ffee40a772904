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
  QueueSlot detached{};
  KernelTimes times;
};

struct World {
  World(Big* shared, std::uint32_t mode) : big(shared) {
    if (big->registry.end() == 0) big->registry.Take([](std::uint32_t) { return true; });
    queue = big->registry.at(0);
    new (queue) ManagedQueue{};
    new (&big->detached) QueueSlot{};
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
    pump.SetSession(&big->pages[0], {});
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
    ExpectAlways([&](Explorer* explorer) {
      auto world = std::make_shared<World>(big_.get(), mode);
      explorer->Thread("pump", [world] { world->pump.Run(); });
      return scenario(explorer, world);
    });
  }
  void ExpectAlways(const std::function<Explorer::Check(Explorer*)>& scenario) {
    // All with one preemption, as far as the time goes; then at random with up to four.
    Explore({.preemptions = 1, .executions = 30'000, .store_buffers = GetParam()}, scenario);
    Explore({.preemptions = 4, .executions = 15'000, .store_buffers = GetParam(), .seed = 7},
            scenario);
  }
  void Explore(const Explorer::Limits& limits,
               const std::function<Explorer::Check(Explorer*)>& scenario) {
    const auto result = Explorer::Explore(limits, scenario);
    std::printf("%lu interleavings with at most %d preemptions%s\n", result.executions,
                limits.preemptions, result.complete ? ": all there are" : "");
    EXPECT_EQ(result.failure, "") << "in interleaving " << result.executions;
    EXPECT_GT(result.executions, 500u);
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
      world->pump.SetSession(&world->big->pages[1], {});
      explorer->WaitUntil([] { return false; }, 100'000);
      world->slot->hold.store(kHoldNone);
      world->WakePump(&world->big->pages[1]);
    });
    return [world] { return world->CheckSoon(1); };
  });
}

// What a session's end does to a queue (Layer::Detach), in the middle of submissions and of a hold.
TEST_P(ExploreTest, AQueueIsLetGoInTheMiddleOfASubmission) {
  ExpectHolds(kModeArmed, [](Explorer* explorer, std::shared_ptr<World> world) {
    world->Raise();
    explorer->Thread("first", [world] { world->Produce(1, 2); });
    explorer->Thread("second", [world] { world->Produce(2, 1); });
    explorer->Thread("processor", [=] { world->Process(explorer, 3); });
    explorer->Thread("session", [world] {
      world->queue->slot.store(&world->big->detached, std::memory_order_seq_cst);
      world->queue->urgency.store(nullptr, std::memory_order_release);
      world->queue->user_page.store(nullptr, std::memory_order_release);
      GateLook look;
      world->gate.Look(world->queue, &look);
      world->pump.SetSession(nullptr, {});
    });
    return [world] { return world->CheckSoon(3); };
  });
}

// It goes to rest while there is nothing to do, and hears of the packet that comes just then.
TEST_P(ExploreTest, APreemptorThatGoesToRestHearsOfTheNextPacket) {
  ExpectHolds(kModeArmed, [](Explorer* explorer, std::shared_ptr<World> world) {
    struct NoDriver final : KfdCalls {};
    struct Rest {
      NoDriver driver;
      std::unique_ptr<Preemptor> preemptor;
    };
    auto rest = std::make_shared<Rest>();
    world->slot->mechanisms = world->slot->mechanisms_available = kMechanismShare;
    rest->preemptor = std::make_unique<Preemptor>(&world->big->registry, &world->gate, &world->pump,
                                                  &rest->driver);
    rest->preemptor->SetSession(&world->big->pages[0], &world->user);
    world->pump.SetOrdersListener([](void* self) { static_cast<Preemptor*>(self)->Nudge(); },
                                  rest->preemptor.get());
    explorer->Thread("preemptor", [rest] { rest->preemptor->Run(); });
    explorer->Thread("producer", [world] { world->Produce(1, 1); });
    return [=]() -> std::string {
      return world->user.listeners == 1 ? "" : "the queue has work, and the preemptor rests";
    };
  });
}

// An urgent queue and a less urgent one, on a device that runs what it may.
struct Rivals {
  explicit Rivals(Big* shared) : world(shared, kModeArmed) {
    if (shared->registry.end() < 2) shared->registry.Take([](std::uint32_t i) { return i == 1; });
    queues[0] = world.queue;
    queues[1] = shared->registry.at(1);
    new (queues[1]) ManagedQueue{};
    QueueSlot* slot = &shared->pages[0].queues[1];
    new (slot) QueueSlot{};
    slot->mode = kModeRaise;
    slot->priority = -1;
    slot->linger_us = 50;
    high_ring.LendTo(queues[1]);
    queues[1]->requested_priority = kPriorityHigh;
    queues[1]->slot = slot;
    queues[1]->urgency = &world.user.gpus[0];
    queues[1]->user_page = &world.user;
    queues[1]->index = 1;
    queues[1]->in_use = queues[1]->live = 1;
  }
  ~Rivals() { queues[1]->live = 0; }
  TestRing& Ring(int at) { return at == 0 ? world.ring : high_ring; }
  const unsigned char* Packet(int at) { return queues[at]->ring + (Ring(at).taken() & 3) * 64; }

  void Put(int at, std::uint16_t type, const hsa_barrier_and_packet_t& packet) {
    ManagedQueue* queue = queues[at];
    const std::uint64_t index = queue->reserved_index.fetch_add(1);
    unsigned char* slot = queue->ring + (index & 3) * 64;
    std::memcpy(slot + 2, reinterpret_cast<const unsigned char*>(&packet) + 2, 62);
    __atomic_store_n(reinterpret_cast<std::uint16_t*>(slot), type, __ATOMIC_RELEASE);
    if (world.gate.Doorbell(queue, index + 1)) world.pump.Wake(false);
  }
  void PutKernel(int at) {
    hsa_barrier_and_packet_t packet{};
    packet.completion_signal.handle = reinterpret_cast<std::uint64_t>(&signal);
    Put(at, HSA_PACKET_TYPE_KERNEL_DISPATCH, packet);
  }
  // Waits for the signal of any kernel.
  void PutBarrier(int at) {
    hsa_barrier_and_packet_t packet{};
    packet.dep_signal[0].handle = reinterpret_cast<std::uint64_t>(&signal);
    Put(at, HSA_PACKET_TYPE_BARRIER_AND, packet);
  }
  bool MayRun(int at) {
    TestRing& ring = Ring(at);
    if (ring.taken() >= ring.published() || !ring.IsWritten(ring.taken())) return false;
    return (Packet(at)[0] & 0xff) != HSA_PACKET_TYPE_BARRIER_AND || signal.value == 0;
  }
  void Process(Explorer* explorer, int count) {
    for (; count > 0; --count) {
      explorer->WaitUntil([&] { return MayRun(0) || MayRun(1); });
      const int at = MayRun(1) ? 1 : 0;
      std::uint64_t completes = 0, tag = 0;
      std::memcpy(&completes, Packet(at) + 56, sizeof(completes));
      Ring(at).Take(&tag);
      if (completes != 0) signal.value = 0;
      ended_ns[at] = explorer->now_ns();
    }
    over = true;
  }
  // Renews for as long as the device has not done all, so that no lease helps.
  void Control(Explorer* explorer) {
    struct Virtual final : Clock {
      std::uint64_t NowUs() const override { return VirtualNow() / 1000; }
    } clock;
    GpuUrgency& gpu = world.user.gpus[0];
    const QueueSlot* slot = queues[1]->slot;
    const auto level = [&] { return slot->active.load() != 0 ? kUrgent : 0u; };
    while (!over || LevelOf(gpu.word) != 0) {
      explorer->WaitUntil(
          [&] { return EpochOf(gpu.word) != gpu.acked_epoch || LevelOf(gpu.word) != level(); },
          kLeaseRenewUs * 1000);
      if (!SettleUrgency(gpu, level, clock).lowered) continue;
      if (gpu.closed[0].exchange(0) != 0) world.WakePump(&world.big->pages[0]);
    }
  }

  World world;
  TestRing high_ring{4};
  ManagedQueue* queues[2];
  amd_signal_t signal{};
  std::uint64_t ended_ns[2] = {};
  bool over = false;
};

class ExploreRivalsTest : public ExploreTest {
 protected:
  using RivalsScenario = std::function<Explorer::Check(Explorer*, std::shared_ptr<Rivals>)>;
  void ExpectOfRivals(const RivalsScenario& scenario) {
    ExpectAlways([&](Explorer* explorer) {
      auto rivals = std::make_shared<Rivals>(big_.get());
      explorer->Thread("pump", [rivals] { rivals->world.pump.Run(); });
      return scenario(explorer, rivals);
    });
  }
};

// The urgent one waits for the other's kernel: that one goes on, although a controller says for ever that it must wait.
TEST_P(ExploreRivalsTest, WhatAnUrgentQueueWaitsForGoesOn) {
  ExpectOfRivals([](Explorer* explorer, std::shared_ptr<Rivals> rivals) {
    rivals->signal.value = 1;
    explorer->Thread("high", [rivals] { rivals->PutBarrier(1); });
    explorer->Thread("low", [rivals] { rivals->PutKernel(0); });
    explorer->Thread("processor", [=] { rivals->Process(explorer, 2); });
    explorer->Thread("controller", [=] { rivals->Control(explorer); });
    return [rivals]() -> std::string {
      if (!rivals->over) return "a deadlock";
      if (rivals->ended_ns[1] - rivals->world.began_ns > kSoonNs) return "it took a lease's end";
      if (rivals->queues[0]->inherited_level != 0) return "the level stays inherited";
      return LevelOf(rivals->world.user.gpus[0].word) == 0 ? "" : "the level stands";
    };
  });
}

// Requests come again and again, and nobody acknowledges any: the first one holds for a lease, the others for nothing.
TEST_P(ExploreRivalsTest, AControllerThatHangsHoldsForOneLease) {
  ExpectOfRivals([](Explorer* explorer, std::shared_ptr<Rivals> rivals) {
    explorer->Thread("high", [=] {
      for (int i = 0; i < 4; ++i) {
        rivals->PutKernel(1);
        explorer->WaitUntil([] { return false; }, 11'000'000);
      }
    });
    explorer->Thread("low", [=] {
      explorer->WaitUntil([] { return false; }, 1'000'000);
      rivals->PutKernel(0);
    });
    explorer->Thread("processor", [=] { rivals->Process(explorer, 5); });
    return [rivals]() -> std::string {
      if (!rivals->over) return "a packet never ran";
      const std::uint64_t took_ns = rivals->ended_ns[0] - rivals->world.began_ns;
      if (took_ns < kLeaseUs * 1000) return "it was held for less than the first one's lease";
      return took_ns < kLeaseUs * 1000 + kSoonNs ? "" : "it was held for longer";
    };
  });
}

std::string NameOf(const testing::TestParamInfo<bool>& one) {
  return one.param ? "StoreBuffers" : "Sequential";
}
INSTANTIATE_TEST_SUITE_P(Memory, ExploreTest, testing::Bool(), NameOf);
INSTANTIATE_TEST_SUITE_P(Memory, ExploreRivalsTest, testing::Bool(), NameOf);

}  // namespace
}  // namespace xsched_hsa

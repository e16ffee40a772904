// Every interleaving of small scenarios, up to a number of preemptions: producers, the pump, a packet
// processor and a controller over one queue. What has to hold is in each scenario's check; how many
// interleavings were tried is printed. The order rules are those of docs/life-of-a-packet.md.
#include "explore_world.h"

namespace xsched_hsa {
namespace {

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

// The controller hangs: nobody lowers, and no doorbell comes after the last one. One producer may still be writing when
// the pump looks at the other's packet behind it.
TEST_P(ExploreTest, TwoProducersAreHeldForOneLeaseWhereNobodyLowers) {
  ExpectHolds(kModeArmed, [](Explorer* explorer, std::shared_ptr<World> world) {
    explorer->Thread("first", [world] { world->Produce(1, 1); });
    explorer->Thread("second", [world] { world->Produce(2, 1); });
    explorer->Thread("urgent", [world] { world->Raise(100); });
    explorer->Thread("processor", [=] { world->Process(explorer, 2); });
    return [world] { return world->CheckSoon(2); };
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

// The urgent one waits for the other's kernel: that one goes on, although a controller says for ever that it must wait.
TEST_P(ExploreRivalsTest, WhatAnUrgentQueueWaitsForGoesOn) {
  ExpectIn<Rivals>([](Explorer* explorer, std::shared_ptr<Rivals> rivals) {
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
  ExpectIn<Rivals>([](Explorer* explorer, std::shared_ptr<Rivals> rivals) {
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

INSTANTIATE_TEST_SUITE_P(Memory, ExploreTest, testing::Bool(), NameOf);
INSTANTIATE_TEST_SUITE_P(Memory, ExploreRivalsTest, testing::Bool(), NameOf);

}  // namespace
}  // namespace xsched_hsa

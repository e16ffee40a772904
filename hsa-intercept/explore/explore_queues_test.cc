// Every interleaving of small scenarios, continued: a queue of ROCr's intercepting kind, a queue's end and a queue in
// error, each in the middle of something else. explore_test.cc has the others.
#include "explore_world.h"

namespace xsched_hsa {
namespace {

// A queue that the program has destroyed: its indexes and its doorbell are not there any more.
const void* g_gone = nullptr;

void TouchQueue(const void* queue) {
  if (queue == g_gone) Explorer::active->Fail("a queue is touched that has gone");
}

void ForbidWhatHasGone(RealApi* api) {
  g_gone = nullptr;
  api->load_read_index_relaxed = api->load_read_index_scacquire = [](const hsa_queue_t* queue) {
    TouchQueue(queue);
    return TestRing::Api().load_read_index_scacquire(queue);
  };
  api->load_write_index_relaxed = api->load_write_index_scacquire = [](const hsa_queue_t* queue) {
    TouchQueue(queue);
    return TestRing::Api().load_write_index_scacquire(queue);
  };
  api->cas_write_index_scacq_screl = [](const hsa_queue_t* queue, std::uint64_t expected,
                                        std::uint64_t value) {
    TouchQueue(queue);
    return TestRing::Api().cas_write_index_scacq_screl(queue, expected, value);
  };
  api->signal_store_screlease = [](hsa_signal_t doorbell, hsa_signal_value_t value) {
    TouchQueue(reinterpret_cast<const void*>(doorbell.handle));
    TestRing::Api().signal_store_screlease(doorbell, value);
  };
}

void Pause(Explorer* explorer, std::uint64_t ns) {
  explorer->WaitUntil([] { return false; }, ns);
}

// The program has a proxy; ROCr passes on what the proxy's index allows, a packet a call, under a lock of its own, and
// behind it is the ring that the device reads.
struct Intercepted {
  static constexpr std::uint64_t kPackets = 64;
  // With their marks they leave ROCr's ring room for one more.
  static constexpr std::uint64_t kBefore = 22;
  using Bytes = std::array<unsigned char, 64>;

  explicit Intercepted(Big* shared) : world(shared, kModeArmed, kPackets) {
    self = this;
    RealApi& api = world.api;
    api.signal_create = [](hsa_signal_value_t, std::uint32_t, const hsa_agent_t*,
                           hsa_signal_t* signal) {
      signal->handle = kMark;
      return HSA_STATUS_SUCCESS;
    };
    api.signal_destroy = [](hsa_signal_t) { return HSA_STATUS_SUCCESS; };
    api.signal_load_scacquire = [](hsa_signal_t) {
      return -static_cast<hsa_signal_value_t>(self->marks.load());
    };
    api.queue_intercept_register = [](hsa_queue_t*, hsa_amd_queue_intercept_handler with,
                                      void* its) {
      self->handler = with;
      self->data = its;
      return HSA_STATUS_SUCCESS;
    };
    api.add_write_index_scacq_screl = [](const hsa_queue_t*, std::uint64_t count) {
      return self->world.ring.real_index()->fetch_add(count);
    };
    api.signal_store_screlease = [](hsa_signal_t, hsa_signal_value_t) { self->Ring(); };
    gate = InterceptGate::Make(api, {7}, world.queue->queue);
    world.queue->intercept = gate;
    world.Produce(3, kBefore);
  }
  ~Intercepted() {
    world.queue->intercept = nullptr;
    gate->Free();
  }

  static void Start(Explorer* explorer, const std::shared_ptr<Intercepted>& queue) {
    explorer->Thread("pump", [queue] { queue->world.pump.Run(); });
  }

  // What a store to the proxy's doorbell does.
  void Ring() {
    MutexScope scope(&rocrs);
    for (std::uint64_t tag = 0;;) {
      const std::uint64_t at = world.ring.taken();
      if (at >= world.ring.published() || !world.ring.IsWritten(at)) return;
      Bytes packet;
      std::memcpy(packet.data(), world.queue->ring + (at & (kPackets - 1)) * 64, 64);
      handler(packet.data(), 1, at, data, [](const void* out, std::uint64_t count) {
        Explorer::active->Barrier();  // what was stored before is seen before, on x86
        const auto* bytes = static_cast<const unsigned char*>(out);
        for (std::uint64_t i = 0; i < count; ++i) {
          std::copy_n(bytes + i * 64, 64, self->real.emplace_back().begin());
        }
        if (self->real.size() - self->drained >= kPackets) {
          Explorer::active->Fail("ROCr's ring overflows");
        }
      });
      world.ring.Take(&tag);
    }
  }
  // A program that knows where the index is.
  void ProducePastTheApi(std::uint64_t producer, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t index = world.ring.real_index()->fetch_add(1);
      world.ring.Write(index, kByIndex + index, producer << 8 | i);
      if (world.gate.Doorbell(world.queue, index + 1)) world.pump.Wake(false);
    }
  }
  // They are in ROCr's hands before anybody looks where to stop it: more than its ring has room for.
  void PassOnTooMany(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t index = world.ring.real_index()->fetch_add(1);
      world.ring.Write(index, kByIndex + index, 3 << 8 | (kBefore + i));
    }
    Ring();
  }
  void Process(Explorer* explorer, std::uint64_t count) {
    while (world.taken.size() < count) {
      explorer->WaitUntil([this] { return drained < real.size(); });
      Pause(explorer, 10'000);
      for (int i = 0; i < 8 && drained < real.size(); ++i) DrainOne(explorer);
    }
    world.done_ns = explorer->now_ns();
  }
  void DrainOne(Explorer* explorer) {
    const Bytes& packet = real[drained++];
    std::uint64_t tag = 0, completes = 0;
    std::memcpy(&completes, packet.data() + 56, 8);
    std::memcpy(&tag, packet.data() + offsetof(hsa_kernel_dispatch_packet_t, reserved2), 8);
    if (completes != kMark) {
      std::uint64_t kernel = 0;
      std::memcpy(&kernel, packet.data() + offsetof(hsa_kernel_dispatch_packet_t, kernel_object),
                  8);
      if (kernel >= kByIndex && std::exchange(last_kernel, kernel) >= kernel) {
        explorer->Fail("a packet has overtaken another");
      }
      return world.taken.push_back(tag);
    }
    marks.fetch_add(1);
    if (gate->Taken() < world.taken.size()) {
      explorer->Fail("packets before a mark that has completed do not count as taken");
    }
  }

  static constexpr std::uint64_t kMark = 0x1234;
  static constexpr std::uint64_t kByIndex = 100;  // a kernel of that and its packet's index
  static inline Intercepted* self;
  World world;
  InterceptGate* gate = nullptr;
  Mutex rocrs;
  hsa_amd_queue_intercept_handler handler = nullptr;
  void* data = nullptr;
  std::vector<Bytes> real;
  std::size_t drained = 0;
  std::uint64_t last_kernel = 0;
  std::atomic<std::uint64_t> marks{0};
};

using ExploreInterceptTest = ExploreTest;

// ROCr's ring has room for one: nothing overflows it, and when there is room again somebody knows.
TEST_P(ExploreInterceptTest, AFullRingWhileTheGateClosesAndOpens) {
  ExpectIn<Intercepted>([](Explorer* explorer, std::shared_ptr<Intercepted> queue) {
    constexpr std::uint64_t kAll = Intercepted::kBefore + 4;
    explorer->Thread("first", [queue] { queue->world.Produce(1, 2); });
    explorer->Thread("second", [queue] { queue->world.Produce(2, 2); });
    explorer->Thread("processor", [=] { queue->Process(explorer, kAll); });
    explorer->Thread("controller", [queue] {
      queue->world.Raise();
      queue->world.Lower();
    });
    return [queue] { return queue->world.CheckSoon(kAll); };
  });
}

// More came past the API than ROCr's ring had room for: what did not fit was stored, and goes before what comes now.
TEST_P(ExploreInterceptTest, WhatIsStoredGoesOnInOrder) {
  ExpectIn<Intercepted>([](Explorer* explorer, std::shared_ptr<Intercepted> queue) {
    constexpr std::uint64_t kAll = Intercepted::kBefore + 3 + 3;
    queue->PassOnTooMany(3);
    explorer->Thread("first", [queue] { queue->ProducePastTheApi(1, 2); });
    explorer->Thread("second", [queue] { queue->ProducePastTheApi(2, 1); });
    explorer->Thread("processor", [=] { queue->Process(explorer, kAll); });
    return [queue] { return queue->world.CheckSoon(kAll); };
  });
}

// And nothing has to come for it: the pump makes ROCr ask for more.
TEST_P(ExploreInterceptTest, WhatIsStoredGoesOnThoughNothingComes) {
  ExpectIn<Intercepted>([](Explorer* explorer, std::shared_ptr<Intercepted> queue) {
    constexpr std::uint64_t kAll = Intercepted::kBefore + 3;
    queue->PassOnTooMany(3);
    explorer->Thread("program", [queue] {
      // For what it has written, a little late.
      if (queue->world.gate.Doorbell(queue->world.queue, kAll)) queue->world.pump.Wake(false);
    });
    explorer->Thread("processor", [=] { queue->Process(explorer, kAll); });
    return [queue] { return queue->world.CheckSoon(kAll); };
  });
}

// The session ends while the queue is held and ROCr's ring is full: what is left has nobody but the pump.
TEST_P(ExploreInterceptTest, AQueueIsLetGoWithAFullRing) {
  ExpectIn<Intercepted>([](Explorer* explorer, std::shared_ptr<Intercepted> queue) {
    constexpr std::uint64_t kAll = Intercepted::kBefore + 4;
    queue->world.Raise();
    explorer->Thread("first", [queue] { queue->world.Produce(1, 2); });
    explorer->Thread("second", [queue] { queue->world.Produce(2, 2); });
    explorer->Thread("processor", [=] { queue->Process(explorer, kAll); });
    explorer->Thread("session", [queue] {
      World& world = queue->world;
      world.queue->slot.store(&world.big->detached, std::memory_order_seq_cst);
      world.queue->urgency.store(nullptr, std::memory_order_release);
      world.queue->user_page.store(nullptr, std::memory_order_release);
      GateLook look;
      world.gate.Look(world.queue, &look);
      world.pump.SetSession(nullptr, {});
    });
    return [queue] { return queue->world.CheckSoon(kAll); };
  });
}

// One queue: what the driver was told last counts; a call takes as long as a runlist cycle.
struct Driver final : KfdCalls {
  int Update(const KfdQueue&, std::uint32_t percentage) override {
    Call();
    if (percentage == 0 && refuses) return ++refused, EBUSY;
    off = percentage == 0;
    return 0;
  }
  void Call() const {
    Explorer* const explorer = Explorer::active;
    for (int i = 0; i < 2; ++i) {
      if (gone) explorer->Fail("the driver is asked for a queue that has gone");
      if (i == 0) Pause(explorer, 50'000);
    }
  }
  bool off = false, gone = false, refuses = false;
  int refused = 0;
};

// A queue that an operator has ordered to be suspended, with pump and preemptor.
struct Suspended {
  explicit Suspended(Big* shared) : world(shared, kModeArmed) {
    ForbidWhatHasGone(&world.api);
    world.slot->mechanisms = world.slot->mechanisms_available = kMechanismSuspend;
    world.slot->hold_lease_until_us = VirtualNow() / 1000 + kLeaseUs;
    world.slot->hold = kHoldSuspend;
    world.slot->kfd_priority = -1;
    preemptor.Adopt(world.queue, {.id = 5, .ring_base = 1, .ring_bytes = 256},
                    {.gpu_id = 1, .compute_units = 80, .shader_arrays = 16});
    preemptor.SetSession(&shared->pages[0], &world.user);
    world.pump.SetOrdersListener([](void* self) { static_cast<Preemptor*>(self)->Nudge(); },
                                 &preemptor);
  }
  ~Suspended() { world.queue->live = 0; }
  void Order(std::uint32_t hold) {
    ProcessPage* page = &world.big->pages[0];
    world.slot->hold.store(hold);
    page->orders.fetch_add(1);
    world.WakePump(page);
  }

  static void Start(Explorer* explorer, const std::shared_ptr<Suspended>& queue) {
    explorer->Thread("pump", [queue] { queue->world.pump.Run(); });
    explorer->Thread("preemptor", [queue] { queue->preemptor.Run(); });
  }

  World world;
  Driver driver;
  Preemptor preemptor{&world.big->registry, &world.gate, &world.pump, &driver};
  bool ended = false;
};

using ExploreSuspendedTest = ExploreTest;

// The program destroys it before, while and after the driver takes it off, and while the order ends and comes again.
TEST_P(ExploreSuspendedTest, NobodyTouchesADestroyedQueueAndItIsNotSuspended) {
  ExpectIn<Suspended>([](Explorer* explorer, std::shared_ptr<Suspended> queue) {
    World& world = queue->world;
    explorer->Thread("program", [=, &world] {
      world.Produce(1, 2);
      Pause(explorer, 30'000);
      LetGo(world.queue, &queue->preemptor, &world.gate);
      if (world.ring.published() != 2) explorer->Fail("what was announced is not published");
      if (queue->driver.off) explorer->Fail("it is destroyed while it is suspended");
      queue->driver.gone = queue->ended = true;
      g_gone = world.queue->queue;
    });
    explorer->Thread("controller", [=] {
      queue->Order(kHoldNone);
      queue->Order(kHoldSuspend);
      Pause(explorer, 120'000);
      queue->Order(kHoldNone);
    });
    return [queue] { return queue->ended ? "" : "the destruction does not end"; };
  });
}

// Nothing is ordered, and so nobody waits for the driver: it goes in the middle of the pump's look.
TEST_P(ExploreSuspendedTest, NobodyTouchesADestroyedQueue) {
  ExpectIn<Suspended>([](Explorer* explorer, std::shared_ptr<Suspended> queue) {
    World& world = queue->world;
    world.slot->hold = kHoldNone;
    explorer->Thread("program", [=, &world] {
      world.Produce(1, 2);
      LetGo(world.queue, &queue->preemptor, &world.gate);
      if (world.ring.published() != 2) explorer->Fail("what was announced is not published");
      queue->driver.gone = queue->ended = true;
      g_gone = world.queue->queue;
    });
    explorer->Thread("controller", [queue] { queue->Order(kHoldNone); });
    return [queue] { return queue->ended ? "" : "the destruction does not end"; };
  });
}

// ROCr takes it off in error, and says so a moment later, while the order ends.
TEST_P(ExploreSuspendedTest, AQueueThatRocrHasStoppedStaysSo) {
  ExpectIn<Suspended>([](Explorer* explorer, std::shared_ptr<Suspended> queue) {
    World& world = queue->world;
    explorer->Thread("program", [&world] { world.Produce(1, 1); });
    explorer->Thread("rocr", [=, &world] {
      Pause(explorer, 90'000);
      queue->driver.Update({}, 0);
      LeaveStopped(world.queue);
      queue->preemptor.Nudge();
    });
    explorer->Thread("controller", [=] {
      Pause(explorer, 100'000);
      queue->Order(kHoldNone);
    });
    return [queue, &world]() -> std::string {
      if (world.queue->restricted.restriction != kUnrestricted) return "it counts as suspended";
      return queue->driver.off ? "" : "it was brought back";
    };
  });
}

// The driver does not stop it again, for long, and there is other work to do: it is asked ever more seldom, until it
// does, and for no queue that has gone.
TEST_P(ExploreSuspendedTest, ADriverThatRefusesToStopAQueueIsAskedSeldom) {
  ExpectIn<Suspended>([](Explorer* explorer, std::shared_ptr<Suspended> queue) {
    World& world = queue->world;
    explorer->Thread("rocr", [=, &world] {
      Pause(explorer, 200'000);
      queue->driver.refuses = true;
      LeaveStopped(world.queue);
      queue->preemptor.Nudge();
      for (int i = 0; i < 20; ++i) {
        Pause(explorer, 5'000'000);
        queue->preemptor.Nudge();
      }
      // At once, after 10, 20, 40 ms; one of ours may have been on its way.
      if (queue->driver.refused > 5)
        explorer->Fail("a driver that refuses is asked again and again");
      queue->driver.refuses = false;
    });
    explorer->Thread("controller", [=] {
      Pause(explorer, 100'000);
      queue->Order(kHoldNone);
    });
    explorer->Thread("program", [=, &world] {
      Pause(explorer, 150'000'000);
      if (!queue->driver.off) Pause(explorer, 150'000'000);
      if (!queue->driver.off) explorer->Fail("it is not tried again");
      LetGo(world.queue, &queue->preemptor, &world.gate);
      queue->driver.gone = queue->ended = true;
    });
    return [queue] { return queue->ended ? "" : "the destruction does not end"; };
  });
}

using ExploreEndOfAProviderTest = ExploreTest;

// An urgent queue waits for a kernel of another, which is destroyed just when the pump looks at what it would run.
TEST_P(ExploreEndOfAProviderTest, NobodyTouchesAQueueThatAnotherOneWaitsFor) {
  struct NoDriver final : KfdCalls {};
  struct Pair : Rivals {
    explicit Pair(Big* shared) : Rivals(shared) {
      ForbidWhatHasGone(&world.api);
      signal.value = 1;
    }
    NoDriver driver;
    Preemptor preemptor{&world.big->registry, &world.gate, &world.pump, &driver};
  };
  ExpectIn<Pair>([](Explorer* explorer, std::shared_ptr<Pair> pair) {
    explorer->Thread("high", [pair] { pair->PutBarrier(1); });
    explorer->Thread("low", [=] {
      pair->PutKernel(0);
      Pause(explorer, 100'000);
      LetGo(pair->queues[0], &pair->preemptor, &pair->world.gate);
      g_gone = pair->queues[0]->queue;
      Pause(explorer, 200'000);
      pair->signal.value = 0;
    });
    explorer->Thread("processor", [=] {
      explorer->WaitUntil([&] { return pair->MayRun(1); });
      std::uint64_t tag = 0;
      pair->high_ring.Take(&tag);
      pair->over = true;
    });
    return [pair] { return pair->over ? "" : "a packet never ran"; };
  });
}

INSTANTIATE_TEST_SUITE_P(Memory, ExploreInterceptTest, testing::Bool(), NameOf);
INSTANTIATE_TEST_SUITE_P(Memory, ExploreSuspendedTest, testing::Bool(), NameOf);
INSTANTIATE_TEST_SUITE_P(Memory, ExploreEndOfAProviderTest, testing::Bool(), NameOf);

}  // namespace
}  // namespace xsched_hsa

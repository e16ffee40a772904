// Every interleaving of small scenarios, continued: the layer itself, on a runtime and a driver that are made up. How
// it learns a queue's KFD id, how it hears of errors, and how a session comes while queues do.
#include "explored_layer.h"
//
#include "explore_world.h"

namespace xsched_hsa {
namespace {

constexpr hsa_status_t kError = HSA_STATUS_ERROR_INVALID_PACKET_FORMAT;

// A queue of the made-up runtime's; its place is given to the next one as soon as it is free, as malloc does.
struct RuntimesQueue {
  std::optional<TestRing> ring;
  bool is_there = false, in_callback = false, reported = false;
  std::uint32_t id = 0;
  QueueCallback callback = nullptr;
  void* data = nullptr;
  const void* programs_data = nullptr;  // null: the creation has not come back
  hsa_queue_t* hsa() { return ring->queue()->queue; }
  std::uint64_t base() { return reinterpret_cast<std::uint64_t>(hsa()->base_address); }
};

// What is too big to be made anew.
struct LayersBig {
  static constexpr std::uint32_t kQueues = 4;
  RuntimesQueue queues[kQueues];
  ProcessPage pages[2];
};

struct LayersWorld {
  static constexpr std::uint32_t kQueues = LayersBig::kQueues;

  explicit LayersWorld(LayersBig* shared) : big(shared) {
    self = this;
    explore::MadeUpDriver::self = &driver;
    MadeUpController::self = &controller;
    explore::g_started.clear();
    explore::g_threads_wanted = 0;
    g_start_thread = [](void* (*main)(void*), void* argument) {
      explore::g_started.push_back({main, argument});
      return true;
    };
    SetLogLevel(LogLevel::kOff);
    while (g_registry.end() < kQueues) g_registry.Take([](std::uint32_t) { return true; });
    g_registry.Clear();
    for (std::uint32_t i = 0; i < kQueues; ++i) {
      new (g_registry.at(i)) ManagedQueue{};
      new (&g_detached_slots[i]) QueueSlot{};
      RuntimesQueue& queue = big->queues[i];
      queue.ring.emplace(64);
      queue.is_there = queue.in_callback = queue.reported = false;
    }
    for (ErrorRelay& relay : g_relays) new (&relay) ErrorRelay{};
    for (int i = 0; i < 2; ++i) {
      ProcessPage& page = big->pages[i];
      page.wake = page.detached = page.refresh = page.refreshed = page.orders = page.changes = 0;
      for (std::uint32_t q = 0; q < kQueues; ++q) new (&page.queues[q]) QueueSlot{};
      new (&page.requests) RequestPage{};
      controller.pages[i] = &page;
    }
    controller.user_page = &user;
    new (&g_layer) Layer(&g_registry, &g_times, g_detached_slots);
    MakeRuntime();
  }

  void MakeRuntime() {
    RealApi* real = g_layer.real();
    *real = TestRing::Api();
    real->agent_get_info = [](hsa_agent_t, hsa_agent_info_t info, void* value) {
      const bool asks_device = info == HSA_AGENT_INFO_DEVICE;
      const auto bdf = static_cast<hsa_agent_info_t>(HSA_AMD_AGENT_INFO_BDFID);
      *static_cast<std::uint32_t*>(value) = asks_device   ? HSA_DEVICE_TYPE_GPU
                                            : info == bdf ? 768
                                                          : 0;
      return HSA_STATUS_SUCCESS;
    };
    real->queue_create = [](hsa_agent_t, std::uint32_t, hsa_queue_type32_t, QueueCallback callback,
                            void* data, std::uint32_t, std::uint32_t,
                            hsa_queue_t** queue) { return self->Make(callback, data, queue); };
    real->queue_destroy = [](hsa_queue_t* queue) { return self->Destroy(queue); };
    real->counted_queue_acquire = [](hsa_agent_t, hsa_queue_type_t, hsa_amd_queue_priority_t,
                                     QueueCallback callback, void* data, std::uint64_t,
                                     hsa_queue_t** queue) {
      return self->Make(callback, data, queue);
    };
  }
  // Where it is refused the driver has already given an id, and takes it back.
  hsa_status_t Make(QueueCallback callback, void* data, hsa_queue_t** made) {
    Explorer::Point();
    FreeRetiredSlots();
    RuntimesQueue* queue = nullptr;
    for (RuntimesQueue& one : big->queues) {
      if (one.is_there) continue;
      queue = &one;
      break;
    }
    if (queue == nullptr) return HSA_STATUS_ERROR_OUT_OF_RESOURCES;
    queue->is_there = true;
    queue->reported = false;
    queue->callback = callback;
    queue->data = data;
    queue->programs_data = nullptr;
    queue->id = driver.Add(queue->base());
    Explorer::Point();
    if (refused_creations != 0) {
      --refused_creations;
      driver.entries[queue->id].is_there = queue->is_there = false;
      Explorer::Point();
      return HSA_STATUS_ERROR_OUT_OF_RESOURCES;
    }
    *made = queue->hsa();
    return HSA_STATUS_SUCCESS;
  }
  // Waits until no callback of it is under way, as ROCr's does.
  hsa_status_t Destroy(hsa_queue_t* hsa) {
    RuntimesQueue& queue = Of(hsa);
    Explorer* const explorer = Explorer::active;
    while (queue.in_callback) explorer->WaitUntil([&] { return !queue.in_callback; });
    queue.programs_data = nullptr;  // and begins none any more
    Explorer::Point();
    driver.entries[queue.id].is_there = false;
    Explorer::Point();
    queue.is_there = false;
    Explorer::Point();
    return HSA_STATUS_SUCCESS;
  }
  // The controller has looked at them, so that entries are used again.
  void FreeRetiredSlots() {
    for (ProcessPage& page : big->pages) {
      for (std::uint32_t i = 0; i < kQueues; ++i) {
        if (page.queues[i].state == kSlotRetired) page.queues[i].state = kSlotFree;
      }
    }
  }
  RuntimesQueue& Of(const hsa_queue_t* hsa) {
    for (RuntimesQueue& queue : big->queues) {
      if (queue.hsa() == hsa) return queue;
    }
    std::abort();
  }

  // ---------------------------------------------------------------- the program
  // Whatever it is given comes back with an error, and with that queue's only.
  static void OwnCallback(hsa_status_t, hsa_queue_t* hsa, void* data) {
    if (self->Of(hsa).programs_data != data) {
      Explorer::active->Fail("an error's callback has another queue's data");
    }
    ++self->heard;
  }
  hsa_queue_t* Create(const void* data) {
    hsa_queue_t* hsa = nullptr;
    const hsa_status_t status = g_layer.CreateQueue({1}, 64, HSA_QUEUE_TYPE_MULTI, &OwnCallback,
                                                    const_cast<void*>(data), 0, 0, &hsa);
    if (status != HSA_STATUS_SUCCESS) return nullptr;
    RuntimesQueue& queue = Of(hsa);
    if (const ManagedQueue* managed = g_registry.Find(hsa)) {
      const std::uint32_t known = managed->restricted.kfd.id;
      if (known == queue.id) ++certain;
      if (known != queue.id && known != kUnknownKfdQueueId)
        Fail("a queue has another one's KFD id");
      if (managed->failed != 0) Fail("a new queue counts as stopped");
      if (managed->foreign != 0) Fail("a new queue counts as foreign");
    }
    queue.programs_data = data;  // from now on it may fail
    CheckRelays();
    return hsa;
  }
  void Delete(hsa_queue_t* hsa) {
    if (hsa == nullptr) return;
    g_layer.DestroyQueue(hsa);
    CheckRelays();
  }
  void CheckRelays() {
    for (RuntimesQueue& queue : big->queues) {
      if (!queue.is_there || queue.programs_data == nullptr || queue.callback != &OnQueueError) {
        continue;
      }
      const auto* relay = static_cast<const ErrorRelay*>(queue.data);
      const void* const data = queue.programs_data;
      const bool is_free = relay->in_use == 0;
      // It may have gone while we looked.
      if (!queue.is_there || queue.programs_data != data || queue.data != relay) continue;
      if (is_free) Fail("a queue's place for errors counts as free");
      if (relay->data != data) Fail("a queue's place for errors is another one's");
    }
  }
  // ROCr's thread for all callbacks: takes it off, and says so.
  void Report(RuntimesQueue* queue) {
    if (!queue->is_there || queue->programs_data == nullptr) return;
    queue->in_callback = queue->reported = true;
    driver.entries[queue->id].off = true;
    Explorer::Point();
    queue->callback(kError, queue->hsa(), queue->data);
    ++told;
    queue->in_callback = false;
  }
  void Fail(const char* what) {
    if (Explorer::active != nullptr && wrong.empty()) Explorer::active->Fail(what);
    if (wrong.empty()) wrong = what;
  }

  // When all is quiet: what each entry says of its queue, to the controller, too.
  std::string CheckEntries() {
    if (!wrong.empty()) return wrong;
    if (heard != told) return "an error does not reach the program's callback";
    for (std::uint32_t i = 0; i < kQueues; ++i) {
      const ManagedQueue* managed = g_registry.at(i);
      const QueueSlot& slot = big->pages[controller.joined == 2 ? 1 : 0].queues[i];
      if (managed->live == 0) {
        if (slot.state != kSlotFree && slot.state != kSlotRetired) {
          return "the controller counts a queue that has gone";
        }
        continue;
      }
      const bool stopped = Of(managed->queue).reported;
      if ((managed->failed != 0) != stopped) return "a queue counts as stopped, or does not";
      if (managed->slot != &slot) continue;  // between two sessions
      if (slot.state != (stopped ? kSlotForeign : kSlotLive)) {
        return "the controller counts a queue that ROCr has stopped, or not one that runs";
      }
    }
    return {};
  }
  std::string CheckThatAllIsGivenBack() {
    for (RuntimesQueue& queue : big->queues) {
      if (queue.is_there) g_layer.DestroyQueue(queue.hsa());
    }
    for (const ErrorRelay& relay : g_relays) {
      if (relay.in_use != 0) return "a place for errors is never free again";
    }
    return wrong;
  }
  void Attach() { g_layer.Load({}); }
  explore::Started SessionThread() {
    // As StartThreads starts them: pump, preemptor, session.
    return explore::g_started.at(2);
  }

  static inline LayersWorld* self;
  LayersBig* big;
  explore::MadeUpDriver driver;
  MadeUpController controller;
  UserPage user{};
  int refused_creations = 0, told = 0, heard = 0, certain = 0, ended = 0;
  bool session_ended = false;
  std::string wrong;
};

class ExploreLayerTest : public ExploreTest {
 protected:
  using LayersScenario = std::function<Explorer::Check(Explorer*, std::shared_ptr<LayersWorld>)>;
  void Expect(const LayersScenario& scenario) {
    const auto in_a_world = [&](Explorer* explorer) {
      return scenario(explorer, std::make_shared<LayersWorld>(layers_big_.get()));
    };
    Explore({.preemptions = 1, .executions = 4'000, .store_buffers = GetParam()}, in_a_world);
    Explore({.preemptions = 3, .executions = 8'000, .store_buffers = GetParam(), .seed = 7},
            in_a_world);
  }
  std::unique_ptr<LayersBig> layers_big_ = std::make_unique<LayersBig>();
};

int g_data[8];

// Two threads make and destroy queues at once, the runtime makes one of its own that looks like theirs, and refuses one.
TEST_P(ExploreLayerTest, AQueueHasItsOwnKfdIdOrNone) {
  Expect([](Explorer* explorer, std::shared_ptr<LayersWorld> world) {
    world->refused_creations = 1;
    explorer->Thread("first", [world] {
      for (int i = 0; i < 2; ++i) world->Delete(world->Create(&g_data[i]));
      ++world->ended;
    });
    explorer->Thread("second", [world] {
      for (int i = 2; i < 4; ++i) world->Delete(world->Create(&g_data[i]));
      ++world->ended;
    });
    explorer->Thread("counted", [world] {
      hsa_queue_t* shared = nullptr;
      g_layer.AcquireCounted({1}, HSA_QUEUE_TYPE_MULTI, HSA_AMD_QUEUE_PRIORITY_NORMAL, nullptr,
                             nullptr, 0, &shared);
      ++world->ended;
    });
    return [world]() -> std::string {
      if (world->ended != 3) return "a creation or a destruction does not end";
      const int before = world->certain;
      world->Create(&g_data[4]);
      if (world->certain == before) return "nothing else happens, and the id is not known";
      return world->wrong;
    };
  });
}

// The child has the parent's locks as they were, and its queues: it waits for none, and asks the driver for nothing.
TEST_P(ExploreLayerTest, AForkChildWaitsForNobodyAndTouchesNothing) {
  Expect([](Explorer* explorer, std::shared_ptr<LayersWorld> world) {
    world->Attach();
    hsa_queue_t* const before = world->Create(&g_data[0]);
    explorer->Thread("parent", [world] { world->Delete(world->Create(&g_data[1])); });
    explorer->Thread("child", [=] {
      explorer->ForgetOthers();
      g_layer.AfterForkInChild();
      world->driver.is_silent = true;
      hsa_queue_t* const own = world->Create(&g_data[2]);
      if (g_registry.Find(own) != nullptr) explorer->Fail("a fork child's queue is managed");
      world->Delete(own);
      world->Delete(before);
      g_layer.OpenAll();
      world->ended = 1;
    });
    return [world]() -> std::string {
      if (world->ended != 1) return "a fork child waits for a lock that its parent has";
      return world->controller.left == 1 ? "" : "a fork child keeps its parent's session";
    };
  });
}

// ROCr tells of errors while queues are destroyed, and their addresses and entries are the next ones'. The pool has
// place for three, and a fourth one has its own callback.
TEST_P(ExploreLayerTest, AnErrorIsItsOwnQueuesWhateverComesAndGoes) {
  Expect([](Explorer* explorer, std::shared_ptr<LayersWorld> world) {
    world->Attach();
    hsa_queue_t* const first = world->Create(&g_data[0]);
    hsa_queue_t* const second = world->Create(&g_data[1]);
    explorer->Thread("first", [=] {
      world->Delete(first);
      world->Create(&g_data[2]);
      ++world->ended;
    });
    explorer->Thread("second", [=] {
      world->Delete(second);
      world->Create(&g_data[3]);
      ++world->ended;
    });
    explorer->Thread("rocr", [world] {
      world->Report(&world->big->queues[0]);
      world->Report(&world->big->queues[1]);
      ++world->ended;
    });
    return [world]() -> std::string {
      if (world->ended != 3) return "a creation, a destruction or a callback does not end";
      const std::string wrong = world->CheckEntries();
      return wrong.empty() ? world->CheckThatAllIsGivenBack() : wrong;
    };
  });
}

// More queues than the pool has places: those have the program's own callback, and a place that is free again is used.
TEST_P(ExploreLayerTest, AFullPoolLeavesTheProgramsCallback) {
  Expect([](Explorer* explorer, std::shared_ptr<LayersWorld> world) {
    world->Attach();
    hsa_queue_t* const first = world->Create(&g_data[0]);
    world->Create(&g_data[1]);
    explorer->Thread("first", [=] {
      world->Delete(first);
      world->Create(&g_data[2]);
      ++world->ended;
    });
    explorer->Thread("second", [world] {
      world->Create(&g_data[3]);
      world->Delete(world->Create(&g_data[4]));
      ++world->ended;
    });
    explorer->Thread("rocr", [world] {
      world->Report(&world->big->queues[0]);
      world->Report(&world->big->queues[3]);
      ++world->ended;
    });
    return [world]() -> std::string {
      if (world->ended != 3) return "a creation, a destruction or a callback does not end";
      return world->CheckThatAllIsGivenBack();
    };
  });
}

// Its controller goes and the next one comes just then: what that one is shown of the queue is true.
TEST_P(ExploreLayerTest, AnErrorWhileASessionGoesAndComesIsKnownToTheNext) {
  Expect([](Explorer* explorer, std::shared_ptr<LayersWorld> world) {
    world->Attach();
    world->Create(&g_data[0]);
    const explore::Started session = world->SessionThread();
    explorer->Thread("session", [=] { session.main(session.argument); });
    explorer->Thread("rocr", [=] {
      explorer->WaitUntil([] { return false; }, 1000);
      world->Report(&world->big->queues[0]);
      ++world->ended;
    });
    explorer->Thread("controller", [world] { world->controller.hung_up = true; });
    return [world]() -> std::string {
      if (world->ended != 1) return "the callback does not end";
      if (world->controller.joined != 2) return "the next session does not begin";
      return world->CheckEntries();
    };
  });
}

// The session's thread asks a controller that is stopped, for a quarter of a second; what the program does meanwhile
// waits for nobody.
template <typename Act>
void DoWhileNobodyAnswers(Explorer* explorer, const std::shared_ptr<LayersWorld>& world,
                          const Act& act) {
  world->Create(&g_data[0]);
  world->controller.answers_after_ns = kAnswerTimeoutMs * 1'000'000ull;
  const explore::Started session = world->SessionThread();
  explorer->Thread("session", [=] {
    session.main(session.argument);
    world->session_ended = true;
  });
  explorer->Thread("program", [=] {
    explorer->WaitUntil([] { return false; }, 1000);  // as the session's thread
    const std::uint64_t began_ns = explorer->now_ns();
    act();
    if (explorer->now_ns() - began_ns > kSoonNs) explorer->Fail("it waits for a controller");
    ++world->ended;
  });
}

TEST_P(ExploreLayerTest, NobodyWaitsForAControllerThatDoesNotAnswer) {
  Expect([](Explorer* explorer, std::shared_ptr<LayersWorld> world) {
    DoWhileNobodyAnswers(explorer, world, [=] { world->Delete(world->Create(&g_data[1])); });
    return [world]() -> std::string {
      if (world->ended != 1 || world->controller.joined != 1) return "the session does not begin";
      return world->CheckEntries();
    };
  });
}

// What is answered after the program's end is given back.
TEST_P(ExploreLayerTest, AnEndDoesNotWaitForAControllerThatDoesNotAnswer) {
  Expect([](Explorer* explorer, std::shared_ptr<LayersWorld> world) {
    DoWhileNobodyAnswers(explorer, world, [] { g_layer.OpenAll(); });
    return [world]() -> std::string {
      if (world->ended != 1) return "an end does not end";
      if (!world->session_ended) return "the session's thread does not end";
      return world->controller.joined == world->controller.left ? "" : "a session stays open";
    };
  });
}

INSTANTIATE_TEST_SUITE_P(Memory, ExploreLayerTest, testing::Bool(), NameOf);

}  // namespace
}  // namespace xsched_hsa

// explore_world.h: what the explorer's scenarios are made of: a queue with its ring, pump and pages; an urgent one
// beside it; how often each is tried.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "explored_sources.h"

namespace xsched_hsa {

using explore::Explorer;

constexpr std::uint32_t kUrgent = kPriorityHigh + 1;
constexpr std::uint64_t kSoonNs = 1'000'000;  // less than any lease: nobody had to wait for one

inline std::uint64_t VirtualNow() {
  return Explorer::active != nullptr ? Explorer::active->now_ns() : 0;
}

// What is too big to be made anew for each of a hundred thousand executions.
struct Big {
  QueueRegistry registry;
  ProcessPage pages[2];
  QueueSlot detached{};
  KernelTimes times;
};

struct World {
  World(Big* shared, std::uint32_t mode, std::uint64_t packets = 4) : big(shared), ring(packets) {
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
  TestRing ring;
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
  // In a world of its own, whose Start adds what is in every scenario of it.
  template <typename Own>
  void ExpectIn(const std::function<Explorer::Check(Explorer*, std::shared_ptr<Own>)>& scenario) {
    ExpectAlways([&](Explorer* explorer) {
      auto world = std::make_shared<Own>(big_.get());
      Own::Start(explorer, world);
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
    const auto result = Explorer::Explore(limits, [&](Explorer* explorer) {
      explore::g_mutexes.clear();
      return scenario(explorer);
    });
    std::printf("%lu interleavings with at most %d preemptions%s\n", result.executions,
                limits.preemptions, result.complete ? ": all there are" : "");
    EXPECT_EQ(result.failure, "") << "in interleaving " << result.executions;
    EXPECT_TRUE(result.complete || result.executions > 500u);
  }
  std::unique_ptr<Big> big_ = std::make_unique<Big>();
};

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

  static void Start(Explorer* explorer, const std::shared_ptr<Rivals>& rivals) {
    explorer->Thread("pump", [rivals] { rivals->world.pump.Run(); });
  }

  World world;
  TestRing high_ring{4};
  ManagedQueue* queues[2];
  amd_signal_t signal{};
  std::uint64_t ended_ns[2] = {};
  bool over = false;
};

using ExploreRivalsTest = ExploreTest;

inline std::string NameOf(const testing::TestParamInfo<bool>& one) {
  return one.param ? "StoreBuffers" : "Sequential";
}

}  // namespace xsched_hsa

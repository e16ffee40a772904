// Producers, a pump, a packet processor and a controller at once: every packet once and in order,
// whatever the interleaving. Seeds come from XSCHED_HSA_TEST_SEED and are printed.
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "clock.h"
#include "test_ring.h"
#include "window_gate.h"

namespace xsched_hsa {
namespace {

constexpr std::uint32_t kHighLevel = kPriorityHigh + 1;

std::uint64_t Seed() {
  const char* text = std::getenv("XSCHED_HSA_TEST_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device{}();
}

struct StressCase {
  const char* name;
  std::uint64_t ring;
  int producers;
  std::uint64_t packets_each;
  bool at_once = false;  // the real index without the API's functions
};

class GateStressTest : public testing::TestWithParam<StressCase> {};

// Reserves, waits for room, writes in its own time and rings, as several threads of a program do.
void Produce(TestRing* ring, WindowGate* gate, std::uint64_t ring_packets, std::uint64_t producer,
             std::uint64_t packets, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (std::uint64_t sent = 0; sent < packets;) {
    const std::uint64_t batch = std::min<std::uint64_t>(1 + random() % 4, packets - sent);
    const std::uint64_t first = ring->Reserve(batch);
    while (first + batch - ring->taken() > ring_packets) {
      GateLook look;
      gate->Look(ring->queue(), &look);
      sched_yield();
    }
    for (std::uint64_t i = batch; i-- > 0;) {
      ring->Write(first + i, 1 + random() % 3, producer << 48 | (sent + i));
      if (random() % 64 == 0) sched_yield();
    }
    for (std::uint64_t i = 0; i < batch; ++i) gate->Doorbell(ring->queue(), first + i + 1);
    sent += batch;
  }
}

// The controller's half: arms, disarms, raises, lowers, all at random.
void Disturb(TestRing* ring, const std::atomic<bool>* stop, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uint32_t epoch = 1;
  while (!stop->load()) {
    const std::uint64_t what = random() % 6;
    ring->slot().window_us = what % 2 == 0 ? 1 : 300;
    ring->slot().mode = what == 0 ? 0u : std::uint32_t{kModeArmed};
    ring->urgency().lease_until_us = NowUs() + 200;
    ring->urgency().word = UrgencyWord(++epoch, what >= 3 ? kHighLevel : 0u);
    const timespec time{0, static_cast<long>(random() % 50'000)};
    nanosleep(&time, nullptr);
  }
  ring->slot().mode = 0;
}

TEST_P(GateStressTest, EveryPacketOnceAndInItsProducersOrder) {
  const StressCase& c = GetParam();
  const std::uint64_t seed = Seed();
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE("XSCHED_HSA_TEST_SEED=" + std::to_string(seed));
  TestRing ring(c.ring);
  if (c.at_once) ring.queue()->real_index = ring.real_index();
  KernelTimes times;
  WindowGate gate(TestRing::Api(), &times);
  std::atomic<bool> stop{false};
  std::thread disturber(Disturb, &ring, &stop, seed);
  std::thread pump([&] {
    while (!stop.load()) {
      GateLook look;
      gate.Look(ring.queue(), &look);
      sched_yield();
    }
  });
  std::vector<std::thread> producers;
  for (int p = 0; p < c.producers; ++p) {
    producers.emplace_back(Produce, &ring, &gate, c.ring, p, c.packets_each, seed + 1 + p);
  }
  // A producer's batches are reserved in order, so its packets must be taken in order.
  std::vector<std::uint64_t> next(c.producers, 0);
  const std::uint64_t total = c.packets_each * c.producers;
  const std::uint64_t give_up_us = NowUs() + 50'000'000;
  std::uint64_t taken = 0, tag = 0, out_of_order = 0;
  while (taken < total && NowUs() < give_up_us) {
    if (!ring.Take(&tag)) {
      sched_yield();
      continue;
    }
    const std::uint64_t producer = tag >> 48;
    ASSERT_LT(producer, next.size());
    if ((tag & 0xffffffffffff) != next[producer]++) ++out_of_order;
    ++taken;
  }
  EXPECT_EQ(taken, total) << "lost, or stuck behind a gate that nobody opens";
  EXPECT_EQ(out_of_order, 0u);
  stop = true;
  for (std::thread& thread : producers) {
    if (taken == total)
      thread.join();
    else
      thread.detach();
  }
  disturber.join();
  pump.join();
  if (taken != total) std::_Exit(1);  // producers still spin on this stack
  EXPECT_FALSE(ring.Take(&tag)) << "a packet ran twice";
}

INSTANTIATE_TEST_SUITE_P(Rings, GateStressTest,
                         testing::Values(StressCase{"Ring64One", 64, 1, 100'000},
                                         StressCase{"Ring64Four", 64, 4, 25'000},
                                         StressCase{"Ring1024Four", 1024, 4, 25'000},
                                         StressCase{"Ring4Two", 4, 2, 10'000},
                                         StressCase{"Ring64FourAtOnce", 64, 4, 25'000, true},
                                         StressCase{"Ring4TwoAtOnce", 4, 2, 10'000, true}),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace xsched_hsa

// Chains of waiting queues over a strict controller and a device in plain memory: what would deadlock ends.
//
// Nothing else helps here: leases are always renewed, nobody ages, and there is no time but the test's own. On
// the real runtime a starved controller's leases lapse, and the fail-open hides what is tried
// (tests/dependency_test.cc).
#include <gtest/gtest.h>
#include <hsa/amd_hsa_signal.h>
#include <hsa/hsa_ext_amd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "clock.h"
#include "pump.h"
#include "test_ring.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

std::uint64_t g_now = 0;

struct Signal {
  explicit Signal(std::int64_t value) { body.value = value; }
  std::uint64_t handle() const { return reinterpret_cast<std::uint64_t>(&body); }
  amd_signal_t body{};
};

std::int64_t& ValueOf(std::uint64_t handle) {
  auto* body = reinterpret_cast<amd_signal_t*>(handle);
  return *const_cast<std::int64_t*>(reinterpret_cast<volatile std::int64_t*>(&body->value));
}

class WaitingQueuesTest : public testing::Test {
 protected:
  WaitingQueuesTest() {
    g_now = 1'000'000'000;
    g_now_ns = [] { return g_now; };
    pump_.SetSession(page_.get(), {});
    urgency_ = FindUrgency(user_.get(), 7);
  }
  ~WaitingQueuesTest() override { g_now_ns = &SteadyNs; }

  void MakeQueues(const std::vector<std::int32_t>& ranks) {
    const auto [lowest, highest] = std::minmax_element(ranks.begin(), ranks.end());
    for (const std::int32_t rank : ranks) {
      rings_.push_back(std::make_unique<TestRing>(64));
      ManagedQueue* queue = registry_.Take([](std::uint32_t) { return true; });
      rings_.back()->LendTo(queue);
      QueueSlot* slot = &page_->queues[queue->index];
      slot->priority = -1;
      slot->window_us = 200;
      slot->linger_us = 250;
      slot->mode = (rank < *highest ? std::uint32_t{kModeArmed} : 0u) |
                   (rank > *lowest ? std::uint32_t{kModeRaise} : 0u);
      queue->requested_priority = rank;
      queue->slot = slot;
      queue->urgency = urgency_;
      queue->user_page = user_.get();
      registry_.Insert(queue);
      queue->live = 1;
      queues_.push_back(queue);
    }
  }
  Signal* MakeSignal(std::int64_t value) {
    signals_.push_back(std::make_unique<Signal>(value));
    return signals_.back().get();
  }

  // A packet of 64 bytes that was filled in but for its header.
  template <typename Packet>
  void Put(std::size_t at, Packet packet, std::uint16_t type) {
    static_assert(sizeof(packet) == 64);
    ManagedQueue* queue = queues_[at];
    const std::uint64_t index = queue->reserved_index.fetch_add(1);
    unsigned char* slot = queue->ring + (index & 63) * 64;
    std::memcpy(slot + 2, reinterpret_cast<const unsigned char*>(&packet) + 2, 62);
    __atomic_store_n(reinterpret_cast<std::uint16_t*>(slot), type, __ATOMIC_RELEASE);
    gate_.Doorbell(queue, index + 1);
  }
  template <typename Packet>
  void Submit(std::size_t at, const Packet& packet, std::uint16_t type) {
    Put(at, packet, type);
    for (int i = 0; i < 20; ++i) Step();
  }
  static hsa_kernel_dispatch_packet_t Kernel(const Signal* completes) {
    hsa_kernel_dispatch_packet_t packet{};
    packet.kernel_object = 1;
    packet.completion_signal.handle = completes->handle();
    return packet;
  }
  void SubmitKernel(std::size_t at, const Signal* completes) {
    Submit(at, Kernel(completes), HSA_PACKET_TYPE_KERNEL_DISPATCH);
  }
  void SubmitBarrier(std::size_t at, std::uint16_t type, const std::vector<Signal*>& waits_for,
                     const Signal* completes) {
    hsa_barrier_and_packet_t packet{};
    for (std::size_t i = 0; i < waits_for.size(); ++i)
      packet.dep_signal[i].handle = waits_for[i]->handle();
    packet.completion_signal.handle = completes->handle();
    Submit(at, packet, type);
  }

  // The packet processor's own view of a head; not the code that is tested.
  static bool IsMet(const unsigned char* bytes) {
    hsa_barrier_and_packet_t barrier;
    std::memcpy(&barrier, bytes, sizeof(barrier));
    const int type = barrier.header & 0xff;
    if (type == HSA_PACKET_TYPE_KERNEL_DISPATCH) return true;
    if (type == HSA_PACKET_TYPE_VENDOR_SPECIFIC) {
      hsa_amd_barrier_value_packet_t value;
      std::memcpy(&value, bytes, sizeof(value));
      return ValueOf(value.signal.handle) < value.value;
    }
    int given = 0, fired = 0;
    for (const hsa_signal_t& signal : barrier.dep_signal) {
      given += signal.handle != 0 ? 1 : 0;
      fired += signal.handle != 0 && ValueOf(signal.handle) == 0 ? 1 : 0;
    }
    return type == HSA_PACKET_TYPE_BARRIER_OR ? fired > 0 : fired == given;
  }
  // One packet of each queue, the pump's look, the controller's, 100 us.
  void Step() {
    g_now += 100'000;
    for (const auto& ring : rings_) {
      if (ring->taken() >= ring->published()) continue;
      const unsigned char* head = ring->queue()->ring + (ring->taken() & 63) * 64;
      if (!IsMet(head)) continue;
      std::uint64_t completes, tag;
      std::memcpy(&completes, head + 56, sizeof(completes));
      if (ring->Take(&tag)) --ValueOf(completes);
    }
    if (host_) host_();
    pump_.Round();
    std::uint32_t level = 0;
    for (const ManagedQueue* queue : queues_) {
      const QueueSlot& slot = *queue->slot.load();
      if (slot.active == 0 || (slot.mode & kModeRaise) == 0) continue;
      level = std::max(level, static_cast<std::uint32_t>(queue->requested_priority + 1));
    }
    const std::uint64_t word = urgency_->word;
    if (LevelOf(word) != level) urgency_->word = UrgencyWord(EpochOf(word) + 1, level);
    urgency_->acked_epoch = EpochOf(urgency_->word);
    urgency_->lease_until_us = NowUs() + kLeaseUs;
  }
  // A minute of it is for ever.
  void ExpectEnds(const Signal* last) {
    for (int i = 0; i < 600'000 && last->body.value != 0; ++i) Step();
    EXPECT_EQ(last->body.value, 0) << "a deadlock";
  }
  // Each waits for the next one, and all but the last have submitted before it.
  void RunChain(const std::vector<std::int32_t>& ranks) {
    MakeQueues(ranks);
    std::vector<Signal*> done;
    for (std::size_t i = 0; i < ranks.size(); ++i) done.push_back(MakeSignal(1));
    for (std::size_t i = 0; i + 1 < ranks.size(); ++i)
      SubmitBarrier(i, HSA_PACKET_TYPE_BARRIER_AND, {done[i + 1]}, done[i]);
    SubmitKernel(ranks.size() - 1, done.back());
    ExpectEnds(done[0]);
  }

  std::unique_ptr<ProcessPage> page_ = std::make_unique<ProcessPage>();
  std::unique_ptr<UserPage> user_ = std::make_unique<UserPage>();
  std::vector<std::unique_ptr<TestRing>> rings_;
  std::vector<std::unique_ptr<Signal>> signals_;
  std::vector<ManagedQueue*> queues_;
  std::function<void()> host_;
  GpuUrgency* urgency_ = nullptr;
  KernelTimes times_{};
  QueueRegistry registry_;
  WindowGate gate_{TestRing::Api(), &times_};
  Pump pump_{&registry_, &gate_};
};

TEST_F(WaitingQueuesTest, HighBehindLowEnds) { RunChain({15, 0}); }
TEST_F(WaitingQueuesTest, ChainOverThreeRanksEnds) { RunChain({15, 7, 0}); }
TEST_F(WaitingQueuesTest, ChainThroughTheLowestEnds) { RunChain({15, 0, 7, 0}); }
TEST_F(WaitingQueuesTest, ChainThatDoublesBackEnds) { RunChain({7, 15, 0, 15, 0}); }

TEST_F(WaitingQueuesTest, DiamondEnds) {
  MakeQueues({15, 0, 7, 0});
  Signal* const done[] = {MakeSignal(1), MakeSignal(1), MakeSignal(1), MakeSignal(1)};
  SubmitBarrier(0, HSA_PACKET_TYPE_BARRIER_AND, {done[1], done[2]}, done[0]);
  SubmitBarrier(1, HSA_PACKET_TYPE_BARRIER_AND, {done[3]}, done[1]);
  SubmitBarrier(2, HSA_PACKET_TYPE_BARRIER_AND, {done[3]}, done[2]);
  SubmitKernel(3, done[3]);
  ExpectEnds(done[0]);
}

TEST_F(WaitingQueuesTest, BarrierOrEnds) {
  MakeQueues({15, 0});
  Signal *const done = MakeSignal(1), *const before = MakeSignal(1);
  SubmitBarrier(0, HSA_PACKET_TYPE_BARRIER_OR, {MakeSignal(1), before}, done);
  SubmitKernel(1, before);
  ExpectEnds(done);
}

TEST_F(WaitingQueuesTest, BarrierValueEnds) {
  MakeQueues({15, 0});
  Signal *const done = MakeSignal(1), *const before = MakeSignal(3);
  hsa_amd_barrier_value_packet_t packet{};
  packet.header.AmdFormat = HSA_AMD_PACKET_TYPE_BARRIER_VALUE;
  packet.signal.handle = before->handle();
  packet.mask = -1;
  packet.cond = HSA_SIGNAL_CONDITION_LT;
  packet.value = 1;
  packet.completion_signal.handle = done->handle();
  Submit(0, packet, HSA_PACKET_TYPE_VENDOR_SPECIFIC);
  for (int i = 0; i < 3; ++i) SubmitKernel(1, before);
  ExpectEnds(done);
}

// A host thread in between: it waits for the low queue and then lets the high one go.
TEST_F(WaitingQueuesTest, HighBehindAHostThatWaitsForLowEnds) {
  MakeQueues({15, 0});
  Signal *const done = MakeSignal(1), *const before = MakeSignal(1), *const latch = MakeSignal(1);
  host_ = [&] {
    if (before->body.value == 0) latch->body.value = 0;
  };
  SubmitBarrier(0, HSA_PACKET_TYPE_BARRIER_AND, {latch}, done);
  SubmitKernel(1, before);
  ExpectEnds(done);
}

// Nobody waits: then the low one is held for as long as the high one has work, or these tests would show nothing.
TEST_F(WaitingQueuesTest, WithoutADependencyLowIsHeldForAsLongAsItTakes) {
  MakeQueues({15, 0});
  Signal *const done = MakeSignal(1'000'000), *const low = MakeSignal(1);
  host_ = [&] { Put(0, Kernel(done), HSA_PACKET_TYPE_KERNEL_DISPATCH); };
  Step();
  SubmitKernel(1, low);
  for (int i = 0; i < 100'000; ++i) Step();
  EXPECT_EQ(low->body.value, 1);
  host_ = nullptr;
  ExpectEnds(low);
}

}  // namespace
}  // namespace xsched_hsa

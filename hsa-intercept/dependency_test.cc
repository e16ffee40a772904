#include "dependency.h"

#include <gtest/gtest.h>
#include <hsa/amd_hsa_signal.h>
#include <hsa/hsa_ext_amd.h>
#include <sys/mman.h>

#include <cstring>

#include "test_ring.h"

namespace xsched_hsa {
namespace {

struct Signal {
  explicit Signal(std::int64_t value) { body.value = value; }
  std::uint64_t handle() const { return reinterpret_cast<std::uint64_t>(&body); }
  amd_signal_t body{};
};

class DependenciesTest : public testing::Test {
 protected:
  Dependencies Of(std::uint16_t type, const std::vector<std::uint64_t>& signals) {
    hsa_barrier_and_packet_t packet{};
    packet.header = type;
    for (std::size_t i = 0; i < signals.size(); ++i) packet.dep_signal[i].handle = signals[i];
    unsigned char bytes[64];
    std::memcpy(bytes, &packet, sizeof(bytes));
    return UnmetDependencies(bytes, &reader_);
  }
  SafeReader reader_;
  Signal open_{1}, fired_{0};
};

TEST_F(DependenciesTest, BarrierAndWaitsForEachSignalThatIsNotZero) {
  const Dependencies unmet =
      Of(HSA_PACKET_TYPE_BARRIER_AND, {fired_.handle(), open_.handle(), 0, open_.handle()});
  ASSERT_EQ(unmet.count, 2);
  EXPECT_EQ(unmet.signals[0], open_.handle());
  EXPECT_EQ(Of(HSA_PACKET_TYPE_BARRIER_AND, {fired_.handle()}).count, 0);
  EXPECT_EQ(Of(HSA_PACKET_TYPE_BARRIER_AND, {}).count, 0);
}

TEST_F(DependenciesTest, BarrierOrNeedsOnlyOne) {
  EXPECT_EQ(Of(HSA_PACKET_TYPE_BARRIER_OR, {open_.handle(), fired_.handle()}).count, 0);
  EXPECT_EQ(Of(HSA_PACKET_TYPE_BARRIER_OR, {open_.handle(), open_.handle()}).count, 2);
}

TEST_F(DependenciesTest, KernelsAndClearedSlotsWaitForNothing) {
  EXPECT_EQ(Of(HSA_PACKET_TYPE_KERNEL_DISPATCH, {open_.handle()}).count, 0);
  EXPECT_EQ(Of(HSA_PACKET_TYPE_INVALID, {open_.handle()}).count, 0);
}

TEST_F(DependenciesTest, BarrierValueComparesUnderItsMask) {
  hsa_amd_barrier_value_packet_t packet{};
  packet.header.header = HSA_PACKET_TYPE_VENDOR_SPECIFIC;
  packet.header.AmdFormat = HSA_AMD_PACKET_TYPE_BARRIER_VALUE;
  Signal signal(0x15);
  packet.signal.handle = signal.handle();
  packet.mask = 0x0f;
  const auto waits = [&](hsa_signal_condition32_t condition, std::int64_t value) {
    packet.cond = condition;
    packet.value = value;
    unsigned char bytes[64];
    std::memcpy(bytes, &packet, sizeof(bytes));
    return UnmetDependencies(bytes, &reader_).count == 1;
  };
  EXPECT_FALSE(waits(HSA_SIGNAL_CONDITION_EQ, 5));
  EXPECT_TRUE(waits(HSA_SIGNAL_CONDITION_EQ, 0x15));
  EXPECT_TRUE(waits(HSA_SIGNAL_CONDITION_NE, 5));
  EXPECT_TRUE(waits(HSA_SIGNAL_CONDITION_LT, 5));
  EXPECT_FALSE(waits(HSA_SIGNAL_CONDITION_LT, 6));
  EXPECT_FALSE(waits(HSA_SIGNAL_CONDITION_GTE, 5));
  EXPECT_TRUE(waits(HSA_SIGNAL_CONDITION_GTE, 6));
  packet.header.AmdFormat = HSA_AMD_PACKET_TYPE_BARRIER_VALUE + 1;
  EXPECT_FALSE(waits(HSA_SIGNAL_CONDITION_EQ, 0x15)) << "another vendor packet";
}

TEST_F(DependenciesTest, ASignalWhoseMemoryHasGoneIsNoFault) {
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const auto gone = reinterpret_cast<std::uint64_t>(page);
  munmap(page, 4096);
  EXPECT_EQ(Of(HSA_PACKET_TYPE_BARRIER_AND, {gone}).count, 0);
  EXPECT_EQ(Of(HSA_PACKET_TYPE_BARRIER_AND, {gone, open_.handle()}).count, 1) << "reads on";
}

TEST(MayCompleteTest, FindsTheCompletionSignalAmongUnfinishedPacketsOnly) {
  TestRing ring(16);
  KernelTimes times;
  WindowGate gate(TestRing::Api(), &times);
  const auto submit = [&](std::uint64_t completion) {
    const std::uint64_t index = ring.Reserve(1);
    ring.Write(index, 1);
    std::memcpy(ring.queue()->ring + (index % 16) * 64 + 56, &completion, sizeof(completion));
    gate.Doorbell(ring.queue(), index + 1);
  };
  EXPECT_FALSE(MayComplete(gate, *ring.queue(), 77));
  submit(5);
  submit(77);
  EXPECT_TRUE(MayComplete(gate, *ring.queue(), 77));
  EXPECT_FALSE(MayComplete(gate, *ring.queue(), 78));
  for (std::uint64_t tag = 0; ring.taken() < 2;) ring.Take(&tag);
  EXPECT_FALSE(MayComplete(gate, *ring.queue(), 77)) << "nothing there to complete it";
  ring.slot().restriction = kSuspended;
  EXPECT_TRUE(MayComplete(gate, *ring.queue(), 77)) << "taken, but off the hardware";
}

}  // namespace
}  // namespace xsched_hsa

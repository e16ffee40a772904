// The intercept gate over a made-up intercept queue that does what ROCr's does, at the points where
// versions differ: one packet a call or all at once, and a real ring that must not overflow.
#include "intercept_gate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "test_ring.h"
#include "window_gate.h"

namespace xsched_hsa {
namespace {

constexpr std::uint64_t kPackets = 64;

// The proxy is a TestRing; behind it stands the real ring, which a test drains by hand.
class FakeIntercept {
 public:
  explicit FakeIntercept(std::uint64_t slots_each = InterceptGate::kSlotsEach) : proxy(kPackets) {
    self = this;
    api = TestRing::Api();
    api.signal_create = [](hsa_signal_value_t, std::uint32_t consumers, const hsa_agent_t*,
                           hsa_signal_t* signal) {
      EXPECT_EQ(consumers, 1u) << "without a consumer it would be a signal with an interrupt";
      signal->handle = 0x1234;
      return HSA_STATUS_SUCCESS;
    };
    api.signal_destroy = [](hsa_signal_t) { return ++self->signals_destroyed, HSA_STATUS_SUCCESS; };
    api.signal_load_scacquire = [](hsa_signal_t) -> hsa_signal_value_t { return -self->marks; };
    api.queue_intercept_register = [](hsa_queue_t*, hsa_amd_queue_intercept_handler with,
                                      void* its) {
      self->handler = with;
      self->data = its;
      return self->refuse ? HSA_STATUS_ERROR : HSA_STATUS_SUCCESS;
    };
    api.add_write_index_scacq_screl = [](const hsa_queue_t*, std::uint64_t count) {
      const std::uint64_t at = self->proxy.published();
      self->proxy.PublishPastTheApi(at + count);
      return at;
    };
    // ROCr's doorbell: passes on every packet up to the proxy's write index, then its read index.
    api.signal_store_screlease = [](hsa_signal_t, hsa_signal_value_t) { self->Ring(); };
    gate.reset(InterceptGate::Make(api, {7}, proxy.queue()->queue, slots_each));
    proxy.queue()->intercept = gate.get();
  }

  void Ring() {
    std::vector<unsigned char> copy;
    std::uint64_t first = proxy.taken();
    std::uint64_t tag;
    std::uint64_t count = 0;
    while (true) {
      const std::uint64_t at = proxy.taken();
      unsigned char packet[64];
      std::memcpy(packet, proxy.queue()->ring + (at & (kPackets - 1)) * 64, 64);
      if (!proxy.Take(&tag)) break;
      copy.insert(copy.end(), packet, packet + 64);
      ++count;
      if (!batched) {
        Call(copy.data(), 1, at);
        copy.clear();
      }
    }
    if (batched && count != 0) Call(copy.data(), count, first);
  }
  void Call(const unsigned char* packets, std::uint64_t count, std::uint64_t index) {
    writes_in_call = 0;
    handler(packets, count, index, data, [](const void* out, std::uint64_t n) {
      EXPECT_EQ(++self->writes_in_call, 1) << "ROCr up to 5.7 survives one writer call only";
      const auto* bytes = static_cast<const unsigned char*>(out);
      for (std::uint64_t i = 0; i < n; ++i) {
        self->real.emplace_back(bytes + i * 64, bytes + (i + 1) * 64);
      }
      EXPECT_LT(self->real.size() - self->drained, kPackets) << "ROCr's ring overflows";
    });
  }
  // The packet processor takes up to `count` slots of the real ring; tags of packets that are not marks.
  void Drain(std::size_t count) {
    for (; count != 0 && drained < real.size(); --count, ++drained) {
      std::uint64_t tag, completes;
      std::memcpy(&completes, real[drained].data() + 56, 8);
      std::memcpy(&tag, real[drained].data() + offsetof(hsa_kernel_dispatch_packet_t, reserved2),
                  8);
      if (completes == 0x1234) {
        ++marks;
      } else {
        tags.push_back(tag);
      }
    }
  }

  struct Free {
    void operator()(InterceptGate* g) const { g->Free(); }
  };
  static inline FakeIntercept* self;
  TestRing proxy;
  RealApi api;
  hsa_amd_queue_intercept_handler handler = nullptr;
  void* data = nullptr;
  bool batched = false, refuse = false;
  int writes_in_call = 0, signals_destroyed = 0;
  std::int64_t marks = 0;
  std::vector<std::vector<unsigned char>> real;
  std::size_t drained = 0;
  std::vector<std::uint64_t> tags;
  std::unique_ptr<InterceptGate, Free> gate;
};

class InterceptGateTest : public testing::TestWithParam<bool> {
 protected:
  InterceptGateTest() : gate_(fake_.api, &times_) { fake_.batched = GetParam(); }
  void Submit(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t at = fake_.proxy.Reserve(1);
      fake_.proxy.Write(at, 0x100, at);
      gate_.Doorbell(fake_.proxy.queue(), at + 1);
    }
  }
  GateLook Look() {
    GateLook look;
    EXPECT_TRUE(gate_.Look(fake_.proxy.queue(), &look));
    return look;
  }
  void ExpectInOrder(std::uint64_t count) {
    ASSERT_EQ(fake_.tags.size(), count);
    for (std::uint64_t i = 0; i < count; ++i) EXPECT_EQ(fake_.tags[i], i);
  }
  KernelTimes times_;
  FakeIntercept fake_;
  WindowGate gate_;
};

TEST_P(InterceptGateTest, NeverOverflowsTheRealRingAndLosesNothing) {
  Submit(kPackets);
  EXPECT_TRUE(Look().backlog) << "a full real ring is a backlog, though nobody holds the queue";
  EXPECT_NE(Look().poll_ns, 0u) << "nobody else would pass on the rest";
  for (int i = 0; i < 200 && fake_.tags.size() < kPackets; ++i) {
    fake_.Drain(3);
    Look();
  }
  ExpectInOrder(kPackets);
  EXPECT_FALSE(Look().backlog);
  EXPECT_FALSE(gate_.HasUnfinished(*fake_.proxy.queue()));
}

TEST_P(InterceptGateTest, ReadIndexIsWhatHardwareTookNotWhatWasPassedOn) {
  Submit(10);
  EXPECT_EQ(fake_.proxy.taken(), 10u);
  EXPECT_EQ(gate_.Taken(*fake_.proxy.queue()), 0u);
  fake_.Drain(100);
  EXPECT_EQ(gate_.Taken(*fake_.proxy.queue()), 10u);
}

TEST_P(InterceptGateTest, HoldsInTheProgramsOwnRingAndReleasesInOrder) {
  fake_.proxy.slot().mode = kModeArmed;
  fake_.proxy.slot().hold = 1;
  fake_.proxy.slot().hold_lease_until_us = UINT64_MAX;
  Submit(20);
  EXPECT_TRUE(fake_.real.empty());
  EXPECT_EQ(fake_.proxy.slot().packets_held, 20u);
  fake_.proxy.slot().hold = 0;
  Look();
  for (int i = 0; i < 50; ++i) {
    fake_.Drain(4);
    Look();
  }
  ExpectInOrder(20);
}

TEST_P(InterceptGateTest, PacketsStayReadableUntilHardwareHasTakenThem) {
  Submit(3);
  for (std::uint64_t i = 0; i < 3; ++i) {
    hsa_kernel_dispatch_packet_t packet;
    std::memcpy(&packet, gate_.PacketAt(*fake_.proxy.queue(), i), sizeof(packet));
    EXPECT_EQ(packet.header & 0xff, HSA_PACKET_TYPE_KERNEL_DISPATCH);
    EXPECT_EQ(packet.reserved2, i);
  }
}

// Vendor packets (PM4, barrier-value, another tool's) and reserved words of all others mean something to
// somebody: every bit goes on as it was, also of what was stored meanwhile.
TEST_P(InterceptGateTest, EveryBitOfEveryTypeOfPacketIsPassedOn) {
  std::vector<std::vector<unsigned char>> packets;
  for (std::uint64_t i = 0; i < kPackets; ++i) {
    constexpr unsigned char kTypes[] = {
        HSA_PACKET_TYPE_VENDOR_SPECIFIC, HSA_PACKET_TYPE_KERNEL_DISPATCH,
        HSA_PACKET_TYPE_BARRIER_AND,     HSA_PACKET_TYPE_AGENT_DISPATCH,
        HSA_PACKET_TYPE_BARRIER_OR,      0x55};
    std::vector<unsigned char> packet(64);
    for (std::size_t byte = 0; byte < 64; ++byte)
      packet[byte] = static_cast<unsigned char>(37 * i + 11 * byte + 5);
    packet[0] = kTypes[i % std::size(kTypes)];
    std::memcpy(fake_.proxy.queue()->ring + i * 64, packet.data(), 64);
    packets.push_back(packet);
  }
  fake_.proxy.PublishPastTheApi(kPackets);  // more than fits: a part is stored
  fake_.Ring();
  ASSERT_TRUE(fake_.gate->HasStored());
  testing::internal::CaptureStderr();
  std::vector<std::vector<unsigned char>> seen;
  for (int i = 0; i < 500 && seen.size() < kPackets; ++i) {
    fake_.Drain(5);
    Look();
    seen.clear();
    for (const auto& packet : fake_.real) {
      std::uint64_t completes;
      std::memcpy(&completes, packet.data() + 56, 8);
      if (completes != 0x1234) seen.push_back(packet);
    }
  }
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(seen, packets);
}

// A program that moves the proxy's index itself is not held, but ROCr's ring must not overflow
// either, and nothing may be lost over many laps.
TEST_P(InterceptGateTest, ForeignProgramOfManyLapsOverflowsNothing) {
  std::uint64_t next = 0;
  constexpr std::uint64_t kAll = 1000;
  testing::internal::CaptureStderr();
  for (int i = 0; i < 20000 && fake_.tags.size() < kAll; ++i) {
    while (next < kAll && fake_.proxy.published() - fake_.proxy.taken() < kPackets) {
      const std::uint64_t at = fake_.proxy.published();
      fake_.proxy.PublishPastTheApi(at + 1);
      fake_.proxy.Write(at, 0x100, next++);
      gate_.Doorbell(fake_.proxy.queue(), at + 1);
    }
    fake_.Drain(i % 3);
    Look();
  }
  EXPECT_NE(testing::internal::GetCapturedStderr().find("past the HSA API"), std::string::npos);
  EXPECT_EQ(fake_.proxy.slot().state, kSlotForeign);
  ExpectInOrder(kAll);
}

// More than fits at once, without us having been asked: stored, and passed on by a kick.
TEST_P(InterceptGateTest, StoresWhatRocrPassesUnaskedAndKicksItOut) {
  for (std::uint64_t i = 0; i < kPackets; ++i) {
    fake_.proxy.PublishPastTheApi(i + 1);
    fake_.proxy.Write(i, 0x100, i);
  }
  fake_.Ring();
  EXPECT_TRUE(fake_.gate->HasStored());
  testing::internal::CaptureStderr();
  for (int i = 0; i < 500 && fake_.tags.size() < kPackets; ++i) {
    fake_.Drain(5);
    Look();
  }
  testing::internal::GetCapturedStderr();
  ExpectInOrder(kPackets);
  EXPECT_FALSE(fake_.gate->HasStored());
}

// Whoever is called after us puts packets of its own into the same real ring.
TEST(InterceptGateBesideAToolTest, LeavesRoomForWhatTheToolAdds) {
  KernelTimes times;
  FakeIntercept fake(InterceptGate::kSlotsEachWithATool);
  WindowGate gate(fake.api, &times);
  for (std::uint64_t i = 0; i < kPackets; ++i) {
    const std::uint64_t at = fake.proxy.Reserve(1);
    fake.proxy.Write(at, 0x100, at);
    gate.Doorbell(fake.proxy.queue(), at + 1);
  }
  std::size_t most = 0;
  for (int i = 0; i < 500 && fake.tags.size() < kPackets; ++i) {
    GateLook look;
    gate.Look(fake.proxy.queue(), &look);
    most = std::max(most, fake.real.size() - fake.drained);
    fake.Drain(1);
  }
  EXPECT_EQ(fake.tags.size(), kPackets);
  EXPECT_GE(most, 2u);
  // Half of what is with the hardware are packets; each may take so many slots.
  EXPECT_LE(most / 2 * InterceptGate::kSlotsEachWithATool, kPackets);
}

TEST(InterceptGateBesideAToolTest, OneThatNobodyLooksAfterPassesOnWhatComesAsItComes) {
  FakeIntercept fake;
  fake.gate->Abandon();
  for (std::uint64_t i = 0; i < kPackets - 1; ++i) {
    fake.proxy.PublishPastTheApi(i + 1);
    fake.proxy.Write(i, 0x100, i);
  }
  fake.Ring();
  fake.Drain(kPackets);
  EXPECT_EQ(fake.tags.size(), kPackets - 1);
  EXPECT_EQ(fake.marks, 0);
}

INSTANTIATE_TEST_SUITE_P(Rocr, InterceptGateTest, testing::Bool(), [](const auto& batched) {
  return batched.param ? std::string("Batched") : std::string("OneACall");
});

}  // namespace
}  // namespace xsched_hsa

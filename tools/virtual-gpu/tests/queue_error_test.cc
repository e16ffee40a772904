// queue_error_test.cc: how a runtime that has called RUNTIME_ENABLE hears of a bad packet.

#include <gtest/gtest.h>
#include <hsa/hsa.h>
#include <unistd.h>

#include "aql_queue.h"

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kVa = 0x100000;
constexpr std::uint64_t kRing = kVa, kIndexes = kVa + 0x2000, kSaveArea = kVa + 0x4000;
constexpr std::uint64_t kPayload = kVa + 0x5000;

class QueueErrorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Allocation a;
    a.kind = Allocation::Kind::kGtt;
    a.handle = 1;
    a.va = kVa;
    a.bytes = 0x10000;
    a.arena = arena_.get();
    ASSERT_TRUE(arena_->Allocate(a.bytes, kPageBytes, &a.offset));
    ASSERT_TRUE(memory_.Add(a));
    ASSERT_TRUE(memory_.SetMapped(1, 1, true));
    ASSERT_EQ(events_.Create(0, false, 0, &event_), 0);
  }

  // One packet of a type that no GPU takes.
  void RunBadPacket() {
    AqlQueue queue({&memory_, &events_, &clock_, 1, {}, false, "test", kSaveArea},
                   AqlRing{kRing, 0x1000, kIndexes, kIndexes + 8}, &doorbell_);
    ASSERT_TRUE(queue.Valid());
    memory_.WriteValue(kRing, std::uint16_t{HSA_PACKET_TYPE_AGENT_DISPATCH});
    memory_.WriteValue(kIndexes, std::uint64_t{1});
    EXPECT_TRUE(queue.PollDoorbell());
    Packet packet;
    EXPECT_FALSE(queue.Next(&packet));
    EXPECT_TRUE(queue.dead());
  }
  std::uint64_t Payload() {
    std::uint64_t value = ~0ull;
    memory_.ReadValue(kPayload, &value);
    return value;
  }

  std::unique_ptr<Arena> arena_ = Arena::Create("test", 1 << 20);
  AddressSpace memory_{getpid()};
  EventTable events_;
  SimClock clock_{1};
  std::uint64_t doorbell_ = 0;
  std::uint32_t event_ = 0;
};

TEST_F(QueueErrorTest, TheSaveAreasHeaderSaysWhereItIsTold) {
  memory_.WriteValue(kSaveArea + 24, kPayload);
  memory_.WriteValue(kSaveArea + 32, event_);
  memory_.WriteValue(kPayload, std::uint64_t{1});  // an earlier exception stays
  const std::uint64_t before = events_.raised();
  RunBadPacket();
  EXPECT_EQ(Payload(), 1u | (1u << 19));  // EC_QUEUE_PACKET_UNSUPPORTED is 20
  EXPECT_EQ(events_.raised(), before + 1);
}

TEST_F(QueueErrorTest, NothingIsToldWithoutAPayload) {
  memory_.WriteValue(kSaveArea + 32, event_);
  const std::uint64_t before = events_.raised();
  RunBadPacket();
  EXPECT_EQ(Payload(), 0u);
  EXPECT_EQ(events_.raised(), before);
}

}  // namespace
}  // namespace virtual_gpu

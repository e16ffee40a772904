// queue_error_test.cc: how a runtime that has called RUNTIME_ENABLE hears of a bad packet.

#include <gtest/gtest.h>
#include <hsa/hsa.h>

#include "aql_queue.h"
#include "queue_memory.h"

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kVa = QueueMemoryTest::kVa;
constexpr std::uint64_t kRing = kVa, kIndexes = kVa + 0x2000, kSaveArea = kVa + 0x4000;
constexpr std::uint64_t kPayload = kVa + 0x5000;

class QueueErrorTest : public QueueMemoryTest {
 protected:
  void SetUp() override {
    QueueMemoryTest::SetUp();
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
  std::uint64_t Payload() { return Value(kPayload); }

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

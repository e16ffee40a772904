// pm4_queue_test.cc: PM4 packets, processed as the device would, without a device.

#include "pm4_queue.h"

#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>

#include "queue_memory.h"

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kVa = QueueMemoryTest::kVa;
constexpr std::uint64_t kRing = kVa, kWrite = kVa + 0x1000, kRead = kVa + 0x1008;
constexpr std::uint64_t kData = kVa + 0x2000, kIndirect = kVa + 0x3000;
constexpr std::uint32_t kRingBytes = 256;  // 64 dwords

std::uint32_t Header(std::uint32_t opcode, std::uint32_t body_dwords) {
  return (3u << 30) | ((body_dwords - 1) << 16) | (opcode << 8) | 2;
}
std::uint32_t Low(std::uint64_t address) { return static_cast<std::uint32_t>(address); }

class Pm4QueueTest : public QueueMemoryTest {
 protected:
  void SetUp() override {
    QueueMemoryTest::SetUp();
    queue_ = std::make_unique<Pm4Queue>(
        Pm4Queue::Context{&memory_, &events_, &clock_, 1, {}, false, "test"},
        Pm4Queue::Ring{kRing, kRingBytes, kWrite, kRead}, &doorbell_);
    ASSERT_TRUE(queue_->Valid());
  }

  void Submit(std::initializer_list<std::uint32_t> dwords) {
    for (const std::uint32_t dword : dwords) {
      memory_.WriteValue(kRing + written_++ % (kRingBytes / 4) * 4, dword);
    }
    memory_.WriteValue(kWrite, written_);
    doorbell_ = written_;
    EXPECT_TRUE(queue_->PollDoorbell());
  }
  // Takes packets as the device does; returns how many.
  int Drain() {
    int count = 0;
    for (Packet packet; queue_->Next(&packet); ++count) {
      if (packet.kind == Packet::Kind::kBarrierValue && !queue_->DependenciesMet(packet)) break;
      last_ = packet;
      queue_->Consume(packet);
      queue_->Complete(packet, 0, 0);
    }
    return count;
  }

  std::uint64_t written_ = 0;
  std::unique_ptr<Pm4Queue> queue_;
  Packet last_;
};

TEST_F(Pm4QueueTest, DataIsWrittenAndTheReadPointerWrapsWithTheRing) {
  for (std::uint32_t i = 1; i <= 20; ++i) {
    Submit({Header(0x37, 4), 5u << 8, Low(kData), 0, i});
    EXPECT_EQ(Drain(), 1);
    EXPECT_EQ(Value(kData), i);
    EXPECT_EQ(Value(kRead), written_ % (kRingBytes / 4));
  }
  EXPECT_EQ(queue_->counters().packets, 20u);
}

TEST_F(Pm4QueueTest, NopsOfEveryLengthArePassedOver) {
  Submit({0x80000000u, (3u << 30) | (0x3fffu << 16) | (0x10 << 8), Header(0x10, 3), 1, 2, 3});
  EXPECT_EQ(Drain(), 3);
  EXPECT_FALSE(queue_->HasWork());
}

TEST_F(Pm4QueueTest, AnIndirectBufferRunsBeforeItsPacketIsConsumed) {
  const std::uint32_t buffer[] = {Header(0x37, 4), 5u << 8, Low(kData),     0, 7,
                                  Header(0x37, 4), 5u << 8, Low(kData + 8), 0, 8};
  memory_.Write(kIndirect, buffer, sizeof(buffer));
  Submit({Header(0x3f, 3), Low(kIndirect), 0, 10});
  Packet packet;
  ASSERT_TRUE(queue_->Next(&packet));
  queue_->Consume(packet);
  EXPECT_EQ(Value(kRead), 0u);
  EXPECT_EQ(Drain(), 2);
  EXPECT_EQ(Value(kData), 7u);
  EXPECT_EQ(Value(kData + 8), 8u);
  EXPECT_EQ(Value(kRead), 4u);
}

TEST_F(Pm4QueueTest, EndOfPipeWaitsForDispatchesAndRaisesItsEvent) {
  std::uint32_t id = 0;
  ASSERT_EQ(events_.Create(0, false, 0, &id), 0);
  Submit({Header(0x76, 4), 0x207, 128, 2, 1,  // 256 work-items
          Header(0x15, 4), 10, 1, 1, 1,       // 10 workgroups
          Header(0x49, 7), 0x514, (2u << 29) | (2u << 24), Low(kData), 0, 5, 6, id});
  Packet packet;
  ASSERT_TRUE(queue_->Next(&packet));
  queue_->Consume(packet);
  ASSERT_TRUE(queue_->Next(&packet));
  EXPECT_EQ(packet.kind, Packet::Kind::kDispatch);
  EXPECT_EQ(packet.cost.workgroups, 10u);
  EXPECT_EQ(packet.cost.waves, 4u);
  queue_->Consume(packet);
  ASSERT_TRUE(queue_->Next(&packet));
  EXPECT_TRUE(packet.barrier_bit);
  const std::uint64_t before = events_.raised();
  queue_->Consume(packet);
  EXPECT_EQ(Value(kData), (6ull << 32) | 5);
  EXPECT_EQ(events_.raised(), before + 1);
}

// The waiter of an end of pipe may fill the ring at once.
TEST_F(Pm4QueueTest, TheReadPointerIsPastAnEndOfPipeWhenItsDataIsSeen) {
  Submit({Header(0x49, 7), 0x514, 1u << 29, Low(kRead), 0, 77, 0, 0});
  EXPECT_EQ(Drain(), 1);
  // Written over the read pointer, and not overwritten by it.
  EXPECT_EQ(Value(kRead), 77u);
}

TEST_F(Pm4QueueTest, WaitRegMemHoldsTheQueueUntilTheValueIsThere) {
  Submit({Header(0x3c, 6), 3 | (1 << 4), Low(kData), 0, 9, 0xff, 4, Header(0x37, 4), 5u << 8,
          Low(kData + 16), 0, 1});
  EXPECT_EQ(Drain(), 0);
  EXPECT_EQ(Value(kData + 16), 0u);
  memory_.WriteValue(kData, std::uint32_t{0x109});
  EXPECT_EQ(Drain(), 2);
  EXPECT_EQ(Value(kData + 16), 1u);
}

TEST_F(Pm4QueueTest, UnknownPacketStopsTheQueue) {
  Submit({Header(0x99, 1), 0, Header(0x37, 4), 5u << 8, Low(kData), 0, 1});
  EXPECT_EQ(Drain(), 0);
  EXPECT_TRUE(queue_->dead());
  EXPECT_EQ(Value(kData), 0u);
}

TEST_F(Pm4QueueTest, UnmappedAddressStopsTheQueue) {
  Submit({Header(0x37, 4), 5u << 8, 0x1000, 0x55, 1});
  Drain();
  EXPECT_TRUE(queue_->dead());
}

TEST_F(Pm4QueueTest, APacketBeyondTheWritePointerStopsTheQueue) {
  Submit({Header(0x37, 4), 5u << 8});
  EXPECT_EQ(Drain(), 0);
  EXPECT_TRUE(queue_->dead());
}

}  // namespace
}  // namespace virtual_gpu

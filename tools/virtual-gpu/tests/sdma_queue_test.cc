// sdma_queue_test.cc: SDMA packets, without an engine.

#include "sdma_queue.h"

#include <gtest/gtest.h>

#include <initializer_list>

#include "queue_memory.h"

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kVa = QueueMemoryTest::kVa;
constexpr std::uint64_t kRing = kVa, kWrite = kVa + 0x1000, kRead = kVa + 0x1008;
constexpr std::uint64_t kData = kVa + 0x2000;

std::uint32_t Low(std::uint64_t address) { return static_cast<std::uint32_t>(address); }

class SdmaQueueTest : public QueueMemoryTest {
 protected:
  void SetUp() override {
    QueueMemoryTest::SetUp();
    SetUpAgain();
  }
  void SetUpAgain() {
    memory_.WriteValue(kRead, std::uint64_t{0});
    memory_.WriteValue(kWrite, std::uint64_t{0});
    doorbell_ = written_ = 0;
    queue_ = std::make_unique<SdmaQueue>(
        SdmaQueue::Context{&memory_, &events_, &clock_, 1, 10, false, "test"},
        SdmaQueue::Ring{kRing, 0x1000, kWrite, kRead}, &doorbell_);
    ASSERT_TRUE(queue_->Valid());
  }
  void Submit(std::initializer_list<std::uint32_t> words) {
    for (const std::uint32_t word : words)
      memory_.WriteValue(kRing + written_, word), written_ += 4;
    memory_.WriteValue(kWrite, written_);
    doorbell_ = written_;
  }
  // Steps until nothing happens; what was carried out.
  std::uint64_t Drain() {
    const std::uint64_t before = queue_->packets();
    for (int idle = 0; idle < 3; now_ += 1'000'000) idle = queue_->Step(now_) ? 0 : idle + 1;
    return queue_->packets() - before;
  }

  std::uint64_t written_ = 0;
  TimeNs now_ = 0;
  std::unique_ptr<SdmaQueue> queue_;
};

constexpr std::uint32_t kFence = 5, kAtomicAdd64 = 10 | 47u << 25;

TEST_F(SdmaQueueTest, FencesAndAtomicsLand) {
  Submit({kFence, Low(kData), 0, 7, kAtomicAdd64, Low(kData), 0, 5, 0, 0, 0, 0});
  EXPECT_EQ(Drain(), 2u);
  EXPECT_EQ(Value(kData), 12u);
}

TEST_F(SdmaQueueTest, APollHoldsTheQueueUntilTheValueIsThere) {
  Submit({8 | 3u << 28 | 1u << 31, Low(kData), 0, 9, 0xff, 0, kFence, Low(kData + 8), 0, 1});
  EXPECT_EQ(Drain(), 0u);
  EXPECT_EQ(Value(kData + 8), 0u);
  memory_.WriteValue(kData, std::uint32_t{0x109});
  EXPECT_EQ(Drain(), 2u);
  EXPECT_EQ(Value(kData + 8), 1u);
}

TEST_F(SdmaQueueTest, APollOfAWordsUpperHalfLooksThere) {
  Submit({8 | 3u << 28 | 1u << 31, Low(kData + 4), 0, 9, 0xff, 0, kFence, Low(kData + 8), 0, 1});
  memory_.WriteValue(kData, std::uint32_t{9});
  EXPECT_EQ(Drain(), 0u);
  memory_.WriteValue(kData + 4, std::uint32_t{0x109});
  EXPECT_EQ(Drain(), 2u);
  EXPECT_EQ(Value(kData + 8), 1u);
}

TEST_F(SdmaQueueTest, AnInactiveQueueKeepsItsDoorbell) {
  queue_->SetActive(false);
  Submit({kFence, Low(kData), 0, 3});
  EXPECT_EQ(Drain(), 0u);
  queue_->SetActive(true);
  EXPECT_EQ(Drain(), 1u);
  EXPECT_EQ(Value(kData), 3u);
}

TEST_F(SdmaQueueTest, AWritePointerThatMovedWithoutADoorbellCountsOnceTheQueueIsMappedAgain) {
  Submit({kFence, Low(kData), 0, 3});
  EXPECT_EQ(Drain(), 1u);
  const std::uint64_t rung = doorbell_;
  Submit({kFence, Low(kData), 0, 4});
  doorbell_ = rung;
  EXPECT_EQ(Drain(), 0u);
  queue_->SetActive(false);
  queue_->SetActive(true);
  EXPECT_EQ(Drain(), 1u);
  EXPECT_EQ(Value(kData), 4u);
}

TEST_F(SdmaQueueTest, UnknownPacketsAreNamedAndStopTheQueue) {
  for (const std::uint32_t unknown : {99u | 3u << 8, 1u | 77u << 8, 10u | 1u << 25}) {
    SetUpAgain();
    Submit({unknown, 0, 0, 0, 0, 0, 0, kFence, Low(kData), 0, 1});
    testing::internal::CaptureStderr();
    EXPECT_EQ(Drain(), 0u);
    const std::string said = testing::internal::GetCapturedStderr();
    const std::string name = "unknown SDMA packet, operation " + std::to_string(unknown & 0xff) +
                             ", sub-operation " + std::to_string(unknown >> 8 & 0xff);
    EXPECT_NE(said.find(name), std::string::npos) << said;
    EXPECT_EQ(said.find(name), said.rfind(name)) << said;
    EXPECT_FALSE(queue_->HasWork());
    EXPECT_EQ(Value(kData), 0u);
  }
}

TEST_F(SdmaQueueTest, AnAddressThatIsNotMappedStopsTheQueue) {
  Submit({kFence, 0x1000, 0x55, 3, kFence, Low(kData), 0, 1});
  Drain();
  EXPECT_FALSE(queue_->HasWork());
  EXPECT_EQ(Value(kData), 0u);
}

}  // namespace
}  // namespace virtual_gpu

#include "queue_registry.h"

#include <gtest/gtest.h>

#include <memory>

namespace xsched_hsa {
namespace {

class QueueRegistryTest : public testing::Test {
 protected:
  ManagedQueue* Add(hsa_queue_t* queue, std::uint64_t doorbell) {
    ManagedQueue* managed = registry_->Take([](std::uint32_t) { return true; });
    if (managed == nullptr) return nullptr;
    managed->queue = queue;
    managed->doorbell.handle = doorbell;
    if (registry_->Insert(managed)) return managed;
    registry_->Release(managed);
    return nullptr;
  }
  std::unique_ptr<QueueRegistry> registry_ = std::make_unique<QueueRegistry>();
};

TEST_F(QueueRegistryTest, FindsByQueueAndByDoorbell) {
  hsa_queue_t queue{};
  ManagedQueue* managed = Add(&queue, 0x5000);
  EXPECT_EQ(registry_->Find(&queue), managed);
  EXPECT_EQ(registry_->Find(hsa_signal_t{0x5000}), managed);
  EXPECT_EQ(registry_->Find(hsa_signal_t{0x6000}), nullptr);
  EXPECT_EQ(registry_->Find(hsa_signal_t{0}), nullptr);
}

TEST_F(QueueRegistryTest, ForgetsWhatWasRemoved) {
  hsa_queue_t queue{};
  ManagedQueue* managed = Add(&queue, 0x5000);
  registry_->Remove(*managed);
  EXPECT_EQ(registry_->Find(&queue), nullptr);
  EXPECT_EQ(registry_->Find(hsa_signal_t{0x5000}), nullptr);
}

TEST_F(QueueRegistryTest, RefusesMoreThanItsPoolHolds) {
  auto queues = std::make_unique<hsa_queue_t[]>(kQueuesMax + 1);
  for (std::uint32_t i = 0; i < kQueuesMax; ++i) {
    ASSERT_NE(Add(&queues[i], 0x100000 + i * 64), nullptr) << i;
  }
  EXPECT_EQ(Add(&queues[kQueuesMax], 0x900000), nullptr);
  for (std::uint32_t i = 0; i < kQueuesMax; ++i) ASSERT_NE(registry_->Find(&queues[i]), nullptr);
}

TEST_F(QueueRegistryTest, KeepsWorkingThroughChurn) {
  auto queues = std::make_unique<hsa_queue_t[]>(64);
  for (int round = 0; round < 5000; ++round) {
    hsa_queue_t* queue = &queues[round % 64];
    ManagedQueue* managed = Add(queue, 0x200000 + static_cast<std::uint64_t>(round) * 64);
    ASSERT_NE(managed, nullptr) << round;
    ASSERT_EQ(registry_->Find(queue), managed);
    registry_->Remove(*managed);
    registry_->Release(managed);
  }
}

TEST_F(QueueRegistryTest, SkipsEntriesWhoseSlotIsStillRead) {
  ManagedQueue* managed = registry_->Take([](std::uint32_t index) { return index >= 3; });
  ASSERT_NE(managed, nullptr);
  EXPECT_EQ(managed->index, 3u);
}

}  // namespace
}  // namespace xsched_hsa

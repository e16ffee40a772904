#include "queue_driver.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace xsched_hsa {
namespace {

class RecordingKfd final : public KfdCalls {
 public:
  int Update(const KfdQueue& queue, std::uint32_t percentage) override {
    last = queue;
    last_percentage = percentage;
    ++updates;
    return 0;
  }
  int SetMask(const KfdQueue&, const std::uint32_t*, std::uint32_t) override { return ++masks, 0; }
  KfdQueue last;
  std::uint32_t last_percentage = 77;
  int updates = 0, masks = 0;
};

hsa_status_t g_status = HSA_STATUS_SUCCESS;
hsa_amd_queue_priority_t g_priority;
hsa_queue_t* g_queue;

class QueueDriverTest : public testing::Test {
 protected:
  QueueDriverTest() {
    api_.queue_set_priority = [](hsa_queue_t* queue, hsa_amd_queue_priority_t priority) {
      g_queue = queue;
      g_priority = priority;
      return g_status;
    };
    queue_.id = 5;
    queue_.ring_base = 0x1000;
    queue_.ring_bytes = 4096;
    g_queue = nullptr;
    g_status = HSA_STATUS_SUCCESS;
  }
  RealApi api_{};
  RecordingKfd kfd_;
  QueueDriver driver_{api_, &kfd_};
  KfdQueue queue_;
  hsa_queue_t proxy_{};
};

TEST_F(QueueDriverTest, NamesTheTrueRingWhereItIsKnown) {
  EXPECT_EQ(driver_.Update(queue_, 0), 0);
  EXPECT_EQ(driver_.Update(queue_, 100), 0);
  EXPECT_EQ(kfd_.updates, 2);
  EXPECT_EQ(kfd_.last.ring_base, 0x1000u);
  EXPECT_EQ(g_queue, nullptr);
}

TEST_F(QueueDriverTest, SuspendsAnInterceptQueueByANullRingAndResumesItThroughTheRuntime) {
  queue_.runtime_queue = &proxy_;
  EXPECT_EQ(driver_.Update(queue_, 0), 0);
  EXPECT_EQ(kfd_.last.ring_base, 0u) << "a proxy's ring is not the hardware's";
  EXPECT_EQ(kfd_.last_percentage, 0u);
  queue_.priority = 15;
  EXPECT_EQ(driver_.Update(queue_, 100), 0);
  EXPECT_EQ(kfd_.updates, 1);
  EXPECT_EQ(g_queue, &proxy_);
  EXPECT_EQ(g_priority, HSA_AMD_QUEUE_PRIORITY_HIGH);
  queue_.priority = 0;
  driver_.Update(queue_, 100);
  EXPECT_EQ(g_priority, HSA_AMD_QUEUE_PRIORITY_LOW);
  queue_.priority = 7;
  driver_.Update(queue_, 100);
  EXPECT_EQ(g_priority, HSA_AMD_QUEUE_PRIORITY_NORMAL);
}

TEST_F(QueueDriverTest, SaysWhenTheRuntimeRefuses) {
  queue_.runtime_queue = &proxy_;
  g_status = HSA_STATUS_ERROR_INVALID_QUEUE;
  EXPECT_EQ(driver_.Update(queue_, 100), EIO);
}

}  // namespace
}  // namespace xsched_hsa

#include "pump.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <memory>

#include "clock.h"
#include "test_ring.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

// Rounds are made by hand: no thread, no time.
class PumpTest : public testing::Test {
 protected:
  PumpTest() { pump_.SetSession(page_.get(), OwnDescriptor(event_)); }
  ~PumpTest() override { close(event_); }

  // What the controller hears of a doorbell of a queue in that mode that asked for the pump.
  bool Hears(std::uint32_t mode) {
    ring_.slot().mode = mode;
    pump_.WakeFor(*ring_.queue());
    pump_.Round();
    std::uint64_t count = 0;
    return read(event_, &count, sizeof(count)) == sizeof(count);
  }

  TestRing ring_{16};
  KernelTimes times_{};
  QueueRegistry registry_;
  WindowGate gate_{TestRing::Api(), &times_};
  std::unique_ptr<ProcessPage> page_ = std::make_unique<ProcessPage>();
  const int event_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  Pump pump_{&registry_, &gate_};
};

TEST_F(PumpTest, TheControllerHearsOfQueuesThatRaiseOrReport) {
  EXPECT_TRUE(Hears(kModeRaise));
  EXPECT_TRUE(Hears(kModeReport));
  EXPECT_TRUE(Hears(kModeArmed | kModeRaise));
}

TEST_F(PumpTest, AHeldDoorbellDoesNotWakeTheController) {
  const std::uint32_t wakes = page_->wake;
  EXPECT_FALSE(Hears(kModeArmed));
  EXPECT_EQ(page_->wake, wakes + 1) << "the pump is woken all the same";
}

// No doorbell comes any more for what already runs.
TEST_F(PumpTest, WorkFromBeforeTheModeWasSetRaisesToo) {
  UserPage user{};
  ManagedQueue* queue = registry_.Take([](std::uint32_t) { return true; });
  ring_.LendTo(queue);
  queue->slot = &ring_.slot();
  queue->user_page = &user;
  queue->urgency = FindUrgency(&user, 7);
  queue->requested_priority = kPriorityHigh;
  registry_.Insert(queue);
  queue->live = 1;
  ring_.slot().priority = -1;
  ring_.slot().mode = 0;
  const std::uint64_t index = queue->reserved_index.fetch_add(1);
  ring_.Write(index, 1);
  gate_.Doorbell(queue, index + 1);
  pump_.Round();
  ASSERT_EQ(LevelOf(user.gpus[0].word), 0u) << "nothing competes";

  ring_.slot().mode = kModeRaise;
  std::uint64_t next_ns = 0;
  while (next_ns == 0) next_ns = pump_.Round();
  EXPECT_LT(next_ns, kForeverNs) << "nobody would see its end";
  EXPECT_EQ(LevelOf(user.gpus[0].word), kPriorityHigh + 1u);
  EXPECT_EQ(ring_.slot().active, 1u);
}

}  // namespace
}  // namespace xsched_hsa

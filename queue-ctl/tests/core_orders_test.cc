// core_orders_test.cc: what an operator asks for, and what becomes of it.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "core.h"
#include "core_fixture.h"

namespace xsched_hsa {
namespace {

using testing::CoreTest;
using testing::kGpuA;
using testing::kGpuB;
using testing::Program;

TEST_F(CoreTest, SetPriorityTurnsTheTables) {
  Program a = JoinWithQueue(kPriorityLow, 1000, 100);
  Program b = JoinWithQueue(kPriorityHigh, 1000, 101);
  int changed = 0;
  ASSERT_TRUE(core_.SetPriority({1000, false}, {101, std::nullopt}, 0, &changed).ok());
  EXPECT_EQ(changed, 1);
  EXPECT_EQ(a->Slot(0).mode.load(), 0u) << "equals";
  ASSERT_TRUE(core_.SetPriority({1000, false}, {100, 1}, 9, &changed).ok());
  EXPECT_EQ(a->Slot(0).priority.load(), 9);
  EXPECT_EQ(a->Slot(0).mode.load(), kModeRaise);
  EXPECT_EQ(b->Slot(0).mode.load(), kModeArmed);
  ASSERT_TRUE(core_.SetPriority(root_, {101, std::nullopt}, std::nullopt, &changed).ok());
  EXPECT_EQ(b->Slot(0).priority.load(), -1);
  EXPECT_EQ(b->Slot(0).mode.load(), kModeRaise);
}

TEST_F(CoreTest, SetPriorityOfAnActiveQueueMovesTheLevel) {
  Program low = JoinWithQueue(kPriorityLow, 1000, 100);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  RaiseAndTell(high);
  int changed = 0;
  ASSERT_TRUE(core_.SetPriority(root_, {101, std::nullopt}, 3, &changed).ok());
  EXPECT_EQ(Level(user_.get()), 4u);
  EXPECT_TRUE(low->GateClosed(0));
  ASSERT_TRUE(core_.SetPriority(root_, {100, std::nullopt}, 3, &changed).ok());
  EXPECT_FALSE(low->GateClosed(0));
  EXPECT_FALSE(core_.NextDueUs());
}

TEST_F(CoreTest, ProcessPriorityAlsoAppliesToQueuesToCome) {
  Program program = JoinWithQueue(kPriorityLow);
  int changed = 0;
  ASSERT_TRUE(core_.SetPriority(root_, {100, std::nullopt}, 12, &changed).ok());
  program->MakeQueue(1, 2, kPriorityLow);
  core_.OnLayerEvent(program.session);
  EXPECT_EQ(program->OwnPriority(1), 12);
}

TEST_F(CoreTest, OrdersAreRefusedForOthersAndForNothing) {
  Program program = JoinWithQueue(kPriorityLow);
  int changed = 0;
  const Caller stranger{2000, false};
  EXPECT_EQ(core_.SetPriority(stranger, {100, {}}, 3, &changed).code, StatusCode::kPermission);
  EXPECT_EQ(core_.SetHold(stranger, {100, {}}, kHoldPackets, &changed).code,
            StatusCode::kPermission);
  EXPECT_EQ(core_.SetPriority(root_, {999, {}}, 3, &changed).code, StatusCode::kNotFound);
  EXPECT_EQ(core_.SetPriority(root_, {100, 77}, 3, &changed).code, StatusCode::kNotFound);
  EXPECT_EQ(core_.SetPriority(root_, {100, {}}, 16, &changed).code, StatusCode::kBadRequest);
  EXPECT_EQ(core_.SetPriority(root_, {100, {}}, -1, &changed).code, StatusCode::kBadRequest);
  EXPECT_EQ(program->Slot(0).priority.load(), -1);
}

TEST_F(CoreTest, NamespacePidIsFoundWhenNoOtherFits) {
  Program program = JoinWithQueue(kPriorityLow);
  int changed = 0;
  EXPECT_TRUE(core_.SetPriority(root_, {5100, {}}, 3, &changed).ok());
  EXPECT_EQ(program->OwnPriority(0), 3);
}

TEST_F(CoreTest, OperatorHoldIsLeasedRenewedAndReleased) {
  Program program = JoinWithQueue(kPriorityNormal);
  int changed = 0;
  ASSERT_TRUE(core_.SetHold({1000, false}, {100, {}}, kHoldPackets, &changed).ok());
  EXPECT_EQ(changed, 1);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(core_.NextDueUs());
    clock_.Advance(*core_.NextDueUs() - clock_.NowUs());
    EXPECT_TRUE(program->GateClosed(0));
    core_.OnTimer();
  }
  program->MakeQueue(1, 2, kPriorityNormal);
  core_.OnLayerEvent(program.session);
  EXPECT_TRUE(program->GateClosed(1)) << "a process on hold holds its new queues, too";
  const std::uint32_t wakes = program.page->wake.load();
  ASSERT_TRUE(core_.SetHold({1000, false}, {100, {}}, kHoldNone, &changed).ok());
  EXPECT_FALSE(program->GateClosed(0));
  EXPECT_FALSE(program->GateClosed(1));
  EXPECT_GT(program.page->wake.load(), wakes);
  EXPECT_FALSE(core_.NextDueUs());
}

// Refused as a whole: neither for the queues there are nor for those to come.
TEST_F(CoreTest, AnOrderThatNoQueueCanFollowChangesNothing) {
  Program program = JoinWithQueue(kPriorityNormal);
  int changed = 7;
  std::uint32_t kept = 7;
  ASSERT_TRUE(core_.SetUnits(root_, {100, {}}, 0, &changed, &kept).ok());
  EXPECT_FALSE(core_.SetHold(root_, {100, {}}, kHoldSuspend, &changed).ok()) << "no KFD id";
  EXPECT_EQ(changed, 0);
  program->SetState(0, kSlotForeign);
  core_.OnLayerEvent(program.session);
  EXPECT_FALSE(core_.SetHold(root_, {100, {}}, kHoldPackets, &changed).ok()) << "bypasses the API";
  program->MakeQueue(1, 2, kPriorityNormal);
  core_.OnLayerEvent(program.session);
  EXPECT_FALSE(program->GateClosed(1)) << "the next queue is held by a refused order";
  // Another order holds what it can, as before.
  ASSERT_TRUE(core_.SetHold(root_, {100, {}}, kHoldPackets, &changed).ok());
  EXPECT_EQ(changed, 1);
  EXPECT_TRUE(program->GateClosed(1));
}

TEST_F(CoreTest, AMaskThatOneOfTwoGpusCannotHaveIsOnNeither) {
  Program program = JoinWithQueue(kPriorityNormal);
  program->MakeQueue(1, 2, kPriorityNormal, kGpuB);
  for (const std::uint32_t index : {0u, 1u}) {
    program->Slot(index).mechanisms_available.store(kMechanismsAll);
  }
  core_.OnLayerEvent(program.session);
  core_.SetDeviceShape(kGpuA, {80, 16});
  core_.SetDeviceShape(kGpuB, {304, 32});
  int changed = 0;
  std::uint32_t kept = 0;
  ASSERT_TRUE(core_.SetUnits(root_, {100, {}}, 64, &changed, &kept).ok());
  EXPECT_EQ(changed, 2);
  EXPECT_EQ(program->Slot(0).standing_units.load(), 64u);
  EXPECT_FALSE(core_.SetUnits(root_, {100, {}}, 16, &changed, &kept).ok())
      << "less than one on each shader array of the second";
  EXPECT_EQ(changed, 0);
  EXPECT_EQ(program->Slot(0).standing_units.load(), 64u);
  EXPECT_EQ(program->Slot(1).standing_units.load(), 64u);
  ASSERT_TRUE(core_.SetUnits(root_, {100, {}}, 0, &changed, &kept).ok());
  EXPECT_EQ(program->Slot(0).standing_units.load(), 0u);
}

TEST_F(CoreTest, OperatorHoldEndsByItselfWhenTheControllerStops) {
  Program program = JoinWithQueue(kPriorityNormal);
  int changed = 0;
  ASSERT_TRUE(core_.SetHold(root_, {100, {}}, kHoldPackets, &changed).ok());
  clock_.Advance(kLeaseUs + 1);
  EXPECT_FALSE(program->GateClosed(0));
}

TEST_F(CoreTest, ShutdownOpensEverything) {
  Program low = JoinWithQueue(kPriorityLow);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  RaiseAndTell(high);
  int changed = 0;
  ASSERT_TRUE(core_.SetHold(root_, {101, {}}, kHoldPackets, &changed).ok());
  const std::uint32_t wakes = low.page->wake.load();
  core_.Shutdown();
  EXPECT_EQ(Level(user_.get()), 0u);
  for (const Program* program : {&low, &high}) {
    EXPECT_EQ((*program)->Slot(0).mode.load(), 0u);
    EXPECT_EQ((*program)->Slot(0).hold.load(), 0u);
    EXPECT_EQ(program->page->detached.load(), 1u);
  }
  EXPECT_GT(low.page->wake.load(), wakes);
  EXPECT_FALSE(core_.NextDueUs());
}

}  // namespace
}  // namespace xsched_hsa

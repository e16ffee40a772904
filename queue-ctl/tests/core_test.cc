// core_test.cc: who is held and who raises, sessions and their ends.
#include "core.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "core_fixture.h"

namespace xsched_hsa {
namespace {

using testing::CoreTest;
using testing::CrossUserCoreTest;
using testing::kGpuA;
using testing::kGpuB;
using testing::Program;

TEST_F(CoreTest, ProgramAloneIsLeftAlone) {
  Program program = JoinWithQueue(kPriorityLow);
  EXPECT_EQ(program->Slot(0).mode.load(), 0u);
  EXPECT_FALSE(core_.NextDueUs());
}

TEST_F(CoreTest, LowIsArmedAndHighRaisesAndBothAreWoken) {
  Program low = JoinWithQueue(kPriorityLow);
  const std::uint32_t wakes = low.page->wake.load();
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  EXPECT_EQ(low->Slot(0).mode.load(), kModeArmed);
  EXPECT_EQ(low->Slot(0).window_us.load(), 200u);
  EXPECT_EQ(high->Slot(0).mode.load(), kModeRaise);
  EXPECT_EQ(high->Slot(0).linger_us.load(), 250u);
  EXPECT_GT(low.page->wake.load(), wakes);
  EXPECT_FALSE(core_.NextDueUs()) << "nothing is leased yet";
}

TEST_F(CoreTest, RaiseClosesAtOnceAndTheControllerKeepsItLeased) {
  Program low = JoinWithQueue(kPriorityLow);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  high->BecomeActive(0);
  EXPECT_TRUE(low->GateClosed(0)) << "before the controller has run";
  core_.OnLayerEvent(high.session);
  ASSERT_TRUE(core_.NextDueUs());
  for (int i = 0; i < 20; ++i) {
    clock_.Advance(*core_.NextDueUs() - clock_.NowUs());
    EXPECT_TRUE(low->GateClosed(0));
    core_.OnTimer();
  }
  EXPECT_GE(core_.counters().renewals, 20u);
}

TEST_F(CoreTest, IdleHighOpensTheGateWakesTheLowAndStopsTheTimer) {
  Program low = JoinWithQueue(kPriorityLow);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  RaiseAndTell(high);
  EXPECT_TRUE(low->GateClosed(0));
  const std::uint32_t wakes = low.page->wake.load();
  const std::uint32_t high_wakes = high.page->wake.load();
  high->BecomeIdle(0);
  core_.OnLayerEvent(high.session);
  EXPECT_FALSE(low->GateClosed(0));
  EXPECT_EQ(low.page->wake.load(), wakes + 1);
  EXPECT_EQ(high.page->wake.load(), high_wakes) << "has nothing armed";
  EXPECT_FALSE(core_.NextDueUs());
}

TEST_F(CoreTest, AnEndWakesOnlyThoseWhoseGateHasClosed) {
  Program held = JoinWithQueue(kPriorityLow);
  Program idle = JoinWithQueue(kPriorityLow, 1000, 101);
  Program gone = JoinWithQueue(kPriorityLow, 1000, 102);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 103);
  const std::uint32_t gones_bit = gone.page->session_bit;
  for (std::uint32_t round = 1; round <= 3; ++round) {
    RaiseAndTell(high);
    EXPECT_TRUE(held->GateClosed(0));
    if (round == 2) {
      EXPECT_TRUE(gone->GateClosed(0));
      core_.EndSession(gone.session);
    }
    const std::uint32_t wakes = held.page->wake.load();
    const std::uint32_t idle_wakes = idle.page->wake.load();
    high->BecomeIdle(0);
    core_.OnLayerEvent(high.session);
    EXPECT_EQ(held.page->wake.load(), wakes + 1) << round;
    EXPECT_EQ(idle.page->wake.load(), idle_wakes) << round;
  }
  EXPECT_EQ(held.page->programs.load(), 3u);
  // The bit of a session that has ended is free again.
  const Program next = Join(1000, 104);
  EXPECT_EQ(next.page->session_bit, gones_bit);
  EXPECT_EQ(held.page->programs.load(), 4u);
  const Program other = Join(2000, 105);
  EXPECT_EQ(held.page->programs.load(), 4u) << "another user's do not count";
}

TEST_F(CrossUserCoreTest, AUsersPageWakesNobodyElsesPrograms) {
  Program other = JoinWithQueue(kPriorityLow, 2000, 100);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  RaiseAndTell(high);
  const std::uint32_t wakes = other.page->wake.load();
  for (auto& word : ClaimGpu(*user_, kGpuA)->closed) word.store(~std::uint64_t{0});
  high->BecomeIdle(0);
  core_.OnLayerEvent(high.session);
  EXPECT_EQ(other.page->wake.load(), wakes) << "its own page says nothing";
  EXPECT_GT(high.page->wake.load(), 0u);
}

TEST_F(CoreTest, GateOpensByItselfWhenTheControllerStops) {
  Program low = JoinWithQueue(kPriorityLow);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  RaiseAndTell(high);
  clock_.Advance(kLeaseUs + 1);
  EXPECT_FALSE(low->GateClosed(0));
  high->BecomeIdle(0);
  high->BecomeActive(0);  // one raise that finds its epoch acknowledged: one more lease
  EXPECT_TRUE(low->GateClosed(0));
  clock_.Advance(kLeaseUs + 1);
  high->BecomeIdle(0);
  high->BecomeActive(0);
  EXPECT_FALSE(low->GateClosed(0));
}

TEST_F(CoreTest, LevelFallsToTheNextActiveQueue) {
  Program low = JoinWithQueue(kPriorityLow);
  Program middle = JoinWithQueue(kPriorityNormal, 1000, 101);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 102);
  RaiseAndTell(middle);
  RaiseAndTell(high);
  EXPECT_TRUE(middle->GateClosed(0));
  high->BecomeIdle(0);
  core_.OnLayerEvent(high.session);
  EXPECT_EQ(Level(user_.get()), static_cast<std::uint32_t>(kPriorityNormal) + 1);
  EXPECT_FALSE(middle->GateClosed(0));
  EXPECT_TRUE(low->GateClosed(0));
}

TEST_F(CoreTest, DeathOfAnActiveHighOpensTheGate) {
  Program low = JoinWithQueue(kPriorityLow);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  RaiseAndTell(high);
  core_.EndSession(high.session);
  EXPECT_FALSE(low->GateClosed(0));
  EXPECT_EQ(low->Slot(0).mode.load(), 0u) << "alone again";
  EXPECT_EQ(high.page->detached.load(), 1u);
  EXPECT_FALSE(core_.NextDueUs());
}

TEST_F(CoreTest, EndedSessionKeepsItsFinalCounters) {
  Program program = JoinWithQueue(kPriorityLow);
  program->Slot(0).submitted_index.store(50);
  program->Slot(0).read_index.store(40);
  program->Slot(0).packets_held.store(7);
  core_.EndSession(program.session);
  ASSERT_EQ(core_.ended().size(), 1u);
  const Session& ended = *core_.ended().front();
  ASSERT_EQ(ended.destroyed.size(), 1u);
  EXPECT_EQ(ended.destroyed[0].final_counters.submitted, 50u);
  EXPECT_EQ(ended.destroyed[0].final_counters.packets_held, 7u);
  EXPECT_FALSE(ended.alive());
}

TEST_F(CoreTest, HistoryIsBounded) {
  for (std::size_t i = 0; i < kEndedMax + 10; ++i) core_.EndSession(Join().session);
  EXPECT_EQ(core_.ended().size(), kEndedMax);
}

TEST_F(CoreTest, RetiredSlotIsFreedAndItsNextQueueStartsClean) {
  Program low = JoinWithQueue(kPriorityLow);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  ASSERT_EQ(low->Slot(0).mode.load(), kModeArmed);
  low->Slot(0).submitted_index.store(9);
  low->DestroyQueue(0);
  core_.OnLayerEvent(low.session);
  EXPECT_EQ(low->Slot(0).state.load(), kSlotFree);
  EXPECT_EQ(low->Slot(0).mode.load(), 0u);
  EXPECT_EQ(low->Slot(0).priority.load(), -1);
  EXPECT_EQ(high->Slot(0).mode.load(), 0u);
  EXPECT_EQ(SessionOf(low).destroyed.at(0).final_counters.submitted, 9u);
}

TEST_F(CoreTest, QueueThatCameAndWentBetweenTwoLooksIsCounted) {
  Program program = Join();
  program->MakeQueue(3, 8, kPriorityLow);
  program->Slot(3).submitted_index.store(5);
  program->DestroyQueue(3);
  core_.OnLayerEvent(program.session);
  EXPECT_EQ(program->Slot(3).state.load(), kSlotFree);
  EXPECT_EQ(SessionOf(program).destroyed_count, 1u);
  EXPECT_EQ(SessionOf(program).destroyed.at(0).final_counters.submitted, 5u);
}

TEST_F(CoreTest, DestroyedQueuesAreSummedBeyondTheBound) {
  Program program = Join();
  for (std::uint32_t i = 0; i < kDestroyedQueuesMax + 5; ++i) {
    program->MakeQueue(0, i, kPriorityLow);
    program->Slot(0).submitted_index.store(2);
    program->DestroyQueue(0);
    core_.OnLayerEvent(program.session);
  }
  const Session& session = SessionOf(program);
  EXPECT_EQ(session.destroyed.size(), kDestroyedQueuesMax);
  EXPECT_EQ(session.forgotten.submitted, 10u);
}

TEST_F(CoreTest, FullSlotTableIsManaged) {
  Program program = Join();
  for (std::uint32_t i = 0; i < kQueuesMax; ++i) program->MakeQueue(i, i, static_cast<int>(i % 16));
  core_.OnLayerEvent(program.session);
  EXPECT_EQ(SessionOf(program).queues.size(), kQueuesMax);
  for (std::uint32_t i = 0; i < kQueuesMax; ++i) {
    const std::uint32_t mode = program->Slot(i).mode.load();
    EXPECT_EQ((mode & kModeArmed) != 0, i % 16 != 15) << i;
    EXPECT_EQ((mode & kModeRaise) != 0, i % 16 != 0) << i;
  }
}

TEST_F(CoreTest, ForeignQueueIsOnNeitherSide) {
  Program low = JoinWithQueue(kPriorityLow);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  low->SetState(0, kSlotForeign);
  core_.OnLayerEvent(low.session);
  EXPECT_EQ(low->Slot(0).mode.load(), 0u);
  EXPECT_EQ(high->Slot(0).mode.load(), 0u);
  int changed = 0;
  EXPECT_FALSE(core_.SetHold(root_, {100, std::nullopt}, kHoldPackets, &changed).ok());
}

// The layer finds that on the packet path, and writes nothing but the state.
TEST_F(CoreTest, AQueueThatTurnsForeignIsNoticedAtTheNextEvent) {
  Program low = JoinWithQueue(kPriorityLow);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  ASSERT_EQ(low->Slot(0).mode.load(), kModeArmed);
  low->Slot(0).state = kSlotForeign;
  core_.OnLayerEvent(low.session);
  EXPECT_EQ(low->Slot(0).mode.load(), 0u);
  EXPECT_EQ(high->Slot(0).mode.load(), 0u);
}

TEST_F(CoreTest, LayerWithoutAGateIsNotScheduled) {
  Program low = Join(1000, 100, GateKind::kNone);
  low->MakeQueue(0, 1, kPriorityLow);
  core_.OnLayerEvent(low.session);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101);
  EXPECT_EQ(low->Slot(0).mode.load(), 0u);
  EXPECT_EQ(high->Slot(0).mode.load(), 0u);
}

// ------------------------------------------------------------------------------------- other users

TEST_F(CoreTest, UsersDoNotCompete) {
  Program low = JoinWithQueue(kPriorityLow, 1000, 100);
  Program high = JoinWithQueue(kPriorityHigh, 2000, 101);
  EXPECT_EQ(low->Slot(0).mode.load(), 0u);
  EXPECT_EQ(high->Slot(0).mode.load(), 0u);
}

TEST_F(CrossUserCoreTest, LevelsAreRelayedToOtherUsersPages) {
  Program low = JoinWithQueue(kPriorityLow, 1000, 100);
  Program high = JoinWithQueue(kPriorityHigh, 2000, 101);
  ASSERT_EQ(low->Slot(0).mode.load(), kModeArmed);
  RaiseAndTell(high);
  EXPECT_TRUE(low->GateClosed(0));
  EXPECT_EQ(core_.counters().relays, 1u);
  const std::uint32_t wakes = low.page->wake.load();
  high->BecomeIdle(0);
  core_.OnLayerEvent(high.session);
  EXPECT_FALSE(low->GateClosed(0));
  EXPECT_GT(low.page->wake.load(), wakes);
  EXPECT_FALSE(core_.NextDueUs());
}

// Where users compete a priority is the operator's to give: by a rule, or by his order.
TEST_F(CrossUserCoreTest, NobodyRanksAboveWhatTheOperatorHasGiven) {
  Program normal = JoinWithQueue(kPriorityNormal, 1000, 100);
  Program other = JoinWithQueue(kPriorityHigh, 2000, 101);
  EXPECT_EQ(other->OwnPriority(0), kPriorityNormal);
  EXPECT_EQ(other->Slot(0).mode.load() | normal->Slot(0).mode.load(), 0u) << "they are equals";
  const Caller owner{2000, false};
  int changed = 0;
  EXPECT_EQ(core_.SetPriority(owner, {101, {}}, 15, &changed).code, StatusCode::kPermission);
  EXPECT_EQ(core_
                .SetClass(
                    owner, 101, [](ProgramClass* own) { own->weight = 9000; }, &changed)
                .code,
            StatusCode::kPermission);
  EXPECT_EQ(SessionOf(other).Class(), ProgramClass{});
  EXPECT_TRUE(core_.SetHold(owner, {101, {}}, kHoldPackets, &changed).ok()) << "takes from himself";
  EXPECT_TRUE(core_.SetHold(owner, {101, {}}, kHoldNone, &changed).ok());
  ProgramClass given;
  given.priority = kPriorityHigh;
  core_.Classify(other.session, {}, "rule", given);
  EXPECT_EQ(other->OwnPriority(0), kPriorityHigh);
  EXPECT_EQ(normal->Slot(0).mode.load(), kModeArmed);
  core_.Classify(other.session, {}, "", {});
  EXPECT_EQ(normal->Slot(0).mode.load(), 0u);
  ASSERT_TRUE(core_.SetPriority(root_, {101, {}}, 12, &changed).ok());
  EXPECT_EQ(normal->Slot(0).mode.load(), kModeArmed);
  EXPECT_EQ(JoinWithQueue(kPriorityHigh, 0, 102)->OwnPriority(0), kPriorityHigh) << "root's own";
}

TEST_F(CoreTest, AReloadThatLetsUsersCompeteTakesWhatTheyGaveThemselves) {
  Program high = JoinWithQueue(kPriorityHigh, 2000, 101);
  EXPECT_EQ(high->OwnPriority(0), kPriorityHigh);
  core_.SetCrossUser(true);
  EXPECT_EQ(high->OwnPriority(0), kPriorityNormal);
  core_.SetCrossUser(false);
  EXPECT_EQ(high->OwnPriority(0), kPriorityHigh);
}

// The server unmaps a user's page then.
TEST_F(CrossUserCoreTest, AUsersPageIsLeftAloneOnceItsLastProgramHasGone) {
  Program gone = JoinWithQueue(kPriorityLow, 1000, 100);
  Program low = JoinWithQueue(kPriorityLow, 2000, 101);
  Program high = JoinWithQueue(kPriorityHigh, 2000, 102);
  core_.EndSession(gone.session);
  const std::uint64_t word = gone->Gpu(kGpuA)->word;
  RaiseAndTell(high);
  EXPECT_TRUE(low->GateClosed(0));
  EXPECT_EQ(gone->Gpu(kGpuA)->word, word);
}

TEST_F(CoreTest, AReloadThatLetsUsersCompeteRelaysTheirLevels) {
  Program low = JoinWithQueue(kPriorityLow, 1000, 100);
  Program high = JoinWithQueue(kPriorityHigh, 2000, 101);
  core_.SetCrossUser(true);
  RaiseAndTell(high);
  EXPECT_TRUE(low->GateClosed(0));
  core_.SetCrossUser(false);
  EXPECT_EQ(low->Slot(0).mode.load(), 0u);
}

TEST_F(CoreTest, GpusDoNotCompete) {
  Program low = JoinWithQueue(kPriorityLow, 1000, 100, kGpuA);
  Program high = JoinWithQueue(kPriorityHigh, 1000, 101, kGpuB);
  EXPECT_EQ(low->Slot(0).mode.load(), 0u);
  EXPECT_EQ(high->Slot(0).mode.load(), 0u);
}

TEST_F(CoreTest, RefreshIsAskedForAndAwaited) {
  Program program = Join();
  const std::uint32_t wakes = program.page->wake.load();
  const std::uint32_t ticket = core_.AskRefresh(program.session);
  EXPECT_GT(program.page->wake.load(), wakes);
  EXPECT_FALSE(core_.IsRefreshed(program.session, ticket));
  program.page->refreshed.store(program.page->refresh.load());
  EXPECT_TRUE(core_.IsRefreshed(program.session, ticket));
  EXPECT_TRUE(core_.IsRefreshed(424242, 1)) << "nobody left to wait for";
}

TEST_F(CoreTest, TooManySessionsAreRefused) {
  std::vector<Program> programs;
  for (std::size_t i = 0; i < kSessionsMax; ++i) {
    LayerInfo info;  // root's, who may have all
    programs.emplace_back();
    // One page for all: nothing is scanned here.
    ASSERT_NE(core_.AddSession(info, programs.front().page.get(), user_.get()), 0u);
  }
  EXPECT_EQ(Join().session, 0u);
}

TEST_F(CoreTest, NoUserTakesMoreThanHalfOfWhatTheOthersLeave) {
  Program program;
  const auto fill = [&](std::uint32_t uid) {
    LayerInfo info;
    info.uid = uid;
    std::size_t count = 0;
    while (core_.AddSession(info, program.page.get(), user_.get()) != 0) ++count;
    return count;
  };
  EXPECT_EQ(fill(1001), kSessionsMax / 2);
  EXPECT_EQ(fill(1002), kSessionsMax / 4);
  EXPECT_GT(fill(1003), 0u) << "two users have shut out everybody else";
  EXPECT_GT(fill(0), 0u) << "root must always get in";
}

TEST_F(CoreTest, AQueueThatIsFirstSeenAsItsSessionEndsIsCounted) {
  Program program = Join();
  program->MakeQueue(0, 1, kPriorityLow);
  core_.EndSession(program.session);
  EXPECT_EQ(core_.counters().queues_seen, 1u);
}

TEST_F(CoreTest, AUsersQueuesAreBoundedAndTheOthersAreNot) {
  std::vector<Program> programs;
  const std::size_t enough = kQueuesPerUserMax / kQueuesMax + 1;
  for (std::size_t i = 0; i < enough; ++i) {
    programs.push_back(Join(1000, 100 + static_cast<int>(i)));
    for (std::uint32_t q = 0; q < kQueuesMax; ++q) programs.back()->MakeQueue(q, q, kPriorityLow);
    core_.OnLayerEvent(programs.back().session);
  }
  EXPECT_EQ(SessionOf(programs[enough - 2]).queues.size(), kQueuesMax);
  EXPECT_EQ(SessionOf(programs.back()).queues.size(), 0u);
  EXPECT_GT(core_.counters().queues_over_limit, 0u);
  EXPECT_EQ(SessionOf(JoinWithQueue(kPriorityLow, 2000, 1)).queues.size(), 1u);
}

}  // namespace
}  // namespace xsched_hsa

// hostile_page_test.cc: what a program may write into its pages without harming anybody else.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>

#include "core.h"
#include "fake_layer.h"
#include "manual_clock.h"
#include "policies/registry.h"
#include "report.h"
#include "slot_reader.h"
#include "trace_recorder.h"

namespace xsched_hsa {
namespace {

using testing::FakeLayer;
using testing::kGpuA;
using testing::ManualClock;

TEST(SlotReaderTest, ReplacesWhatCannotBe) {
  auto page = std::make_unique<ProcessPage>();
  QueueSlot& slot = page->queues[0];
  slot.state.store(kSlotLive);
  slot.gpu_key = ~GpuKey{0};
  slot.ring_packets = 0xffffffff;
  slot.requested_priority.store(1'000'000);
  slot.submitted_index.store(~std::uint64_t{0});
  slot.read_index.store(3);
  const SlotCopy copy = CopySlot(slot);
  EXPECT_EQ(copy.gpu_key, 0u);
  EXPECT_EQ(copy.ring_packets, 0u);
  EXPECT_EQ(copy.requested_priority, kPriorityMax);
  EXPECT_EQ(copy.implausible, 3);
  const QueueCounters counters = CopyCounters(slot);
  EXPECT_EQ(counters.submitted, 0u);
  EXPECT_EQ(counters.Pending(), 0u);
}

TEST(SlotReaderTest, UnknownStateIsAFreeSlot) {
  auto page = std::make_unique<ProcessPage>();
  page->queues[0].state.store(0xdeadbeef);
  const SlotCopy copy = CopySlot(page->queues[0]);
  EXPECT_EQ(copy.state, SlotState::kFree);
  EXPECT_EQ(copy.implausible, 1);
}

class HostilePageTest : public ::testing::Test {
 protected:
  class NoWaker final : public Waker {
   public:
    void Wake(ProcessPage&) override {}
    void Ring(UserPage&) override {}
  };

  HostilePageTest() : core_({}, &clock_, MakePolicy("strict-priority", {}), &waker_) {
    Core::InitUserPage(user_.get(), 1000);
    for (auto* page : {victim_page_.get(), hostile_page_.get()}) {
      LayerInfo info;
      info.uid = 1000;
      info.pid = page == victim_page_.get() ? 1 : 2;
      info.gate = GateKind::kWindow;
      (page == victim_page_.get() ? victim_ : hostile_) = core_.AddSession(info, page, user_.get());
    }
  }

  ManualClock clock_{1'000'000};
  NoWaker waker_;
  std::unique_ptr<UserPage> user_ = std::make_unique<UserPage>();
  std::unique_ptr<ProcessPage> victim_page_ = std::make_unique<ProcessPage>();
  std::unique_ptr<ProcessPage> hostile_page_ = std::make_unique<ProcessPage>();
  Core core_;
  std::uint32_t victim_ = 0, hostile_ = 0;
};

TEST_F(HostilePageTest, QueueOnABogusGpuIsListedButCompetesWithNobody) {
  FakeLayer victim(victim_page_.get(), user_.get(), [this] { return clock_.NowUs(); });
  FakeLayer hostile(hostile_page_.get(), user_.get(), [this] { return clock_.NowUs(); });
  victim.MakeQueue(0, 1, kPriorityLow);
  hostile.MakeQueue(0, 1, kPriorityHigh, ~GpuKey{0});
  core_.OnLayerEvent(victim_);
  core_.OnLayerEvent(hostile_);
  EXPECT_EQ(victim.Slot(0).mode.load(), 0u);
  EXPECT_EQ(core_.sessions().at(hostile_)->queues.size(), 1u);
  EXPECT_GT(core_.counters().implausible_values, 0u);
}

TEST_F(HostilePageTest, PriorityOutOfRangeIsClampedAndWrittenBack) {
  FakeLayer hostile(hostile_page_.get(), user_.get(), [this] { return clock_.NowUs(); });
  hostile.MakeQueue(0, 1, 77);
  core_.OnLayerEvent(hostile_);
  EXPECT_EQ(hostile.Slot(0).priority.load(), kPriorityMax);
}

TEST_F(HostilePageTest, AGpuTableFullOfRubbishTurnsSchedulingOffForItsUserOnly) {
  for (std::uint32_t i = 0; i < kGpusMax; ++i) user_->gpus[i].gpu_key.store(0x9000 + i);
  FakeLayer victim(victim_page_.get(), user_.get(), [this] { return clock_.NowUs(); });
  victim.MakeQueue(0, 1, kPriorityLow);
  victim.MakeQueue(1, 2, kPriorityHigh);
  core_.OnLayerEvent(victim_);
  EXPECT_EQ(victim.Slot(0).mode.load(), 0u);
  EXPECT_EQ(victim.Slot(1).mode.load(), 0u);
  EXPECT_GT(core_.counters().gpu_table_full, 0u);
}

TEST_F(HostilePageTest, ABogusLevelIsTakenBack) {
  FakeLayer victim(victim_page_.get(), user_.get(), [this] { return clock_.NowUs(); });
  victim.MakeQueue(0, 1, kPriorityLow);
  victim.MakeQueue(1, 2, kPriorityHigh);
  core_.OnLayerEvent(victim_);
  GpuUrgency* gpu = victim.Gpu(kGpuA);
  gpu->word.store(UrgencyWord(9, 0xffffffff));
  gpu->lease_until_us.store(~std::uint64_t{0});
  core_.OnLayerEvent(hostile_);
  EXPECT_EQ(LevelOf(gpu->word.load()), 0u);
  EXPECT_FALSE(victim.GateClosed(0));
}

// An error that is none of this system has no text, and none may be made of it.
TEST_F(HostilePageTest, ADecisionWithAnErrorThatDoesNotExistIsReported) {
  FakeLayer hostile(hostile_page_.get(), user_.get(), [this] { return clock_.NowUs(); });
  hostile.MakeQueue(0, 1, kPriorityLow);
  std::uint64_t made = 0;
  for (const std::uint32_t error : {0u, 22u, 1000u, 5000u, 0xffffffffu}) {
    Decision& decision = hostile_page_->decisions[made];
    decision.error.store(error);
    decision.sequence.store(++made);
  }
  hostile_page_->decisions_made.store(made);
  core_.OnLayerEvent(hostile_);
  ControllerInfo info;
  const auto report =
      ReportList(core_, info, {0, true}, {.all = true, .run_token = {}, .decisions = true}, {});
  const auto& decisions = report.at("processes").back().at("decisions");
  ASSERT_EQ(decisions.size(), made) << decisions;
  EXPECT_TRUE(decisions[0]["error"].is_null());
  EXPECT_EQ(decisions[1]["error"], "Invalid argument");
  EXPECT_EQ(decisions[3]["error"], "error 5000");
  core_.EndSession(hostile_);
  EXPECT_EQ(core_.ended().back()->decisions.size(), made);
}

// Any bytes at all: no crash, bounded records, a report that is JSON, and clean gates afterwards.
TEST_F(HostilePageTest, RandomPagesAreSurvived) {
  constexpr unsigned kSeed = 20240611;
  std::mt19937_64 random(kSeed);
  FakeLayer victim(victim_page_.get(), user_.get(), [this] { return clock_.NowUs(); });
  victim.MakeQueue(0, 1, kPriorityLow);
  core_.OnLayerEvent(victim_);
  ControllerInfo info;
  for (int round = 0; round < 200; ++round) {
    auto* bytes = reinterpret_cast<unsigned char*>(hostile_page_.get());
    for (std::size_t i = 0; i < sizeof(ProcessPage); i += 8) {
      const std::uint64_t value = random();
      std::memcpy(bytes + i, &value, 8);
    }
    for (QueueSlot& slot : hostile_page_->queues) {
      // Mostly states that count, and few enough GPUs to meet the victim's.
      if (random() % 8 != 0) slot.state.store(static_cast<std::uint32_t>(random() % 5));
      if (random() % 2 != 0) slot.gpu_key = kGpuA + random() % 20;
    }
    for (GpuUrgency& gpu : user_->gpus) {
      if (random() % 4 == 0) gpu.word.store(random());
    }
    // Decisions that are taken for whole, with all the rest of them at random.
    const std::uint64_t made = random() % 1000;
    hostile_page_->decisions_made.store(made);
    for (std::uint64_t i = made - std::min<std::uint64_t>(made, kDecisionsMax); i < made; ++i) {
      Decision& decision = hostile_page_->decisions[i % kDecisionsMax];
      decision.sequence.store(i + 1);
      decision.mechanism.store(static_cast<std::uint32_t>(random() % 4));
      decision.reason.store(static_cast<std::uint32_t>(random() % 4));
    }
    core_.OnLayerEvent(hostile_);
    clock_.Advance(20'000);
    core_.OnTimer();
    ASSERT_LE(core_.sessions().at(hostile_)->queues.size(), kQueuesMax) << "seed " << kSeed;
    ASSERT_LE(core_.sessions().at(hostile_)->destroyed.size(), kDestroyedQueuesMax);
    if (round % 20 == 0) {
      const auto report =
          ReportList(core_, info, {0, true}, {.all = true, .run_token = {}, .decisions = true}, {});
      ASSERT_TRUE(report.at("ok").get<bool>());
    }
  }
  core_.EndSession(hostile_);
  EXPECT_FALSE(victim.GateClosed(0));
  EXPECT_EQ(victim.Slot(0).mode.load(), 0u);
  EXPECT_FALSE(core_.NextDueUs());
}

// Somebody records his own programs, and lets them come and go: what is kept of each ends somewhere.
TEST_F(HostilePageTest, ARecordingOfProgramsThatComeAndGoIsBounded) {
  TraceRecorder recorder(&core_);
  const auto page = std::make_unique<ProcessPage>();
  ASSERT_TRUE(recorder.Handle("trace-start", {}, {2000, false})["ok"]);
  const auto others = std::make_unique<UserPage>();
  Core::InitUserPage(others.get(), 2000);
  for (std::size_t i = 0; i < kTracedSessionsMax + 100; ++i) {
    LayerInfo info;
    info.uid = 2000;
    const std::uint32_t session = core_.AddSession(info, page.get(), others.get());
    recorder.Tick();
    core_.EndSession(session);
  }
  const nlohmann::json stopped = recorder.Handle("trace-stop", {}, {2000, false});
  EXPECT_EQ(stopped["processes"].size(), kTracedSessionsMax);
  EXPECT_EQ(stopped["lost"], 100);
}

}  // namespace
}  // namespace xsched_hsa

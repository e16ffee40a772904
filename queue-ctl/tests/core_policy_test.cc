// core_policy_test.cc: policies that ask again, remember and differ by GPU, as the core runs them.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "core.h"
#include "fake_layer.h"
#include "manual_clock.h"
#include "page_waker.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

using testing::FakeLayer;
using testing::kGpuA;
using testing::kGpuB;
using testing::ManualClock;

class CountingObserver final : public Observer {
 public:
  void OnQueue(const Session&, const QueueRecord&, bool made) override { made ? ++came : ++went; }
  void OnRule(const Session& session) override { rule = session.rule; }
  void OnPreemption(std::optional<std::uint32_t>, GpuKey, std::uint32_t level,
                    std::uint64_t lasted_us, std::uint32_t) override {
    ++preemptions;
    last_level = level;
    last_us = lasted_us;
  }
  int came = 0, went = 0, preemptions = 0;
  std::uint32_t last_level = 0;
  std::uint64_t last_us = 0;
  std::string rule;
};

// A program with one queue in slot 0.
struct Program {
  std::unique_ptr<ProcessPage> page = std::make_unique<ProcessPage>();
  std::unique_ptr<FakeLayer> layer;
  std::uint32_t session = 0;
  QueueSlot& slot() const { return layer->Slot(0); }
  bool IsHeld(std::uint64_t now_us) const {
    return slot().hold.load() != 0 && slot().hold_lease_until_us.load() > now_us;
  }
};

class CorePolicyTest : public ::testing::Test {
 protected:
  CorePolicyTest() { Core::InitUserPage(user_.get(), 1000); }

  void Use(const std::string& name, const PolicyParams& params = {}) {
    core_.SetPolicies({name, params}, {});
  }
  Program Join(std::int32_t pid, int priority, GpuKey gpu = kGpuA) {
    Program program;
    LayerInfo info;
    info.uid = 1000;
    info.pid = pid;
    info.gate = GateKind::kWindow;
    program.session = core_.AddSession(info, program.page.get(), user_.get());
    program.layer = std::make_unique<FakeLayer>(program.page.get(), user_.get(),
                                                [this] { return clock_.NowUs(); });
    program.layer->MakeQueue(0, 1, priority, gpu);
    core_.OnLayerEvent(program.session);
    return program;
  }
  void Activate(Program& program) {
    program.layer->BecomeActive(0);
    program.slot().submitted_index.store(10);
    core_.OnLayerEvent(program.session);
  }
  // Runs the controller's timer for so long; whoever is let runs, and its layer counts it.
  void Pass(std::uint64_t us, const std::vector<Program*>& programs) {
    constexpr std::uint64_t kStepUs = 500;
    for (std::uint64_t passed = 0; passed < us; passed += kStepUs) {
      for (Program* program : programs) {
        const bool runs = program->slot().active.load() != 0 && !program->IsHeld(clock_.NowUs());
        if (runs) program->slot().device_us.fetch_add(kStepUs);
        if (program->slot().exposed.exchange(runs) != static_cast<std::uint32_t>(runs)) {
          core_.OnLayerEvent(program->session);
        }
      }
      clock_.Advance(kStepUs);
      if (core_.NextDueUs() && *core_.NextDueUs() <= clock_.NowUs()) core_.OnTimer();
    }
  }

  ManualClock clock_{10'000'000};
  testing::PageWaker waker_;
  CountingObserver observer_;
  std::unique_ptr<UserPage> user_ = std::make_unique<UserPage>();
  Core core_{{}, &clock_, MakePolicy("strict-priority", {}), &waker_};
  const Caller root_{0, true};
};

TEST_F(CorePolicyTest, WeightedFairSharesDeviceTimeThroughThePages) {
  Use("weighted-fair");
  Program heavy = Join(1, 7), light = Join(2, 7);
  int changed = 0;
  ASSERT_TRUE(core_
                  .SetClass(
                      root_, 1, [](ProgramClass* c) { c->weight = 300; }, &changed)
                  .ok());
  EXPECT_EQ(changed, 1);
  EXPECT_EQ(heavy.slot().mode.load(), kModeArmed | kModeReport);
  Activate(heavy);
  Activate(light);
  Pass(2'000'000, {&heavy, &light});
  const auto total = heavy.slot().device_us.load() + light.slot().device_us.load();
  EXPECT_NEAR(static_cast<double>(heavy.slot().device_us.load()) / static_cast<double>(total), 0.75,
              0.02);
  EXPECT_NEAR(static_cast<double>(total), 2e6, 1e5) << "the device idled, or two ran at a time";
}

TEST_F(CorePolicyTest, QueueThatDrainsGivesItsTurnAwayAtOnce) {
  Use("round-robin", {.slice_us = 1'000'000});
  Program a = Join(1, 7), b = Join(2, 7);
  Activate(a);
  Activate(b);
  Pass(1'000, {&a, &b});
  Program& holder = a.IsHeld(clock_.NowUs()) ? b : a;
  Program& waiting = &holder == &a ? b : a;
  ASSERT_TRUE(waiting.IsHeld(clock_.NowUs()));
  holder.layer->BecomeIdle(0);
  core_.OnLayerEvent(holder.session);
  Pass(1'000, {&a, &b});
  EXPECT_FALSE(waiting.IsHeld(clock_.NowUs()));
}

TEST_F(CorePolicyTest, HoldsAreLeasedAndLapseWithoutTheController) {
  Use("round-robin", {.slice_us = 10'000'000});
  Program a = Join(1, 7), b = Join(2, 7);
  Activate(a);
  Activate(b);
  Pass(500'000, {&a, &b});
  EXPECT_TRUE(a.IsHeld(clock_.NowUs()) || b.IsHeld(clock_.NowUs())) << "renewed all the time";
  clock_.Advance(kLeaseUs + 1);
  EXPECT_FALSE(a.IsHeld(clock_.NowUs()) || b.IsHeld(clock_.NowUs()));
}

TEST_F(CorePolicyTest, SwitchingThePolicyFreesEverybodyAndForgets) {
  Use("round-robin");
  Program a = Join(1, 7), b = Join(2, 7);
  Activate(a);
  Activate(b);
  Pass(50'000, {&a, &b});
  Use("strict-priority");
  EXPECT_EQ(a.slot().mode.load(), 0u);
  EXPECT_EQ(b.slot().hold.load(), 0u);
  EXPECT_FALSE(core_.NextDueUs()) << "nothing to wait for among equals";
  Use("weighted-fair");
  Pass(200'000, {&a, &b});
  EXPECT_GT(a.slot().device_us.load(), 50'000u);
  EXPECT_GT(b.slot().device_us.load(), 50'000u);
}

TEST_F(CorePolicyTest, EachGpuHasItsOwnPolicy) {
  Program a = Join(1, 7, kGpuA), b = Join(2, 7, kGpuA);
  Program c = Join(3, 7, kGpuB), d = Join(4, 7, kGpuB);
  core_.SetPolicy(kGpuB, {"round-robin", {}});
  EXPECT_EQ(a.slot().mode.load(), 0u);
  EXPECT_EQ(c.slot().mode.load(), kModeArmed | kModeReport);
  EXPECT_EQ(core_.PolicyOf(kGpuA).name, "strict-priority");
  EXPECT_EQ(core_.PolicyOf(kGpuB).name, "round-robin");
  core_.SetPolicy(std::nullopt, {"utilisation-cap", {}});
  EXPECT_EQ(core_.PolicyOf(kGpuB).name, "utilisation-cap") << "for all ends the single ones";
  EXPECT_EQ(d.slot().mode.load(), 0u);
}

TEST_F(CorePolicyTest, LowBehindWorkThatNeverEndsIsLetThroughAfterHoldMax) {
  Use("strict-priority", {.hold_max_us = 100'000, .guaranteed_share_permille = 100});
  Program low = Join(1, 0), high = Join(2, 15);
  low.slot().submitted_index.store(10);
  Activate(high);
  ASSERT_TRUE(low.layer->GateClosed(0));
  std::uint64_t waited_us = 0;
  for (; low.layer->GateClosed(0) && waited_us < 1'000'000; waited_us += 500) Pass(500, {&high});
  EXPECT_GE(waited_us, 100'000u);
  EXPECT_LE(waited_us, 135'000u) << "hold_max and two looks";
  EXPECT_EQ(low.slot().priority.load(), 15);
  Pass(30'000, {&high});
  EXPECT_TRUE(low.layer->GateClosed(0)) << "its turn ends";
  EXPECT_EQ(low.slot().priority.load(), -1);
}

TEST_F(CorePolicyTest, RulesClassCountsUntilAnOperatorOrdersOtherwise) {
  core_.SetObserver(&observer_);
  Program low = Join(1, 7), other = Join(2, 7);
  ProgramClass rule_class;
  rule_class.priority = 0;
  core_.Classify(low.session, {}, "batch", rule_class);
  EXPECT_EQ(observer_.rule, "batch");
  EXPECT_EQ(low.slot().priority.load(), 0) << "the layer must know";
  EXPECT_EQ(low.slot().mode.load(), kModeArmed);
  int changed = 0;
  core_.SetPriority(root_, {1, std::nullopt}, 15, &changed);
  EXPECT_EQ(low.slot().mode.load(), kModeRaise);
  core_.SetPriority(root_, {1, std::nullopt}, std::nullopt, &changed);
  EXPECT_EQ(low.slot().mode.load(), kModeArmed) << "back to the rule, not to the program";
  core_.Classify(low.session, {}, "", {});
  EXPECT_EQ(low.slot().mode.load(), 0u);
}

TEST_F(CorePolicyTest, PartitionReachesThePagesOnceTheDeviceIsKnown) {
  core_.SetDeviceShape(kGpuA, {80, 16});
  Use("cu-partition");
  Program a = Join(1, 7), b = Join(2, 7);
  EXPECT_EQ(a.slot().standing_units.load() + b.slot().standing_units.load(), 80u);
  EXPECT_EQ(b.slot().standing_first.load(), a.slot().standing_units.load());
  EXPECT_EQ(a.slot().mechanisms.load(), kMechanismSqueeze);
  EXPECT_EQ(a.slot().mode.load(), 0u);
  core_.EndSession(b.session);
  EXPECT_EQ(a.slot().standing_units.load(), 0u) << "alone it has all";
}

TEST_F(CorePolicyTest, PartitionsAreLeasedAndALapseIsTold) {
  core_.SetDeviceShape(kGpuA, {80, 16});
  Use("cu-partition");
  Program a = Join(1, 7), b = Join(2, 7);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(core_.NextDueUs());
    clock_.Advance(*core_.NextDueUs() - clock_.NowUs());
    EXPECT_GT(a.slot().standing_lease_until_us.load(), clock_.NowUs());
    core_.OnTimer();
  }
  const std::uint32_t orders = a.page->orders.load(), wakes = a.page->wake.load();
  clock_.Advance(kLeaseUs + 1);  // stopped for a while: the layers have taken their masks off
  EXPECT_LT(a.slot().standing_lease_until_us.load(), clock_.NowUs());
  core_.OnTimer();
  EXPECT_GT(a.slot().standing_lease_until_us.load(), clock_.NowUs());
  EXPECT_NE(a.page->orders.load(), orders) << "the layer does not put its mask on again";
  EXPECT_NE(a.page->wake.load(), wakes);
  core_.EndSession(b.session);
  EXPECT_FALSE(core_.NextDueUs()) << "nothing is leased any more";
}

TEST_F(CorePolicyTest, DeadlinesOfTheClassAndOfThePageDecide) {
  Use("earliest-deadline");
  Program a = Join(1, 7), b = Join(2, 7);
  int changed = 0;
  core_.SetClass(
      root_, 1, [](ProgramClass* c) { c->deadline_us = 50'000; }, &changed);
  Activate(a);
  Activate(b);
  Pass(20'000, {&a, &b});
  EXPECT_FALSE(a.IsHeld(clock_.NowUs()));
  EXPECT_TRUE(b.IsHeld(clock_.NowUs()));
  b.slot().deadline_us.store(clock_.NowUs() + 1'000);
  core_.OnLayerEvent(b.session);
  Pass(2'000, {&a, &b});
  EXPECT_TRUE(a.IsHeld(clock_.NowUs()));
  EXPECT_FALSE(b.IsHeld(clock_.NowUs()));
}

TEST_F(CorePolicyTest, LatencyTargetSeesTheHistogramAndBeginsAnew) {
  Use("latency-target", {.latency_samples_min = 20});
  Program low = Join(1, 0), high = Join(2, 15);
  int changed = 0;
  core_.SetClass(
      root_, 2, [](ProgramClass* c) { c->latency_target_us = 3'000; }, &changed);
  EXPECT_EQ(low.slot().delay_budget_permille.load(), 80u);
  for (int i = 0; i < 30; ++i) high.page->requests.marked.Add(9'000);
  Pass(1'100'000, {});
  EXPECT_LT(low.slot().delay_budget_permille.load(), 80u);
  const std::uint32_t once = low.slot().delay_budget_permille.load();
  Pass(3'000'000, {});
  EXPECT_EQ(low.slot().delay_budget_permille.load(), once) << "the same requests, counted again";
}

TEST_F(CorePolicyTest, HostileUseAndDeadlinesDoNotHoldOthers) {
  Use("weighted-fair");
  Program honest = Join(1, 7), liar = Join(2, 7);
  Activate(honest);
  Activate(liar);
  Pass(100'000, {&honest, &liar});
  const auto before = honest.slot().device_us.load();
  for (int i = 0; i < 500; ++i) {
    liar.slot().device_us.store(i % 2 == 0 ? ~std::uint64_t{0} : 0);
    liar.slot().deadline_us.store(~std::uint64_t{0});
    core_.OnLayerEvent(liar.session);
    Pass(1'000, {&honest});
  }
  EXPECT_GT(honest.slot().device_us.load() - before, 150'000u);
}

TEST_F(CorePolicyTest, PreemptionsAndQueuesAreObserved) {
  core_.SetObserver(&observer_);
  Program low = Join(1, 0), high = Join(2, 15);
  EXPECT_EQ(observer_.came, 2);
  Activate(high);
  clock_.Advance(3'000);
  high.layer->BecomeIdle(0);
  core_.OnLayerEvent(high.session);
  EXPECT_EQ(observer_.preemptions, 1);
  EXPECT_EQ(observer_.last_level, 16u);
  EXPECT_EQ(observer_.last_us, 3'000u);
  low.layer->DestroyQueue(0);
  core_.OnLayerEvent(low.session);
  EXPECT_EQ(observer_.went, 1);
}

TEST_F(CorePolicyTest, ScansSlotsOnlyWhenTheLayerSaysSo) {
  Program a = Join(1, 7);
  QueueSlot& slot = a.layer->Slot(3);
  slot.gpu_key = kGpuA;
  slot.serial = 9;
  slot.state.store(kSlotLive);
  core_.OnLayerEvent(a.session);
  EXPECT_EQ(core_.sessions().at(a.session)->queues.size(), 1u);
  a.page->changes.fetch_add(1);
  core_.OnLayerEvent(a.session);
  EXPECT_EQ(core_.sessions().at(a.session)->queues.size(), 2u);
}

// Answers for one queue too many and wants the rest of its answer to count.
class NonsensePolicy final : public Policy {
 public:
  std::string_view Name() const override { return "nonsense"; }
  void Decide(const Snapshot& snapshot, Answer* answer) const override {
    answer->Reset(snapshot.queues.size() + 1);
    for (QueueAnswer& queue : answer->queues) queue.intent.hold = true;
    answer->AskAt(snapshot.now_us);
  }
};

TEST(NonsensePolicyTest, LetsAllRunAndIsToldOfEverMoreSeldom) {
  ManualClock clock(10'000'000);
  testing::PageWaker waker;
  const auto user = std::make_unique<UserPage>();
  const auto page = std::make_unique<ProcessPage>();
  Core::InitUserPage(user.get(), 1000);
  Core core({}, &clock, std::make_unique<NonsensePolicy>(), &waker);
  LayerInfo info;
  info.uid = 1000;
  info.gate = GateKind::kWindow;
  ::testing::internal::CaptureStdout();
  const std::uint32_t session = core.AddSession(info, page.get(), user.get());
  FakeLayer layer(page.get(), user.get(), [&clock] { return clock.NowUs(); });
  layer.MakeQueue(0, 1, kPriorityLow);
  core.OnLayerEvent(session);
  bool cross_user = false;
  const auto again = [&] { core.SetCrossUser(cross_user = !cross_user); };
  while (core.counters().unusable_answers < 100) again();
  std::string said = ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 7) << said;
  EXPECT_NE(said.find("policy nonsense returned 2 intents for 1 queues"), std::string::npos)
      << said;
  EXPECT_NE(said.find("(64 times so far)"), std::string::npos) << said;
  EXPECT_EQ(layer.Slot(0).hold.load(), 0u);
  EXPECT_EQ(core.NextDueUs(), std::nullopt) << "what it asked for does not count either";
  core.SetPolicies({"strict-priority", {}}, {});
  const std::uint64_t before = core.counters().unusable_answers;
  again();
  EXPECT_EQ(core.counters().unusable_answers, before);
}

}  // namespace
}  // namespace xsched_hsa

// properties_test.cc: what must hold for every policy, whatever it decides.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "arena_model.h"

namespace xsched_hsa {
namespace {

std::uint64_t Seed() {
  const char* text = std::getenv("XSCHED_HSA_TEST_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 20261122;
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t Below(std::uint64_t end) { return engine_() % end; }

 private:
  std::mt19937_64 engine_;
};

std::vector<QueueView> RandomQueues(Random* random) {
  std::vector<QueueView> views(random->Below(12));
  std::uint32_t session = 1;
  for (QueueView& view : views) {
    session += static_cast<std::uint32_t>(random->Below(2));
    view.queue = static_cast<std::uint64_t>(&view - views.data()) + 1;
    view.session = session;
    view.priority = static_cast<int>(random->Below(3)) * 7;
    view.controllable = random->Below(5) != 0;
    view.active = random->Below(2) != 0;
    view.exposed = random->Below(2) != 0;
    view.suspended = random->Below(4) == 0;
    view.pending_packets = random->Below(3);
    view.published_packets = random->Below(1000);
    view.used_us = random->Below(100'000);
    view.deadline_us = random->Below(2) * (1'000'000 + random->Below(1'000'000));
    view.weight = 1 + static_cast<std::uint32_t>(random->Below(10'000));
    view.cap_permille = 1 + static_cast<std::uint32_t>(random->Below(1000));
    view.share_permille = static_cast<std::uint32_t>(random->Below(1000));
    view.latency_target_us = random->Below(2) * 1'000;
    view.latency_p99_us = random->Below(3'000);
    view.latency_samples = random->Below(300);
    view.request_us = random->Below(50'000);
    // What any policy may have left, and what none has: a switch clears it, but a bug may not.
    for (std::int64_t& word : view.memory.words) {
      word = static_cast<std::int64_t>(random->Below(4'000'000)) - 2'000'000;
    }
  }
  return views;
}

class EveryPolicyTest : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryPolicyTest, AnswersAnySnapshotByTheRules) {
  const std::uint64_t seed = Seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  const auto policy = MakePolicy(GetParam(), {});
  Answer answer, again;
  for (int round = 0; round < 2'000; ++round) {
    const std::vector<QueueView> views = RandomQueues(&random);
    Snapshot snapshot;
    snapshot.now_us = 1'000'000 + random.Below(1'000'000);
    snapshot.elapsed_us = random.Below(100'000);
    snapshot.level = static_cast<std::uint32_t>(random.Below(17));
    snapshot.compute_units = static_cast<std::uint32_t>(random.Below(5)) * 80;
    snapshot.unit_step = static_cast<std::uint32_t>(random.Below(3)) * 8;
    snapshot.memory.words[0] = static_cast<std::int64_t>(random.Below(100)) - 50;
    snapshot.queues = views;
    policy->Decide(snapshot, &answer);
    ASSERT_EQ(answer.queues.size(), views.size());
    EXPECT_GT(answer.next_us.value_or(UINT64_MAX), snapshot.now_us);
    for (std::size_t i = 0; i < views.size(); ++i) {
      const QueueIntent& intent = answer.queues[i].intent;
      EXPECT_TRUE(views[i].controllable || intent == QueueIntent{});
      EXPECT_TRUE(intent.armed || !intent.hold) << "only an armed queue obeys a hold";
      EXPECT_TRUE(!intent.armed || intent.window_us != 0) << "armed, it would expose without bound";
      EXPECT_LE(intent.boost, 15);
      EXPECT_LE(intent.standing_first + intent.standing_units, snapshot.compute_units);
    }
    // Pure: the same again, whatever was in *answer before.
    policy->Decide(snapshot, &again);
    ASSERT_EQ(again.queues.size(), answer.queues.size());
    for (std::size_t i = 0; i < views.size(); ++i) {
      EXPECT_EQ(again.queues[i].intent, answer.queues[i].intent);
      EXPECT_EQ(again.queues[i].memory, answer.queues[i].memory);
    }
    EXPECT_EQ(again.next_us, answer.next_us);
  }
}

// Whatever it does, it does not let the device idle for long while somebody has work.
TEST_P(EveryPolicyTest, KeepsTheDeviceBusy) {
  testing::ArenaModel model(MakePolicy(GetParam(), {}));
  for (int i = 0; i < 4; ++i) {
    testing::Program program;
    program.view.priority = i % 2 * 7;
    program.view.weight = static_cast<std::uint32_t>(i + 1) * 100;
    model.Add(std::move(program));
  }
  model.Run(2'000'000);
  double received = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    received += model.program(i).received_us;
    EXPECT_GT(model.program(i).received_us, 10'000) << "starved: " << i;
  }
  EXPECT_GT(received, 0.98 * 2e6);
  EXPECT_LT(model.decisions(), 4'000u) << "asks too often";
}

TEST_P(EveryPolicyTest, IsListedUnderItsNameWithParametersThatExist) {
  const PolicyInfo* info = FindPolicy(GetParam());
  ASSERT_NE(info, nullptr);
  EXPECT_EQ(MakePolicy(GetParam(), {})->Name(), GetParam());
  EXPECT_NE(PolicyNames().find(GetParam()), std::string::npos);
  for (const std::string_view name : info->params) {
    PolicyParams params;
    const auto list = ListParams();
    const auto param = std::find_if(list.begin(), list.end(),
                                    [name](const ParamInfo& entry) { return entry.name == name; });
    ASSERT_NE(param, list.end()) << name;
    EXPECT_EQ(xsched_hsa::SetParam(&params, info->name, name, param->maximum), "");
    EXPECT_DOUBLE_EQ(xsched_hsa::GetParam(params, *param), param->maximum);
    EXPECT_NE(xsched_hsa::SetParam(&params, info->name, name, param->maximum * 2 + 1), "");
    const double by_default = xsched_hsa::GetParam(PolicyParams{}, *param);
    EXPECT_GE(by_default, param->minimum);
    EXPECT_LE(by_default, param->maximum);
  }
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const PolicyInfo& info : ListPolicies()) names.emplace_back(info.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Policies, EveryPolicyTest, ::testing::ValuesIn(Names()),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(PolicyRegistryTest, UnknownNameGivesNothing) { EXPECT_EQ(MakePolicy("fair", {}), nullptr); }

TEST(PolicyRegistryTest, WrongParametersAreNamed) {
  PolicyParams params;
  EXPECT_NE(SetParam(&params, "strict-priority", "slice_ms", 1).find("has no parameter"),
            std::string::npos);
  EXPECT_NE(SetParam(&params, "weighted-fair", "slice_ms", -1).find("must be 0.5 to"),
            std::string::npos);
  EXPECT_NE(SetParam(&params, "earliest-deadline", "concurrent", 1.5).find("whole number"),
            std::string::npos);
  EXPECT_EQ(params.concurrent, 1u);
}

}  // namespace
}  // namespace xsched_hsa

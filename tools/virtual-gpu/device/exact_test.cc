// exact_test.cc: bundled runs against exact ones (grain_ns = 0), and the replay's own behaviour.

#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>

#include "replay.h"
#include "test_source.h"

namespace virtual_gpu {
namespace {

// A medium workload: long streams of short workgroups, of long ones, and of few that fill an LDS.
ReplayInput Medium(TimeNs grain) {
  ReplayInput input;
  input.params.grain_ns = grain;
  input.duration_ns = 150'000'000;
  ReplayQueue low;
  low.name = "low";
  low.kernels = {{120'000, 1, 24, 0, 5'000},     {30'000, 4, 32, 1185, 5'500},
                 {20'000, 2, 32, 0, 16'000},     {1'024, 2, 224, 27'594, 84'000},
                 {132, 6, 168, 64'961, 900'000}, {2'000, 4, 32, 1185, 4'000}};
  input.queues.push_back(low);
  return input;
}
void AddHigh(ReplayInput* input) {
  ReplayQueue high;
  high.name = "high";
  high.config.process = 2;
  high.period_ns = 5'000'000;
  high.launch_gap_ns = 18'700;
  for (int i = 0; i < 8; ++i) {
    high.kernels.push_back({784, 4, 24, 0, 8'000});
    high.kernels.push_back({196, 2, 32, 0, 6'000});
    high.kernels.push_back({128, 4, 32, 1185, 7'000});
  }
  input->queues.push_back(high);
}
double Mean(const std::vector<TimeNs>& values) {
  const auto sum = static_cast<double>(std::accumulate(values.begin(), values.end(), TimeNs{0}));
  return sum / static_cast<double>(values.size());
}

TEST(ExactTest, BundledRunTakesAsLongAsTheExactOneAlone) {
  const ReplayResult exact = Replay(Medium(0)), bundled = Replay(Medium(20'000));
  const double e = Mean(exact.queues[0].latencies_ns), b = Mean(bundled.queues[0].latencies_ns);
  std::printf("alone: exact %.4f ms, bundled %.4f ms; events %.2f M and %.3f M\n", e / 1e6, b / 1e6,
              static_cast<double>(exact.device.events) / 1e6,
              static_cast<double>(bundled.device.events) / 1e6);
  EXPECT_NEAR(b / e, 1.0, 0.03);
}

// A kernel that repeats alone runs in bulk after a few simulated runs; disturbed in the middle, it
// has to go on as if it had been simulated all the time.
TEST(ExactTest, BulkRunGoesOnAsIfItHadBeenSimulated) {
  const auto end_when_suspended_at = [](TimeNs at, int repeats) {
    TestRig rig(DeviceParams{});
    TestSource source, other;
    const QueueId id = rig.AddQueue(&source);
    const QueueId disturber = rig.AddQueue(&other);
    for (int i = 0; i < repeats; ++i) {
      source.Submit({200'000, 1, 24, 0, 8'000});
      rig.Kick(id);
      rig.Idle();
    }
    const std::uint64_t events = rig.device->GetStats().events;
    source.Submit({200'000, 1, 24, 0, 8'000});
    rig.Kick(id);
    const TimeNs begin = rig.now;
    rig.Run(at);
    if (repeats > 6) {
      EXPECT_LT(rig.device->GetStats().events - events, 4u);
    }
    other.Submit({4'000, 1, 24, 0, 4'000});
    rig.Kick(disturber);
    rig.Idle();
    EXPECT_EQ(source.workgroups, 200'000u * (repeats + 1));
    return static_cast<double>(source.done.back().end - begin);
  };
  for (const TimeNs at : {1'100, 5'000, 100'000, 300'000, 500'000, 600'000}) {
    const double simulated = end_when_suspended_at(at, 1), bulk = end_when_suspended_at(at, 10);
    EXPECT_NEAR(bulk / simulated, 1.0, 0.03) << "disturbed after " << at << " ns";
  }
}

// Tolerance: 3 % for the long program, 25 % for the mean latency of the short one, whose waits are
// few and depend on phases that the two runs draw differently.
TEST(ExactTest, BundledRunContendsLikeTheExactOne) {
  ReplayInput exact_input = Medium(0), bundled_input = Medium(20'000);
  AddHigh(&exact_input);
  AddHigh(&bundled_input);
  const ReplayResult exact = Replay(exact_input), bundled = Replay(bundled_input);
  const double e = Mean(exact.queues[0].latencies_ns), b = Mean(bundled.queues[0].latencies_ns);
  const double eh = Mean(exact.queues[1].latencies_ns), bh = Mean(bundled.queues[1].latencies_ns);
  std::printf("low: exact %.4f ms, bundled %.4f; high: exact %.4f ms, bundled %.4f\n", e / 1e6,
              b / 1e6, eh / 1e6, bh / 1e6);
  EXPECT_NEAR(b / e, 1.0, 0.03);
  EXPECT_NEAR(bh / eh, 1.0, 0.25);
}

TEST(ReplayTest, MeasuresAPeriodicQueueAlone) {
  const ReplayInput input = ParseReplay(nlohmann::json::parse(R"({
    "profile": "mi308x", "seconds": 0.1, "params": {"workgroup_spread": 0},
    "queues": [{"name": "a", "kernels": [{"workgroups": 80, "workgroup_ns": 50000},
                                         {"workgroups": 80, "workgroup_ns": 50000}],
                "arrival": {"period_ns": 10000000}, "launch_gap_ns": 200000}]})"));
  const ReplayResult result = Replay(input);
  ASSERT_EQ(result.queues[0].latencies_ns.size(), 10u);
  for (const TimeNs latency : result.queues[0].latencies_ns) {
    EXPECT_EQ(latency, 200'000 + 1'000 + 50'000);  // gap, launch, kernel
  }
}

TEST(ReplayTest, StopsAfterTheRepeatsAskedFor) {
  ReplayInput input = Medium(20'000);
  input.queues[0].repeat = 2;
  EXPECT_EQ(Replay(input).queues[0].latencies_ns.size(), 2u);
}

TEST(ReplayTest, SaysWhatIsWrongWithItsInput) {
  const auto message = [](const char* text) -> std::string {
    try {
      ParseReplay(nlohmann::json::parse(text));
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message(R"({"profile": "mi9", "queues": []})").find("unknown profile 'mi9'"),
            std::string::npos);
  EXPECT_NE(message(R"({"params": {"pipe": 1}, "queues": []})").find("unknown name 'pipe'"),
            std::string::npos);
  EXPECT_NE(message(R"({"queues": [{"kernels": []}]})").find("no kernels"), std::string::npos);
  EXPECT_NE(message(R"({})").find("queues"), std::string::npos);
}

TEST(ReplayTest, PercentilesAreRanks) {
  EXPECT_EQ(Percentile({}, 50), 0);
  EXPECT_EQ(Percentile({30, 10, 20}, 50), 20);
  EXPECT_EQ(Percentile({30, 10, 20}, 100), 30);
  EXPECT_EQ(Percentile({30, 10, 20}, 1), 10);
}

}  // namespace
}  // namespace virtual_gpu

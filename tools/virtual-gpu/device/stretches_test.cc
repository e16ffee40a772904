// stretches_test.cc: a replay in stretches: the same on any number of threads, and like the plain one.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "replay.h"

namespace virtual_gpu {
namespace {

// Requests of eight kernels against a long program that fills every CU.
ReplayInput Contended(std::uint32_t stretches, double seconds) {
  ReplayInput input;
  input.duration_ns = static_cast<TimeNs>(seconds * 1e9);
  input.stretches = stretches;
  ReplayQueue low, high;
  low.name = "low";
  low.kernels = {
      {20'000, 4, 32, 1185, 5'500}, {1'024, 2, 224, 27'594, 84'000}, {9'000, 1, 24, 0, 8'000}};
  high.name = "high";
  high.config.process = 2;
  high.period_ns = 3'100'000;
  high.launch_gap_ns = 18'700;
  for (int i = 0; i < 4; ++i) {
    high.kernels.push_back({784, 4, 24, 0, 8'000});
    high.kernels.push_back({128, 4, 32, 40'185, 7'000});
  }
  input.queues = {low, high};
  return input;
}

TEST(StretchesTest, OneIsThePlainReplay) {
  const ReplayInput input = Contended(1, 0.03);
  EXPECT_EQ(ToJson(ReplayInStretches(input, 3)), ToJson(Replay(input)));
  EXPECT_FALSE(ToJson(Replay(input)).contains("stretches"));
}

TEST(StretchesTest, TheAnswerDoesNotDependOnTheThreads) {
  const ReplayInput input = Contended(5, 0.1);
  const ReplayResult alone = ReplayInStretches(input, 1), together = ReplayInStretches(input, 3);
  EXPECT_EQ(ToJson(together), ToJson(alone));
  EXPECT_EQ(ToJson(alone).at("stretches"), 5);
  EXPECT_EQ(ToJson(alone).at("seconds"), 0.1);
  for (std::size_t q = 0; q < 2; ++q) {
    EXPECT_EQ(together.queues[q].latencies_ns, alone.queues[q].latencies_ns);
  }
}

TEST(StretchesTest, TheFirstIsThePlainOnesBeginningAndTheOthersAreNot) {
  const ReplayInput input = Contended(3, 0.09);
  const ReplayResult cut = ReplayInStretches(input, 1), first = Replay(Contended(1, 0.03));
  const auto& all = cut.queues[1].latencies_ns;
  const auto& begin = first.queues[1].latencies_ns;
  ASSERT_GE(all.size(), 2 * begin.size());
  EXPECT_TRUE(std::equal(begin.begin(), begin.end(), all.begin()));
  EXPECT_FALSE(
      std::equal(begin.begin(), begin.end(), all.begin() + static_cast<long>(begin.size())));
}

// Half a simulated second, about 160 requests. Bounds: 5 % for the means of what are different
// samples of the same distribution, 2 % for rates, of which a cut costs up to a request each.
TEST(StretchesTest, FiguresAreThePlainReplays) {
  const ReplayResult plain = Replay(Contended(1, 0.5)),
                     cut = ReplayInStretches(Contended(10, 0.5), 2);
  const auto mean = [](const std::vector<TimeNs>& all) {
    return std::accumulate(all.begin(), all.end(), 0.0) / static_cast<double>(all.size());
  };
  for (std::size_t q = 0; q < 2; ++q) {
    const auto& a = cut.queues[q];
    const auto& b = plain.queues[q];
    std::printf(
        "%s: mean %.4f and %.4f ms, P50 %.4f and %.4f, P95 %.4f and %.4f; %.2f and %.2f/s\n",
        a.name.c_str(), mean(a.latencies_ns) / 1e6, mean(b.latencies_ns) / 1e6,
        static_cast<double>(Percentile(a.latencies_ns, 50)) / 1e6,
        static_cast<double>(Percentile(b.latencies_ns, 50)) / 1e6,
        static_cast<double>(Percentile(a.latencies_ns, 95)) / 1e6,
        static_cast<double>(Percentile(b.latencies_ns, 95)) / 1e6, a.repeats_per_s,
        b.repeats_per_s);
    EXPECT_NEAR(mean(a.latencies_ns) / mean(b.latencies_ns), 1, 0.05) << a.name;
    EXPECT_NEAR(a.repeats_per_s / b.repeats_per_s, 1, 0.02) << a.name;
  }
}

}  // namespace
}  // namespace virtual_gpu

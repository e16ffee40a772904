#include "pump_pace.h"

#include <gtest/gtest.h>

namespace xsched_hsa {
namespace {

constexpr std::uint64_t kPollNs = 25'000, kRoundNs = 15'000;

PumpPace After(std::uint32_t programs, std::uint32_t processors,
               std::uint64_t round_ns = kRoundNs) {
  PumpPace pace;
  for (int i = 0; i < 100; ++i) pace.Looked(round_ns, programs, processors);
  return pace;
}

TEST(PumpPaceTest, AsLongAsAskedWhileThereAreProcessors) {
  EXPECT_EQ(After(4, 2).Sleep(kPollNs), kPollNs);
  EXPECT_EQ(After(125, 64).Sleep(kPollNs), kPollNs);
}

TEST(PumpPaceTest, AllTogetherTakeAQuarterOfTheProcessors) {
  for (const std::uint32_t programs : {32u, 64u, 200u}) {
    const std::uint64_t sleep_ns = After(programs, 2).Sleep(kPollNs);
    const double all =
        static_cast<double>(programs) * kRoundNs / static_cast<double>(sleep_ns + kRoundNs);
    EXPECT_LE(all, 0.25 * 2 * 1.2) << programs;
    EXPECT_GE(all, 0.25 * 2 * 0.5) << "less would be late for nothing, " << programs;
  }
}

TEST(PumpPaceTest, LongerWaitsStayWhatTheyAreAndNoneIsWithoutBound) {
  EXPECT_EQ(After(64, 2).Sleep(7'000'000), 7'000'000u);
  EXPECT_LE(After(0xffffffff, 1, ~std::uint64_t{0} / 2).Sleep(kPollNs), PumpPace::kMostNs);
  EXPECT_LE(After(64, 0).Sleep(kPollNs), PumpPace::kMostNs);
}

TEST(PumpPaceTest, EndsWhenTheProgramsHaveGone) {
  PumpPace pace = After(64, 2);
  EXPECT_GT(pace.Sleep(kPollNs), 10 * kPollNs);
  pace.Looked(kRoundNs, 2, 2);
  EXPECT_EQ(pace.Sleep(kPollNs), kPollNs);
}

}  // namespace
}  // namespace xsched_hsa

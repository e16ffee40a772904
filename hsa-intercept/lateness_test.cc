#include "lateness.h"

#include <gtest/gtest.h>

namespace xsched_hsa {
namespace {

constexpr std::uint64_t kPollNs = 25'000, kLateNs = 3'000'000;

TEST(LatenessTest, AsLongAsAskedWhileThereAreProcessors) {
  Lateness lateness;
  for (int i = 0; i < 100; ++i) lateness.Slept(kPollNs, kPollNs + 100'000);
  EXPECT_EQ(lateness.Sleep(kPollNs), kPollNs);
  lateness.Slept(kPollNs, kLateNs);
  EXPECT_EQ(lateness.Sleep(kPollNs), kPollNs) << "one late one is chance";
}

TEST(LatenessTest, AsLongAsItIsLateWhereTheyAreShortAndNoLonger) {
  Lateness lateness;
  for (int i = 0; i < 100; ++i) lateness.Slept(kPollNs, kPollNs + kLateNs);
  EXPECT_GT(lateness.Sleep(kPollNs), kLateNs * 9 / 10);
  EXPECT_LE(lateness.Sleep(kPollNs), kLateNs);
  EXPECT_EQ(lateness.Sleep(2 * kLateNs), 2 * kLateNs) << "longer waits stay what they are";
  for (int i = 0; i < 100; ++i) lateness.Slept(kPollNs, 1'000'000'000);
  EXPECT_LE(lateness.Sleep(kPollNs), Lateness::kMostNs);
}

TEST(LatenessTest, EndsWhenTheProcessorsAreThereAgain) {
  Lateness lateness;
  for (int i = 0; i < 100; ++i) lateness.Slept(kPollNs, kPollNs + kLateNs);
  // Woken by a producer: that says nothing.
  for (int i = 0; i < 100; ++i) lateness.Slept(kLateNs, 1000);
  EXPECT_GT(lateness.Sleep(kPollNs), kPollNs);
  for (int i = 0; i < 30; ++i) lateness.Slept(kLateNs, kLateNs + 50'000);
  EXPECT_EQ(lateness.Sleep(kPollNs), kPollNs);
}

}  // namespace
}  // namespace xsched_hsa

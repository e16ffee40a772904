// The simulated clock: it follows the host's, never passes a grant, and never goes back.
#include "sim_clock.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "pacer.h"
#include "sim_timer.h"

namespace virtual_gpu {
namespace {

constexpr std::int64_t kMs = 1'000'000;

TEST(SimClockTest, FollowsTheHostDividedByTheScale) {
  const SimClock clock(4);
  const std::int64_t raw_before = RawNs();
  const TimeNs before = clock.Now();
  Pacer::Sleep(4 * kMs);
  const TimeNs passed = clock.Now() - before;
  const std::int64_t raw_passed = RawNs() - raw_before;
  EXPECT_GE(passed, kMs);
  EXPECT_LE(passed, raw_passed / 4);
}

TEST(SimClockTest, StandsAtTheLeastGrantAndGoesOnFromThere) {
  SimClock clock(2);
  clock.Grant(0, 2 * kMs);
  clock.Grant(1, 200 * kMs);
  Pacer::Sleep(6 * kMs);
  const TimeNs stood_at = clock.Now();
  Pacer::Sleep(2 * kMs);
  EXPECT_EQ(clock.Now(), stood_at) << "past its grant";
  EXPECT_EQ(clock.stops(), 0u) << "counted when it goes on";
  const std::int64_t raw_before = RawNs();
  clock.GrantForEver(0);
  const TimeNs passed = clock.Now() - stood_at;
  EXPECT_LE(2 * passed, RawNs() - raw_before) << "the time it stood for was not left out";
  EXPECT_EQ(clock.stops(), 1u);
  EXPECT_GE(clock.stood_ns(), 4 * kMs);
  EXPECT_GE(clock.Now(), stood_at);
  // An event from before the stop is not in the host's future, and the present is the present.
  EXPECT_LE(clock.ToRaw(stood_at), RawNs());
  const TimeNs now = clock.Now();
  EXPECT_LE(clock.ToRaw(now), RawNs());
}

TEST(SimClockTest, AGpuThatStartsToCountDoesNotTurnTimeBack) {
  SimClock clock(1);
  Pacer::Sleep(kMs);
  const TimeNs before = clock.Now();
  clock.Grant(3, -1'000 * kMs);
  EXPECT_GE(clock.Now(), before);
}

TEST(SimClockTest, NoReaderOfTheFileSeesTimeGoBack) {
  char folder[] = "/tmp/sim-clock-test-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/" + kClockFileName;
  SimClock clock(1);
  ASSERT_TRUE(clock.Publish(path));
  const ClockPage* page = MapClockPage((std::string(folder) + "/socket").c_str());
  ASSERT_NE(page, nullptr);
  std::atomic<bool> stop = false;
  std::atomic<int> backwards = 0;
  std::thread reader([&] {
    for (std::int64_t last = 0; !stop;) {
      const std::int64_t now = ClockPageNow(*page);
      if (now < last) ++backwards;
      last = now;
    }
  });
  for (int i = 0; i < 20'000; ++i) {
    clock.Grant(0, 1'000);
    if (i % 64 == 0) Pacer::Sleep(50'000);
  }
  stop = true;
  reader.join();
  EXPECT_EQ(backwards, 0);
  EXPECT_GT(clock.stops(), 0u);
  std::filesystem::remove_all(folder);
}

TEST(SimClockTest, AReaderThatIsKeptUpIsNotPastTheFirstLimit) {
  ClockPage page;
  const auto late = [&page]() -> std::int64_t {
    page.limit_ns = 1'000'000;  // somebody set it while this one did not run
    return 5'000'000;
  };
  EXPECT_EQ(ClockPageNowBy(page, late), 1'000'000);
}

TEST(SimClockTest, ATimerWaitsForSimulatedTime) {
  SimClock clock(1);
  Timers timers;
  bool ran = false;
  clock.Grant(0, kMs);
  const TimeNs due = clock.Now() + 3 * kMs;
  AddAtSimTime(&timers, &clock, due, [&] { ran = true; });
  Pacer::Sleep(8 * kMs);
  timers.RunDue(RawNs());
  EXPECT_FALSE(ran) << "the clock stands before it is due";
  clock.GrantForEver(0);
  while (!ran) timers.RunDue(RawNs());
  EXPECT_GE(clock.Now(), due);
}

TEST(TimersTest, InTheirOrderAndNotOnceCancelled) {
  Timers timers;
  std::string ran;
  const auto writes = [&ran](char letter) { return [&ran, letter] { ran += letter; }; };
  timers.Add(3, writes('c'));
  const Timers::Id cancelled = timers.Add(2, writes('x'));
  timers.Add(2, writes('b'));  // as soon as the one before
  const Timers::Id first = timers.Add(1, [&] {
    ran += 'a';
    timers.Add(1, writes('+'));
  });
  timers.Cancel(cancelled);
  timers.Cancel(cancelled);
  timers.Cancel({});
  EXPECT_EQ(timers.size(), 3u);
  EXPECT_EQ(timers.NextDue(), 1);
  timers.RunDue(2);
  EXPECT_EQ(ran, "a+b");
  timers.Cancel(first);  // has run
  EXPECT_EQ(timers.size(), 1u);
  timers.RunDue(3);
  EXPECT_EQ(ran, "a+bc");
  EXPECT_EQ(timers.NextDue(), INT64_MAX);
}

TEST(SimClockTest, NoFileNoPage) {
  EXPECT_EQ(MapClockPage("/nonexistent/socket"), nullptr);
  char folder[] = "/tmp/sim-clock-test-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  SimClock clock(1);
  EXPECT_FALSE(clock.Publish("/nonexistent/clock"));
  // A file of something else.
  const std::string path = std::string(folder) + "/" + kClockFileName;
  std::ofstream file(path);
  file << std::string(512, 'x');
  file.close();
  ASSERT_TRUE(file);
  EXPECT_EQ(MapClockPage((std::string(folder) + "/socket").c_str()), nullptr);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace virtual_gpu

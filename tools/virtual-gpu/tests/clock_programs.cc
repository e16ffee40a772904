// clock_programs.cc: programs that read CLOCK_MONOTONIC, without a device.

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>

#include "hsa_harness.h"
#include "programs.h"

namespace virtual_gpu::test {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

std::int64_t NowNs() {
  timespec now;
  EXPECT_THAT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  return now.tv_sec * kSecondNs + now.tv_nsec;
}

void PrintClock() { std::printf("now %lld us\n", static_cast<long long>(NowNs() / 1000)); }

// An absolute timer ends when this clock is there, not before.
void AbsoluteTimer() {
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  EXPECT_THAT(timer >= 0);
  const std::int64_t end = NowNs() + 50'000'000;
  itimerspec when = {};
  when.it_value = {end / kSecondNs, end % kSecondNs};
  EXPECT_THAT(timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, nullptr) == 0);
  std::uint64_t expirations = 0;
  EXPECT_THAT(read(timer, &expirations, sizeof(expirations)) == sizeof(expirations));
  EXPECT_THAT(NowNs() >= end);
  close(timer);
}

}  // namespace

void AddClockPrograms(Programs* programs) {
  (*programs)["clock"] = PrintClock;
  (*programs)["clock-timer"] = AbsoluteTimer;
}

}  // namespace virtual_gpu::test

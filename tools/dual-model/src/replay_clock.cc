#include "replay_clock.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>

#include "virtual-gpu/clock_page.h"

namespace dual_model {
namespace {
constexpr std::int64_t kNsPerSecond = 1'000'000'000;
// Timers on a busy machine are late by some tens of microseconds: the last stretch is spun.
constexpr std::int64_t kSpinNs = 80'000;
constexpr char kTimeScaleEnv[] = "VIRTUAL_GPU_TIME_SCALE", kSocketEnv[] = "VIRTUAL_GPU_SOCKET";
}  // namespace

std::int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

bool ReplayClock::FromEnvironment(ReplayClock* clock, std::string* error) {
  *clock = ReplayClock(1);
  if (const char* socket = std::getenv(kSocketEnv); socket != nullptr && *socket != '\0') {
    clock->page_ = virtual_gpu::MapClockPage(socket);
  }
  const char* text = std::getenv(kTimeScaleEnv);
  if (text == nullptr || *text == '\0') return true;
  char* end = nullptr;
  clock->scale_ = std::strtod(text, &end);
  if (*end == '\0' && clock->scale_ > 0 && clock->scale_ <= 1e6) return true;
  *error = std::string(kTimeScaleEnv) + " is '" + text +
           "', not a factor above 0; `virtual-gpu run --time-scale K` sets it";
  return false;
}

std::int64_t ReplayClock::NowNs() const {
  return page_ != nullptr ? virtual_gpu::ClockPageNow(*page_) : MonotonicNs();
}

bool ReplayClock::WaitUntil(std::int64_t deadline_ns) const {
  std::int64_t seen_ns = NowNs(), moved_ns = MonotonicNs();
  for (;;) {
    const std::int64_t now_ns = NowNs(), host_ns = MonotonicNs();
    if (now_ns >= deadline_ns) return true;
    if (now_ns != seen_ns) {
      seen_ns = now_ns;
      moved_ns = host_ns;
    }
    if (host_ns - moved_ns > kDeadNs) return false;
    // A clock that stands leaves more to wait for than was slept; a dead one is not slept for long.
    const std::int64_t sleep_ns = std::min(deadline_ns - now_ns - kSpinNs, kNsPerSecond);
    if (sleep_ns > 0) {
      const timespec sleep = {sleep_ns / kNsPerSecond, sleep_ns % kNsPerSecond};
      clock_nanosleep(CLOCK_MONOTONIC, 0, &sleep, nullptr);
    } else {
      __builtin_ia32_pause();
    }
  }
}

bool OnVirtualGpu() {
  return std::getenv(kSocketEnv) != nullptr || std::getenv(kTimeScaleEnv) != nullptr;
}

}  // namespace dual_model

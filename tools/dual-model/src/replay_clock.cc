#include "replay_clock.h"

#include <cerrno>
#include <cstdlib>
#include <ctime>

namespace dual_model {
namespace {
constexpr std::int64_t kNsPerSecond = 1'000'000'000;
// Timers on a busy machine are late by some tens of microseconds: the last stretch is spun.
constexpr std::int64_t kSpinNs = 80'000;
}  // namespace

std::int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

void WaitUntil(std::int64_t deadline_ns) {
  const std::int64_t wake_ns = deadline_ns - kSpinNs;
  if (wake_ns > MonotonicNs()) {
    const timespec wake = {wake_ns / kNsPerSecond, wake_ns % kNsPerSecond};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr) == EINTR) {
    }
  }
  while (MonotonicNs() < deadline_ns) __builtin_ia32_pause();
}

bool TimeScaleFromEnvironment(double* scale, std::string* error) {
  *scale = 1;
  const char* text = std::getenv("VIRTUAL_GPU_TIME_SCALE");
  if (text == nullptr || *text == '\0') return true;
  char* end = nullptr;
  *scale = std::strtod(text, &end);
  if (*end == '\0' && *scale > 0 && *scale <= 1e6) return true;
  *error = "VIRTUAL_GPU_TIME_SCALE is '" + std::string(text) +
           "', not a factor above 0; `virtual-gpu run --time-scale K` sets it";
  return false;
}

bool OnVirtualGpu() {
  return std::getenv("VIRTUAL_GPU_SOCKET") != nullptr ||
         std::getenv("VIRTUAL_GPU_TIME_SCALE") != nullptr;
}

}  // namespace dual_model

// clock.h: steady time, and the futex on a shared word.
//
// Units      microseconds or nanoseconds of CLOCK_MONOTONIC, by the name's suffix.
// Threads    any. No function here blocks but FutexWait, and that one is bounded by its timeout.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <ctime>

namespace xsched_hsa {

inline std::uint64_t SteadyNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}
// Replaced only by the simulation that runs this code in virtual time (tools/dual-model/ablation).
using NowFunction = std::uint64_t (*)();
inline constinit NowFunction g_now_ns = &SteadyNs;
inline std::uint64_t NowNs() { return g_now_ns(); }
inline std::uint64_t NowUs() { return NowNs() / 1000; }

inline constexpr std::uint64_t kForeverNs = UINT64_MAX;
inline constexpr std::uint64_t kSleepMaxNs = 3'600'000'000'000;  // "forever" for a timespec

// Sleeps until the word differs from `seen`, a wake, or the timeout. Spurious returns are normal.
inline void FutexWait(std::atomic<std::uint32_t>* word, std::uint32_t seen,
                      std::uint64_t timeout_ns) {
  const timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000u),
                         static_cast<long>(timeout_ns % 1'000'000'000u)};
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(word), FUTEX_WAIT, seen, &timeout, nullptr,
          0);
}
inline void FutexWake(std::atomic<std::uint32_t>* word) {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(word), FUTEX_WAKE, INT32_MAX, nullptr,
          nullptr, 0);
}

}  // namespace xsched_hsa

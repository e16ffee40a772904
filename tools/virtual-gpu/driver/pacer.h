// pacer.h: how long a polling thread may sleep.
//
// Why        A doorbell is a plain store into shared memory: only polling sees it. While queues
//            have work or were used a moment ago the sleeps are short; idle ones grow, so that an
//            idle device costs next to nothing on a two-core machine.
// Threads    one thread.
// Units      host nanoseconds.
#pragma once

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace virtual_gpu {

class Pacer {
 public:
  // Once, by each thread of the device process. The default slack of 50 us would be longer than the sleeps themselves.
  // And where it is allowed these threads go first: a device needs nobody's processor, and a real driver serves an
  // ioctl on its caller's, so that to wait for one is noise in every figure.
  static void PrepareThread() {
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
    setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNice);
  }

  // A slow device needs no more looks per simulated time than a fast one. On a virtual machine each
  // sleep costs about 20 us of processor time, whatever its length.
  explicit Pacer(double time_scale)
      : busy_sleep_ns_(
            static_cast<std::int64_t>(std::clamp(time_scale, 1.0, kScaleMax) * kBusySleepNs)) {}

  std::int64_t busy_sleep_ns() const { return busy_sleep_ns_; }

  // `busy`: some queue has packets or the device has work.
  std::int64_t SleepNs(std::int64_t now_ns, bool busy) {
    if (busy) last_busy_ns_ = now_ns;
    const std::int64_t idle_ns = now_ns - last_busy_ns_;
    if (idle_ns < 100'000'000) return busy_sleep_ns_;
    if (idle_ns < 500'000'000) return 4 * busy_sleep_ns_;
    if (idle_ns < 3'000'000'000) return 1'000'000;
    return 5'000'000;
  }

  static void Sleep(std::int64_t ns) {
    if (ns <= 0) return;
    timespec t = {ns / 1'000'000'000, ns % 1'000'000'000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, nullptr);
  }

 private:
  static constexpr int kNice = -10;
  static constexpr double kBusySleepNs = 30'000;
  static constexpr double kScaleMax = 8;

  const std::int64_t busy_sleep_ns_;
  std::int64_t last_busy_ns_ = 0;
};

}  // namespace virtual_gpu

// replay_clock.h: device time and machine time of a replay.
//
// Why        A virtual GPU may run K times slower than the device that it stands for; `virtual-gpu run`
//            then sets VIRTUAL_GPU_TIME_SCALE=K. Everything that the host does on a schedule (gaps
//            between launches, periods) is stretched by K, and everything measured is divided by K,
//            so that results are in device time. What the host really costs (a packet written, a
//            wake-up) is not stretched: at K it weighs 1/K. On hardware K is 1. A virtual GPU's clock
//            stands while its model catches up (virtual-gpu/clock_page.h): schedules stand with it,
//            and it is not measured. On hardware the clock is CLOCK_MONOTONIC.
// Units      machine time is nanoseconds of that clock, int64; MonotonicNs is for time limits only.
// Threads    any; the processes of one run share the clock.
#pragma once

#include <cstdint>
#include <string>

namespace virtual_gpu {
struct ClockPage;
}

namespace dual_model {

std::int64_t MonotonicNs();

class ReplayClock {
 public:
  explicit ReplayClock(double time_scale, const virtual_gpu::ClockPage* page = nullptr)
      : scale_(time_scale), page_(page) {}
  // From VIRTUAL_GPU_TIME_SCALE (1 if unset) and VIRTUAL_GPU_SOCKET. False and one line for a scale
  // that is no factor.
  static bool FromEnvironment(ReplayClock* clock, std::string* error);

  std::int64_t NowNs() const;
  // Sleeps, then spins for the last stretch, because a launch every 18.7 us can't be slept for. False
  // if the clock stood for kDeadNs of the host's time: its device is dead, and nobody moves it on.
  bool WaitUntil(std::int64_t deadline_ns) const;
  static constexpr std::int64_t kDeadNs = 5'000'000'000;
  std::int64_t MachineNs(double device_ns) const { return std::int64_t(device_ns * scale_); }
  double DeviceMs(std::int64_t machine_ns) const { return double(machine_ns) / scale_ / 1e6; }
  double scale() const { return scale_; }

 private:
  double scale_;
  const virtual_gpu::ClockPage* page_;
};

inline constexpr char kDeadClock[] =
    "the virtual GPU's clock stands for good; has virtual-gpud died?";

// Are we on a virtual GPU? Everything measured is then labelled simulated.
bool OnVirtualGpu();

}  // namespace dual_model

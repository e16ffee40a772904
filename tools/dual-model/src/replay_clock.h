// replay_clock.h: device time and machine time of a replay.
//
// Why        A virtual GPU may run K times slower than the device that it stands for; `virtual-gpu
// run`
//            then sets VIRTUAL_GPU_TIME_SCALE=K. Everything that the host does on a schedule (gaps
//            between launches, periods) is stretched by K, and everything measured is divided by K,
//            so that results are in device time. What the host really costs (a packet written, a
//            wake-up) is not stretched: at K it weighs 1/K. On hardware K is 1.
// Units      machine time is CLOCK_MONOTONIC nanoseconds, int64.
// Threads    pure.
#pragma once

#include <cstdint>
#include <string>

namespace dual_model {

std::int64_t MonotonicNs();

// Sleeps, then spins for the last stretch, because a launch every 18.7 us can't be slept for.
void WaitUntil(std::int64_t deadline_ns);

class ReplayClock {
 public:
  explicit ReplayClock(double time_scale) : scale_(time_scale) {}
  std::int64_t MachineNs(double device_ns) const { return std::int64_t(device_ns * scale_); }
  double DeviceMs(std::int64_t machine_ns) const { return double(machine_ns) / scale_ / 1e6; }
  double scale() const { return scale_; }

 private:
  double scale_;
};

// From VIRTUAL_GPU_TIME_SCALE, 1 if unset. False and one line for a value that is no factor.
bool TimeScaleFromEnvironment(double* scale, std::string* error);

// Are we on a virtual GPU? Everything measured is then labelled simulated.
bool OnVirtualGpu();

}  // namespace dual_model

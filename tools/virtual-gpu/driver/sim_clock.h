// sim_clock.h: simulated time, and how it relates to the host's clocks.
//
// Why        The device runs in real time divided by the time scale: simulated = (raw - start) /
// scale.
//            CLOCK_MONOTONIC_RAW is KFD's cpu_clock_counter, and the GPU's own counter is a tenth
//            of it (100 MHz), so that signal timestamps and GET_CLOCK_COUNTERS agree by
//            construction.
// Threads    immutable after construction.
// Units      nanoseconds; ticks are 10 ns.
#pragma once

#include <time.h>

#include <cstdint>

#include "../device/packet_source.h"

namespace virtual_gpu {

inline std::int64_t ClockNs(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec;
}
inline std::int64_t RawNs() { return ClockNs(CLOCK_MONOTONIC_RAW); }

inline constexpr std::int64_t kGpuTickNs = 10;

class SimClock {
 public:
  explicit SimClock(double scale) : start_ns_(RawNs()), scale_(scale) {}

  TimeNs Now() const { return ToSim(RawNs()); }
  TimeNs ToSim(std::int64_t raw_ns) const {
    return static_cast<TimeNs>(static_cast<double>(raw_ns - start_ns_) / scale_);
  }
  std::int64_t ToRaw(TimeNs sim) const {
    return start_ns_ + static_cast<std::int64_t>(static_cast<double>(sim) * scale_);
  }
  // The GPU's counter at a simulated time.
  std::uint64_t GpuTicks(TimeNs sim) const {
    return static_cast<std::uint64_t>(ToRaw(sim) / kGpuTickNs);
  }
  double scale() const { return scale_; }

 private:
  std::int64_t start_ns_;
  double scale_;
};

}  // namespace virtual_gpu

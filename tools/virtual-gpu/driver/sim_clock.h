// sim_clock.h: simulated time, and how it relates to the host's clocks.
//
// Why        The device runs in real time divided by the time scale, and waits for its model: each
//            GPU's thread grants time as far as it will look again by itself, and where all grants end
//            the clock stands (virtual-gpu/clock_page.h says what for). A GPU without queues grants
//            for ever. CLOCK_MONOTONIC_RAW is KFD's cpu_clock_counter, and the GPU's own counter is a
//            tenth of it (100 MHz), so that signal timestamps and GET_CLOCK_COUNTERS agree; while the
//            clock stands the counter goes on, so that a timestamp is never after the host's present.
// Threads    any; Grant takes a lock.
// Units      TimeNs: simulated nanoseconds; raw: host ones; ticks are 10 ns.
// Errors     Publish returns false with errno.
#pragma once

#include <time.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <string>

#include "../device/packet_source.h"
#include "rpc_protocol.h"
#include "virtual-gpu/clock_page.h"

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
  explicit SimClock(double scale);
  ~SimClock();
  SimClock(const SimClock&) = delete;
  SimClock& operator=(const SimClock&) = delete;

  // Puts the clock into a file for others to read. Once, before anybody else uses it.
  bool Publish(const std::string& path);

  TimeNs Now() const { return static_cast<TimeNs>(double(ClockPageNow(*page_)) / scale_); }
  // When it will be `sim`, or was, if the clock does not stand meanwhile.
  std::int64_t ToRaw(TimeNs sim) const {
    return page_->start_raw_ns.load(std::memory_order_acquire) +
           static_cast<std::int64_t>(static_cast<double>(sim) * scale_);
  }
  // The GPU's counter at a simulated time.
  std::uint64_t GpuTicks(TimeNs sim) const {
    return static_cast<std::uint64_t>(ToRaw(sim) / kGpuTickNs);
  }
  double scale() const { return scale_; }
  std::int64_t stood_ns() const { return page_->stood_ns.load(std::memory_order_relaxed); }
  std::uint64_t stops() const { return page_->stops.load(std::memory_order_relaxed); }

  // This GPU lets time run for so much host time more, or without bound.
  void Grant(std::uint32_t gpu, std::int64_t host_ns);
  void GrantForEver(std::uint32_t gpu);

 private:
  void Limit(std::uint32_t gpu, std::int64_t until_ns);

  const double scale_;
  ClockPage own_;
  ClockPage* page_ = &own_;
  std::mutex mutex_;
  std::array<std::int64_t, rpc::kGpusMax> grants_;  // host ns since the start
};

}  // namespace virtual_gpu

// sim_timer.h: what is to be done at a simulated time, on the server's thread.
//
// Why        Timers count host time, and the simulated clock may stand meanwhile (sim_clock.h): what
//            comes due too early waits on.
// Threads    the server's only.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>

#include "sim_clock.h"
#include "timers.h"

namespace virtual_gpu {

inline void AddAtSimTime(Timers* timers, const SimClock* clock, TimeNs due,
                         std::function<void()> action) {
  constexpr std::int64_t kLookAgainNs = 20'000;
  const std::int64_t due_raw_ns = std::max(clock->ToRaw(due), RawNs());
  timers->Add(due_raw_ns, [timers, clock, due, action = std::move(action)]() mutable {
    if (clock->Now() >= due) return action();
    timers->Add(RawNs() + kLookAgainNs, [timers, clock, due, action = std::move(action)]() mutable {
      AddAtSimTime(timers, clock, due, std::move(action));
    });
  });
}

}  // namespace virtual_gpu

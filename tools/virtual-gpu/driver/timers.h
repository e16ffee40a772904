// timers.h: what is to be done at a later time on the server's thread.
//
// Threads    the server's only.
// Units      CLOCK_MONOTONIC_RAW nanoseconds.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace virtual_gpu {

class Timers {
 public:
  void Add(std::int64_t due_ns, std::function<void()> action) {
    due_.emplace(due_ns, std::move(action));
  }
  // INT64_MAX when nothing is due.
  std::int64_t NextDue() const { return due_.empty() ? INT64_MAX : due_.begin()->first; }
  // Runs everything that is due; actions may add more.
  void RunDue(std::int64_t now_ns) {
    while (!due_.empty() && due_.begin()->first <= now_ns) {
      auto action = std::move(due_.begin()->second);
      due_.erase(due_.begin());
      action();
    }
  }

 private:
  std::multimap<std::int64_t, std::function<void()>> due_;
};

}  // namespace virtual_gpu

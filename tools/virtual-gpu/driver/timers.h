// timers.h: what is to be done at a later time on the server's thread.
//
// Threads    the server's only.
// Units      CLOCK_MONOTONIC_RAW nanoseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>

namespace virtual_gpu {

class Timers {
 public:
  // The time and a number that is never used again; {} names nothing.
  using Id = std::pair<std::int64_t, std::uint64_t>;

  Id Add(std::int64_t due_ns, std::function<void()> action) {
    const Id id = {due_ns, ++added_};
    due_.emplace(id, std::move(action));
    return id;
  }
  // Nothing where it has run or been cancelled.
  void Cancel(Id id) { due_.erase(id); }
  std::size_t size() const { return due_.size(); }
  // INT64_MAX when nothing is due.
  std::int64_t NextDue() const { return due_.empty() ? INT64_MAX : due_.begin()->first.first; }
  // Runs everything that is due; actions may add and cancel.
  void RunDue(std::int64_t now_ns) {
    while (NextDue() <= now_ns && !due_.empty()) {
      const auto action = std::move(due_.extract(due_.begin()).mapped());
      action();
    }
  }

 private:
  std::map<Id, std::function<void()>> due_;
  std::uint64_t added_ = 0;
};

}  // namespace virtual_gpu

// log_budget.h: how many lines programs may cause in the controller's log.
//
// Why        Connecting, being refused, making a queue: each is a line, and a program can do so a
//            hundred thousand times a second. The log is everybody's.
// Threads    one.
// Units      _us: the caller's clock.
#pragma once

#include <cstdint>

namespace xsched_hsa {

inline constexpr std::uint32_t kLogLinesPerSecond = 50;

class LogBudget {
 public:
  // May a line be written now? *left_out: how many were not in the second before, to be told first.
  bool Take(std::uint64_t now_us, std::uint64_t* left_out) {
    *left_out = 0;
    if (now_us - second_began_us_ >= 1'000'000) {
      second_began_us_ = now_us;
      *left_out = left_out_;
      written_ = left_out_ = 0;
    }
    if (written_ < kLogLinesPerSecond) {
      ++written_;
      return true;
    }
    ++left_out_;
    return false;
  }

 private:
  std::uint64_t second_began_us_ = 0, left_out_ = 0;
  std::uint32_t written_ = 0;
};

}  // namespace xsched_hsa

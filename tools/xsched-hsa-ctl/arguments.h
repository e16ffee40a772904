// arguments.h: what a user writes on the command line, as values.
//
// Errors     a Parse function returns nothing and one line: what is wrong and what would be right.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace xsched_hsa {

inline constexpr int kExitFailed = 1;        // it ran, and the answer is no (doctor: a FAIL)
inline constexpr int kExitBadInput = 2;      // wrong words, nothing of that name, not permitted
inline constexpr int kExitNoController = 3;  // nobody answers, or it is of another release
inline constexpr int kExitNoLayer = 3;       // run: the layer did not come up

// low, normal, high or 0..15.
std::optional<int> ParsePriority(const std::string& text, std::string* error);

struct QueueName {
  std::int32_t pid = 0;
  std::optional<std::uint32_t> serial;
};
// PID or PID:QUEUE.
std::optional<QueueName> ParseQueueName(const std::string& text, std::string* error);

// Prints "xsched-hsa-ctl: text" to stderr and returns `code`.
int Fail(const std::string& text, int code = kExitBadInput);

}  // namespace xsched_hsa

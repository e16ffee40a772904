#include "arguments.h"

#include <charconv>
#include <iostream>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa {
namespace {

template <typename T>
std::optional<T> Number(std::string_view text) {
  T value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<int> ParsePriority(const std::string& text, std::string* error) {
  if (text == "low") return kPriorityLow;
  if (text == "normal") return kPriorityNormal;
  if (text == "high") return kPriorityHigh;
  const auto number = Number<int>(text);
  if (number && *number >= 0 && *number <= kPriorityMax) return number;
  *error = "priority '" + text + "' is unknown; use low, normal, high or a number 0..15";
  return std::nullopt;
}

std::optional<QueueName> ParseQueueName(const std::string& text, std::string* error) {
  const std::size_t colon = text.find(':');
  QueueName name;
  const auto pid = Number<std::int32_t>(std::string_view(text).substr(0, colon));
  bool good = pid && *pid > 0;
  if (good) name.pid = *pid;
  if (good && colon != std::string::npos) {
    name.serial = Number<std::uint32_t>(std::string_view(text).substr(colon + 1));
    good = name.serial.has_value();
  }
  if (good) return name;
  *error = "'" + text + "' is not PID or PID:QUEUE; 'xsched-hsa-ctl list' shows both numbers";
  return std::nullopt;
}

int Fail(const std::string& text, int code) {
  std::cerr << "xsched-hsa-ctl: " << text << "\n";
  return code;
}

}  // namespace xsched_hsa

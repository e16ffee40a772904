#include "mechanisms.h"

#include <charconv>

namespace ablation {
namespace {

constexpr char kKnown[] =
    "native, priority, reserve:N, hold, squeeze, squeeze:N, suspend, plan; "
    "hold, squeeze and suspend also with +priority";

bool TakeSuffix(std::string* text, const std::string& suffix) {
  if (!text->ends_with(suffix)) return false;
  text->resize(text->size() - suffix.size());
  return true;
}

bool ParseUnits(const std::string& text, std::uint32_t* units) {
  const char* end = text.data() + text.size();
  const auto [at, code] = std::from_chars(text.data(), end, *units);
  return code == std::errc() && at == end && *units > 0;
}

}  // namespace

bool ParseMechanisms(const std::string& text, Mechanisms* mechanisms, std::string* error) {
  *mechanisms = {};
  Mechanisms& m = *mechanisms;
  m.name = text;
  *error = "unknown mechanisms '" + text + "'; known are " + kKnown;
  std::string name = text;
  m.policy.hardware_priority = TakeSuffix(&name, "+priority");
  const std::size_t colon = name.find(':');
  std::uint32_t units = 0;
  if (colon != std::string::npos && !ParseUnits(name.substr(colon + 1), &units)) return false;
  name = name.substr(0, colon);
  const bool takes_units = name == "squeeze" || name == "reserve";
  if (colon != std::string::npos && !takes_units) return false;

  m.layer = name == "hold" || name == "squeeze" || name == "suspend" || name == "plan";
  if (!m.layer && m.policy.hardware_priority) return false;
  m.policy.preemption.squeeze = name == "squeeze" || name == "plan";
  m.policy.preemption.suspend = name == "suspend" || name == "plan";
  m.policy.preemption.share = name == "plan";
  m.hold_is_enough = name == "hold" || name == "plan";
  if (name == "plan") {
    m.policy.hardware_priority = true;
  } else if (name == "priority") {
    m.low_priority = 0;
    m.high_priority = 15;
  } else if (name == "reserve") {
    m.reserved_units = units;
    return units != 0;
  } else if (name == "squeeze") {
    m.policy.preemption.squeeze_units = units;
  } else if (name != "native" && name != "hold" && name != "suspend") {
    return false;
  }
  return true;
}

}  // namespace ablation

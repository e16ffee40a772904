// change.cc: the orders: words checked here, carried out by the controller.
#include <charconv>
#include <cstdio>
#include <iostream>

#include "arguments.h"
#include "ask.h"
#include "commands.h"
#include "table.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

// A whole word that is a number within the bounds.
template <typename T>
std::optional<T> NumberIn(const std::string& text, T low, T high) {
  T value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = code == std::errc() && end == text.data() + text.size();
  return whole && value >= low && value <= high ? std::optional<T>(value) : std::nullopt;
}

// The orders whose value is one number, or "default" to give it back to the program's rule.
struct NumberOrder {
  const char* command;
  const char* field;
  double low, high;
  const char* unit;
  bool whole = false;
};
constexpr NumberOrder kNumberOrders[] = {
    {"set-weight", "weight", 1, 10'000, "", true},
    {"set-cap", "cap_percent", 1, 100, " percent"},
    {"set-share", "share_percent", 1, 100, " percent"},
    {"set-deadline", "deadline_ms", 0.01, 3'600'000, " ms"},
    {"set-latency-target", "latency_target_ms", 0.01, 3'600'000, " ms"},
};

std::string AddNumber(const NumberOrder& order, const std::string& value, json* request,
                      std::string* done) {
  const std::string what = order.command + 4;
  (*request)[order.field] = nullptr;
  *done = "with the " + what + " of their rule again";
  if (value == "default") return {};
  const auto number = NumberIn<double>(value, order.low, order.high);
  const auto whole = static_cast<std::int64_t>(number.value_or(0));
  if (!number || (order.whole && static_cast<double>(whole) != *number)) {
    char bounds[80];
    std::snprintf(bounds, sizeof bounds, "%s%.10g..%.10g%s", order.whole ? "a whole number " : "",
                  order.low, order.high, order.unit);
    return what + " '" + value + "' is unknown; use " + bounds + ", or default";
  }
  // Whole numbers stay whole: the controller wants integers where fractions make no sense.
  if (static_cast<double>(whole) == *number) {
    (*request)[order.field] = whole;
  } else {
    (*request)[order.field] = *number;
  }
  *done = "with a " + what + " of " + value + order.unit;
  return {};
}

// Adds the command's value to the request; `done` says what was done, for people.
std::string AddValue(const std::string& command, const std::string& value, json* request,
                     std::string* done) {
  for (const NumberOrder& order : kNumberOrders) {
    if (command != order.command) continue;
    if (request->contains("queue")) {
      return "'" + command + "' is for whole programs; give the PID alone";
    }
    return AddNumber(order, value, request, done);
  }
  if (command == "set-priority") {
    (*request)["priority"] = nullptr;
    *done = "set back to the priority the program asked for";
    if (value == "default") return {};
    std::string error;
    const auto priority = ParsePriority(value, &error);
    if (!priority) return error;
    (*request)["priority"] = *priority;
    *done = "set to priority " + std::to_string(*priority);
  } else if (command == "cu-mask") {
    (*request)["units"] = nullptr;
    *done = "back on all their compute units";
    if (value == "all") return {};
    const auto units = NumberIn<int>(value, 1, 1024);
    if (!units) return "'" + value + "' is no number of compute units; use 1..1024, or all";
    (*request)["units"] = *units;
  } else {
    *done = command == "hold"      ? "held"
            : command == "release" ? "released"
            : command == "suspend" ? "suspended"
                                   : "resumed";
  }
  return {};
}

}  // namespace

int Change(const std::string& socket, const std::string& command, const std::string& target,
           const std::string& value, bool as_json) {
  std::string error, done;
  const auto name = ParseQueueName(target, &error);
  if (!name) return Fail(error);
  json request = {{"op", command}, {"pid", name->pid}};
  if (name->serial) request["queue"] = *name->serial;
  error = AddValue(command, value, &request, &done);
  if (!error.empty()) return Fail(error);
  json reply;
  if (const int code = Asker(socket).Ask(request, "changed", &reply)) return code;
  const int changed = reply.at("changed").get<int>();
  // What it keeps is rounded down to the device's rows.
  if (reply.contains("units") && reply["units"] != 0) {
    done = "kept on " + reply["units"].dump() + " compute units";
  }
  if (as_json) {
    PrintJson(reply);
  } else {
    std::cout << "pid " << name->pid << ": " << changed << " queue(s) " << done << "\n";
  }
  return 0;
}

int PolicyShow(const std::string& socket, bool as_json) {
  json reply;
  if (const int code = Asker(socket).Ask({{"op", "policy"}}, "policies", &reply)) return code;
  if (as_json) {
    PrintJson(reply);
    return 0;
  }
  for (const json& entry : reply.at("policies")) {
    const std::string gpu = Cell(entry, "gpu");
    std::cout << (gpu == "*" ? "every GPU" : gpu) << ": " << Cell(entry, "policy");
    const json parameters = entry.value("parameters", json::object());
    for (const auto& [name, value] : parameters.items()) {
      std::cout << " " << name << "=" << value.dump();
    }
    std::cout << "\n";
  }
  std::vector<std::vector<std::string>> rows = {{"POLICY", "WHAT IT DOES"}};
  for (const json& policy : reply.at("available")) {
    rows.push_back({Cell(policy, "name"), Cell(policy, "summary")});
    for (const json& p : policy.value("parameters", json::array())) {
      std::string text = Cell(p, "summary") + " (" + p.value("default", json()).dump();
      if (Cell(p, "unit") != "-") text += " " + Cell(p, "unit");
      rows.push_back({"  " + Cell(p, "name"), text + ")"});
    }
  }
  std::cout << FormatTable(rows);
  return 0;
}

int PolicySet(const std::string& socket, const std::string& policy, const std::string& gpu,
              const std::vector<std::string>& parameters, bool as_json) {
  json request = {{"op", "policy"}, {"set", policy}};
  if (!gpu.empty()) request["gpu"] = gpu;
  for (const std::string& word : parameters) {
    const std::size_t equals = word.find('=');
    const auto value = equals == std::string::npos
                           ? std::nullopt
                           : NumberIn<double>(word.substr(equals + 1), -1e12, 1e12);
    if (!value)
      return Fail("'" + word + "' is not NAME=NUMBER; 'policy show' lists the parameters");
    const auto whole = static_cast<std::int64_t>(*value);
    json& field = request["parameters"][word.substr(0, equals)];
    if (static_cast<double>(whole) == *value) {
      field = whole;
    } else {
      field = *value;
    }
  }
  json reply;
  if (const int code = Asker(socket).Ask(request, "policies", &reply)) return code;
  if (as_json) {
    PrintJson(reply);
  } else {
    std::cout << "policy " << policy << (gpu.empty() ? "" : " on " + gpu) << "\n";
  }
  return 0;
}

}  // namespace xsched_hsa

// devices.cc: devices, events and the configuration: what the controller says, as tables and lines.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>

#include "arguments.h"
#include "ask.h"
#include "commands.h"
#include "table.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

volatile std::sig_atomic_t g_interrupted = 0;

void PrintDevice(const json& device) {
  std::cout << "GPU " << Cell(device, "gpu") << "\n";
  std::vector<std::vector<std::string>> rows = {{"  PROPERTY", "VALUE"}};
  for (const auto& [key, value] : device.items()) {
    if (key == "gpu") continue;
    rows.push_back({"  " + key, value.is_string() ? value.get<std::string>() : value.dump()});
  }
  std::cout << FormatTable(rows);
}

// "12.345678 session state=up pid=4711 ...": the kind, then the fields.
void PrintEvent(const json& event, bool as_json) {
  if (as_json) {
    std::cout << event.dump(-1, ' ', false, json::error_handler_t::replace) << "\n" << std::flush;
    return;
  }
  char at[32];
  std::snprintf(at, sizeof at, "%.6f", event.value("at_us", 0.0) / 1e6);
  std::cout << at << " " << Cell(event, "event");
  for (const auto& [key, value] : event.items()) {
    if (key == "event" || key == "at_us") continue;
    std::cout << " " << key << "=" << Cell(event, key.c_str());
  }
  std::cout << "\n" << std::flush;
}

// One line a setting, as TOML's dotted keys have it; of a list of tables one line a table.
void PrintSettings(const std::string& name, const json& value) {
  if (value.is_object() && !value.empty()) {
    for (const auto& [key, inner] : value.items())
      PrintSettings(name.empty() ? key : std::string(name).append(".").append(key), inner);
  } else if (value.is_array() && !value.empty() && value.front().is_object()) {
    for (const json& inner : value) std::cout << name << " = " << inner.dump() << "\n";
  } else if (!value.is_structured() || !value.empty()) {
    std::cout << name << " = " << value.dump() << "\n";
  }
}

}  // namespace

int Devices(const std::string& socket, bool as_json) {
  json reply;
  if (const int code = Asker(socket).Ask({{"op", "devices"}}, "devices", &reply)) return code;
  const json& devices = reply.at("devices");
  if (as_json) {
    PrintJson(reply);
    return 0;
  }
  if (devices.empty()) std::cout << "the controller sees no GPU\n";
  for (const json& device : devices) PrintDevice(device);
  return 0;
}

int Events(const std::string& socket, int count, double seconds, bool as_json) {
  using Steady = std::chrono::steady_clock;
  const auto until = Steady::now() + std::chrono::duration_cast<Steady::duration>(
                                         std::chrono::duration<double>(seconds));
  std::signal(SIGINT, [](int) { g_interrupted = 1; });
  std::signal(SIGTERM, [](int) { g_interrupted = 1; });
  Asker asker(socket);
  json reply;
  if (const int code = asker.Ask({{"op", "events"}}, "following", &reply)) return code;
  for (int seen = 0; (count == 0 || seen < count) && g_interrupted == 0;) {
    if (seconds > 0 && Steady::now() >= until) break;
    // Looks up now and then: a signal may have come just before the wait.
    constexpr int kLookMs = 200;
    std::string error;
    const auto event = asker.Next(&error, kLookMs);
    if (!event && !error.empty()) return Fail(error, kExitNoController);
    if (!event) continue;
    ++seen;
    PrintEvent(*event, as_json);
    if (!std::cout) return kExitFailed;  // the reader has gone
  }
  return 0;
}

int ConfigShow(const std::string& socket, bool as_json) {
  json reply;
  if (const int code = Asker(socket).Ask({{"op", "config"}}, "files", &reply)) return code;
  const json& files = reply.at("files");
  if (as_json) {
    PrintJson(reply);
    return 0;
  }
  for (const json& file : files) std::cout << "file " << file.get<std::string>() << "\n";
  if (files.empty()) std::cout << "no file: the defaults\n";
  const json errors = reply.value("errors", json::array());
  for (const json& error : errors) std::cout << "wrong: " << error.get<std::string>() << "\n";
  PrintSettings("", reply.value("effective", json::object()));
  return 0;
}

int ConfigReload(const std::string& socket, bool as_json) {
  json reply;
  if (const int code = Asker(socket).Ask({{"op", "reload"}}, "files", &reply)) return code;
  const json& files = reply.at("files");
  if (as_json) {
    PrintJson(reply);
  } else {
    std::cout << (files.empty() ? "no file: the defaults are in force"
                                : "read again: " + std::to_string(files.size()) + " file(s)")
              << "\n";
  }
  return 0;
}

}  // namespace xsched_hsa

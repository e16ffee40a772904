#include "commands.h"

#include <cstdio>
#include <iostream>

#include "queue-ctl/client.h"
#include "table.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

// The reply if it is one with "ok"; otherwise the error has been printed.
std::optional<json> Ask(const std::string& socket, const json& request) {
  std::string error;
  auto client = Client::Connect(socket.empty() ? DefaultSocketPath() : socket, &error);
  std::optional<json> reply;
  if (client) reply = client->Call(request, &error);
  if (!reply) {
    Fail(error);
    return std::nullopt;
  }
  if (!reply->value("ok", false)) {
    Fail(reply->value("error", "the controller refused without a reason"));
    return std::nullopt;
  }
  return reply;
}

std::string Cell(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return "-";
  if (it->is_string()) return it->get<std::string>();
  if (it->is_number_float()) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", it->get<double>());
    return text;
  }
  return it->dump();
}

std::string Milliseconds(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", it->get<double>());
  return text;
}

std::string Marks(const json& queue) {
  std::string marks;
  if (queue.value("armed", false)) marks += "armed";
  if (queue.value("raise", false)) marks += marks.empty() ? "raise" : ",raise";
  if (queue.value("operator_hold", false)) marks += marks.empty() ? "ordered" : ",ordered";
  return marks.empty() ? "-" : marks;
}

void PrintProcesses(const json& reply) {
  std::vector<std::vector<std::string>> rows = {{"PID", "UID", "PROGRAM", "QUEUE", "GPU", "PRIO",
                                                 "STATE", "MODE", "PENDING", "SUBMITTED", "HELD",
                                                 "HOLDS", "HELD-MS", "MAX-MS", "RAISES"}};
  for (const json& process : reply.at("processes")) {
    std::vector<std::string> head = {Cell(process, "pid"), Cell(process, "uid"),
                                     Cell(process, "comm")};
    if (!process.value("alive", false)) head[2] += " (ended)";
    if (process.at("queues").empty()) rows.push_back(head);
    for (const json& queue : process.at("queues")) {
      std::vector<std::string> row = head;
      for (const char* key : {"serial", "gpu", "priority", "state"})
        row.push_back(Cell(queue, key));
      row.push_back(Marks(queue));
      for (const char* key :
           {"pending", "submitted", "packets_held", "holds", "held_ms", "held_max_ms", "raises"}) {
        row.push_back(Cell(queue, key));
      }
      rows.push_back(row);
    }
  }
  std::cout << FormatTable(rows);
}

// Predicted against measured, one line a preemption.
void PrintDecisions(const json& process) {
  std::cout << "pid " << Cell(process, "pid") << " " << Cell(process, "comm") << ": "
            << Cell(process, "decisions_made") << " preemptions, a runlist cycle takes "
            << Milliseconds(process, "cycle_ms") << " ms\n";
  std::vector<std::vector<std::string>> rows = {{"NO", "QUEUE", "CHOICE", "UNITS", "REST-MS",
                                                 "CYCLE-MS", "DELAY-MS", "COST-MS", "DRIVER-MS",
                                                 "REQUEST-MS", "TOOK-MS", "BECAUSE"}};
  for (const json& decision : process.at("decisions")) {
    std::vector<std::string> row;
    for (const char* key : {"number", "queue", "mechanism"}) row.push_back(Cell(decision, key));
    row.push_back(decision.value("units_left", 0) == 0 ? "-" : Cell(decision, "units_left"));
    for (const char* key : {"rest_ms", "cycle_ms", "predicted_delay_ms", "predicted_cost_ms",
                            "driver_ms", "request_ms", "measured_ms"}) {
      row.push_back(Milliseconds(decision, key));
    }
    const bool refused = !decision.at("error").is_null();
    row.push_back(refused ? "refused by the driver: " + Cell(decision, "error")
                          : Cell(decision, "reason"));
    rows.push_back(row);
  }
  if (rows.size() > 1) std::cout << FormatTable(rows);
}

int Change(const std::string& socket, json request, const QueueName& name, const char* done) {
  request["pid"] = name.pid;
  if (name.serial) request["queue"] = *name.serial;
  const auto reply = Ask(socket, request);
  if (!reply) return kExitBadInput;
  std::cout << "pid " << name.pid << ": " << reply->value("changed", 0) << " queue(s) " << done
            << "\n";
  return 0;
}

}  // namespace

int List(const std::string& socket, bool all, bool as_json) {
  const auto reply = Ask(socket, {{"op", "list"}, {"all", all}});
  if (!reply) return kExitBadInput;
  if (as_json) {
    std::cout << reply->dump(2) << "\n";
    return 0;
  }
  if (reply->at("processes").empty()) {
    std::cout << "no programs" << (all ? " so far" : "; 'list --all' shows those that have ended")
              << "\n";
    return 0;
  }
  PrintProcesses(*reply);
  return 0;
}

int Stats(const std::string& socket, bool as_json) {
  const auto reply = Ask(socket, {{"op", "stats"}});
  if (!reply) return kExitBadInput;
  if (as_json) {
    std::cout << reply->dump(2) << "\n";
    return 0;
  }
  for (const char* section : {"controller", "totals", "counters"}) {
    for (const auto& [key, value] : reply->at(section).items()) {
      std::cout << section << "." << key << " " << Cell(reply->at(section), key.c_str()) << "\n";
    }
  }
  return 0;
}

int Explain(const std::string& socket, std::optional<int> pid, bool as_json) {
  auto reply = Ask(socket, {{"op", "list"}, {"all", true}, {"decisions", true}});
  if (!reply) return kExitBadInput;
  json processes = json::array();
  for (const json& process : reply->at("processes")) {
    if (pid && process.value("pid", 0) != *pid) continue;
    if (!pid && process.at("decisions").empty()) continue;
    processes.push_back(process);
  }
  if (pid && processes.empty()) {
    return Fail("no program with pid " + std::to_string(*pid) +
                " is known; 'xsched-hsa-ctl list --all' shows those that are");
  }
  if (as_json) {
    std::cout << json{{"processes", processes}}.dump(2) << "\n";
    return 0;
  }
  if (processes.empty()) std::cout << "nothing was preempted so far\n";
  for (const json& process : processes) PrintDecisions(process);
  return 0;
}

int SetPriority(const std::string& socket, const QueueName& name, std::optional<int> priority) {
  json request = {{"op", "set-priority"}, {"priority", nullptr}};
  if (priority) request["priority"] = *priority;
  return Change(socket, request, name,
                priority ? ("set to priority " + std::to_string(*priority)).c_str()
                         : "set back to the priority the program asked for");
}

int HoldOrRelease(const std::string& socket, const QueueName& name, bool hold) {
  return Change(socket, {{"op", hold ? "hold" : "release"}}, name, hold ? "held" : "released");
}

}  // namespace xsched_hsa

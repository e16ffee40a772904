// list.cc: list, stats and explain.
#include <iostream>

#include "arguments.h"
#include "ask.h"
#include "commands.h"
#include "table.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

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
      for (const char* key : {"serial", "gpu", "priority", "state"}) {
        row.push_back(Cell(queue, key));
      }
      row.push_back(Marks(queue));
      for (const char* key :
           {"pending", "submitted", "packets_held", "holds", "held_ms", "held_max_ms", "raises"}) {
        row.push_back(Cell(queue, key));
      }
      rows.push_back(row);
    }
  }
  std::cout << FormatTable(rows);
  // Of these nothing is held, and a table of those that are managed would not tell.
  for (const json& process : reply.at("processes")) {
    const auto unmanaged = process.value("queues_passed_through", 0u);
    if (unmanaged == 0) continue;
    std::cout << "pid " << Cell(process, "pid") << ": " << unmanaged
              << " queue(s) so far were not managed and passed through\n";
  }
}

// Predicted against measured, one line a preemption.
void PrintDecisions(const json& process) {
  std::cout << "pid " << Cell(process, "pid") << " " << Cell(process, "comm") << ": "
            << Cell(process, "decisions_made") << " preemptions; measured: a runlist cycle "
            << Milliseconds(process, "cycle_ms") << " ms, a change of mask "
            << Milliseconds(process, "mask_ms") << " ms, from an urgent doorbell to here "
            << Milliseconds(process, "reaction_ms") << " ms\n";
  std::vector<std::vector<std::string>> rows = {{"NO", "QUEUE", "CHOICE", "UNITS", "REST-MS",
                                                 "+-MS", "CYCLE-MS", "DELAY-MS", "COST-MS",
                                                 "DRIVER-MS", "REQUEST-MS", "TOOK-MS", "BECAUSE"}};
  for (const json& decision : process.at("decisions")) {
    std::vector<std::string> row;
    for (const char* key : {"number", "queue", "mechanism"}) row.push_back(Cell(decision, key));
    row.push_back(decision.value("units_left", 0) == 0 ? "-" : Cell(decision, "units_left"));
    for (const char* key : {"rest_ms", "rest_spread_ms", "cycle_ms", "predicted_delay_ms",
                            "predicted_cost_ms", "driver_ms", "request_ms", "measured_ms"}) {
      row.push_back(Milliseconds(decision, key));
    }
    const bool refused = !decision.at("error").is_null();
    row.push_back(refused ? "refused by the driver: " + Cell(decision, "error")
                          : Cell(decision, "reason"));
    rows.push_back(row);
  }
  if (rows.size() > 1) std::cout << FormatTable(rows);
}

}  // namespace

int List(const std::string& socket, bool all, bool as_json) {
  json reply;
  if (const int code = Asker(socket).Ask({{"op", "list"}, {"all", all}}, "processes", &reply))
    return code;
  if (as_json) {
    PrintJson(reply);
  } else if (reply.at("processes").empty()) {
    std::cout << "no programs" << (all ? " so far" : "; 'list --all' shows those that have ended")
              << "\n";
  } else {
    PrintProcesses(reply);
  }
  return 0;
}

int Stats(const std::string& socket, bool as_json) {
  json reply;
  if (const int code = Asker(socket).Ask({{"op", "stats"}}, "counters", &reply)) return code;
  if (as_json) {
    PrintJson(reply);
    return 0;
  }
  for (const char* section : {"controller", "totals", "counters"}) {
    for (const auto& [key, value] : reply.at(section).items()) {
      std::cout << section << "." << key << " " << Cell(reply.at(section), key.c_str()) << "\n";
    }
  }
  return 0;
}

int Explain(const std::string& socket, std::optional<int> pid, bool as_json) {
  json reply;
  const json request = {{"op", "list"}, {"all", true}, {"decisions", true}};
  if (const int code = Asker(socket).Ask(request, "processes", &reply)) return code;
  json processes = json::array();
  for (const json& process : reply.at("processes")) {
    if (pid && process.value("pid", 0) != *pid) continue;
    if (!pid && process.at("decisions").empty()) continue;
    processes.push_back(process);
  }
  if (pid && processes.empty()) {
    return Fail("no program with pid " + std::to_string(*pid) +
                " is known; 'xsched-hsa-ctl list --all' shows those that are");
  }
  if (as_json) {
    PrintJson({{"processes", processes}});
    return 0;
  }
  if (processes.empty()) std::cout << "nothing was preempted so far\n";
  for (const json& process : processes) PrintDecisions(process);
  return 0;
}

}  // namespace xsched_hsa

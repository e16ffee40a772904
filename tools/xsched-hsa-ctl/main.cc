// main.cc: from the words of the command line to what each command does.
#include <map>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "command_line.h"
#include "commands.h"
#include "config_check.h"
#include "doctor.h"
#include "report_compare.h"
#include "show.h"
#include "top.h"
#include "trace.h"

namespace xsched_hsa {
namespace {

int DoRun(CommandLine* line) {
  if (line->run.command.empty()) {
    return Fail("give the program after '--': xsched-hsa-ctl run --priority high -- PROGRAM ...");
  }
  std::string error;
  const auto priority = ParsePriority(line->value, &error);
  if (!priority) return Fail(error);
  line->run.priority = *priority;
  line->run.socket = line->socket;
  return Run(line->run);
}

int DoTop(const CommandLine& line) {
  TopOptions options;
  options.batch = line.batch.value_or(0);
  options.interval_s = line.interval_s;
  options.reverse = line.reverse;
  options.json = line.json;
  options.sort = line.sort;
  return Top(line.socket, options);
}

int Dispatch(CommandLine* line) {
  using Handler = int (*)(const CommandLine&);
  static const std::map<std::string, Handler> handlers = {
      {"list", [](const CommandLine& l) { return List(l.socket, l.all, l.json); }},
      {"show", [](const CommandLine& l) { return Show(l.socket, l.target, l.json); }},
      {"top", &DoTop},
      {"stats", [](const CommandLine& l) { return Stats(l.socket, l.json); }},
      {"explain", [](const CommandLine& l) { return Explain(l.socket, l.pid, l.json); }},
      {"devices", [](const CommandLine& l) { return Devices(l.socket, l.json); }},
      {"events", [](const CommandLine& l) { return Events(l.socket, l.count, l.seconds, l.json); }},
      {"doctor", [](const CommandLine& l) { return Doctor(l.socket, l.json, l.probe); }},
      {"policy", [](const CommandLine& l) { return PolicyShow(l.socket, l.json); }},
      {"policy show", [](const CommandLine& l) { return PolicyShow(l.socket, l.json); }},
      {"policy set",
       [](const CommandLine& l) {
         return PolicySet(l.socket, l.value, l.gpu, l.parameters, l.json);
       }},
      {"trace start", [](const CommandLine& l) { return TraceStart(l.socket, l.json); }},
      {"trace stop", [](const CommandLine& l) { return TraceStop(l.socket, l.file, l.json); }},
      {"trace status", [](const CommandLine& l) { return TraceStatus(l.socket, l.json); }},
      {"report compare",
       [](const CommandLine& l) { return ReportCompare(l.file, l.other, l.json); }},
      {"config check", [](const CommandLine& l) { return ConfigCheck(l.file, l.json); }},
      {"config show", [](const CommandLine& l) { return ConfigShow(l.socket, l.json); }},
      {"config reload", [](const CommandLine& l) { return ConfigReload(l.socket, l.json); }},
  };
  const auto handler = handlers.find(line->command);
  if (handler != handlers.end()) return handler->second(*line);
  if (line->command == "run") return DoRun(line);
  return Change(line->socket, line->command, line->target, line->value, line->json);
}

}  // namespace
}  // namespace xsched_hsa

int main(int argc, char** argv) {
  int code = 0;
  // Answers are read as this release writes them; of another's, a field may be missing or be something else.
  try {
    auto line = xsched_hsa::ParseCommandLine(argc, argv, &code);
    return line ? xsched_hsa::Dispatch(&*line) : code;
  } catch (const nlohmann::json::exception&) {
    return xsched_hsa::Fail("the controller's answer is not what release " XSCHED_HSA_VERSION
                            " reads; use tool and controller of one release (--version)",
                            xsched_hsa::kExitNoController);
  } catch (const std::exception& error) {
    return xsched_hsa::Fail(error.what(), xsched_hsa::kExitFailed);
  }
}

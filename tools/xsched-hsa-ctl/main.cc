// main.cc: xsched-hsa-ctl's command line.
#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "commands.h"
#include "doctor.h"
#include "run.h"

namespace xsched_hsa {
namespace {

struct Arguments {
  std::string socket, priority, queue;
  bool all = false, json = false;
  std::optional<int> pid;
  RunOptions run;
};

int DoRun(Arguments* arguments, bool has_command) {
  if (!has_command || arguments->run.command.empty()) {
    return Fail("give the program after '--': xsched-hsa-ctl run --priority high -- PROGRAM ...");
  }
  std::string error;
  const auto priority = ParsePriority(arguments->priority, &error);
  if (!priority) return Fail(error);
  arguments->run.priority = *priority;
  arguments->run.socket = arguments->socket;
  return Run(arguments->run);
}

int DoSetPriority(const Arguments& arguments) {
  std::string error;
  const auto name = ParseQueueName(arguments.queue, &error);
  if (!name) return Fail(error);
  if (arguments.priority == "default") return SetPriority(arguments.socket, *name, std::nullopt);
  const auto priority = ParsePriority(arguments.priority, &error);
  if (!priority) return Fail(error);
  return SetPriority(arguments.socket, *name, priority);
}

int DoHold(const Arguments& arguments, bool hold) {
  std::string error;
  const auto name = ParseQueueName(arguments.queue, &error);
  return name ? HoldOrRelease(arguments.socket, *name, hold) : Fail(error);
}

int Main(int argc, char** argv) {
  // What follows the first "--" is the program's and is not ours to parse.
  Arguments arguments;
  std::vector<std::string> words;
  int i = 1;
  for (; i < argc && std::string(argv[i]) != "--"; ++i) words.emplace_back(argv[i]);
  const bool has_command = i < argc;
  for (++i; i < argc; ++i) arguments.run.command.emplace_back(argv[i]);

  CLI::App app{
      "xsched-hsa-ctl: runs programs under preemptive GPU scheduling, and shows and steers them."};
  app.set_version_flag("--version", XSCHED_HSA_VERSION);
  app.require_subcommand(1);
  const auto command = [&](const char* name, const char* help) {
    CLI::App* sub = app.add_subcommand(name, help);
    sub->add_option("--socket", arguments.socket,
                    "The controller's socket (else $XSCHED_HSA_SOCKET, else the default place)");
    return sub;
  };
  CLI::App* run =
      command("run", "Run a program with a priority: run --priority high -- PROGRAM ...");
  run->add_option("--priority", arguments.priority, "low, normal, high or 0..15")->required();
  run->add_option("--layer", arguments.run.layer,
                  "libxsched-hsa.so (else found beside this program)");
  run->add_flag("--allow-no-layer", arguments.run.allow_no_layer,
                "Don't fail when the layer did not come up in the program");
  CLI::App* list = command("list", "Programs and their queues");
  list->add_flag("--all", arguments.all, "Also programs that have ended");
  list->add_flag("--json", arguments.json, "As JSON");
  CLI::App* stats = command("stats", "What the controller has counted");
  stats->add_flag("--json", arguments.json, "As JSON");
  CLI::App* explain =
      command("explain", "The last preemptions: what was chosen, why, and what came of it");
  explain->add_option("pid", arguments.pid, "Only this program's")->check(CLI::PositiveNumber);
  explain->add_flag("--json", arguments.json, "As JSON");
  CLI::App* set_priority = command("set-priority", "Change a priority: set-priority PID[:QUEUE] P");
  set_priority->add_option("queue", arguments.queue, "PID or PID:QUEUE")->required();
  set_priority->add_option("priority", arguments.priority, "low, normal, high, 0..15, or default")
      ->required();
  CLI::App* hold = command("hold", "Publish no more packets until released");
  hold->add_option("queue", arguments.queue, "PID or PID:QUEUE")->required();
  CLI::App* release = command("release", "End a hold");
  release->add_option("queue", arguments.queue, "PID or PID:QUEUE")->required();
  CLI::App* doctor = command("doctor", "What is there and works, one line each");
  doctor->add_flag("--json", arguments.json, "As JSON");

  try {
    // CLI11 takes the words from the back.
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return Fail(std::string(error.what()) + "; see xsched-hsa-ctl --help");
  }
  if (run->parsed()) return DoRun(&arguments, has_command);
  if (has_command) return Fail("'--' is only for 'run'");
  if (list->parsed()) return List(arguments.socket, arguments.all, arguments.json);
  if (stats->parsed()) return Stats(arguments.socket, arguments.json);
  if (explain->parsed()) return Explain(arguments.socket, arguments.pid, arguments.json);
  if (set_priority->parsed()) return DoSetPriority(arguments);
  if (hold->parsed() || release->parsed()) return DoHold(arguments, hold->parsed());
  return Doctor(arguments.socket, arguments.json);
}

}  // namespace
}  // namespace xsched_hsa

int main(int argc, char** argv) { return xsched_hsa::Main(argc, argv); }

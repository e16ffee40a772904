#include "command_line.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "arguments.h"
#include "cli-help/from_cli11.h"
#include "manual.h"

namespace xsched_hsa {
namespace {

// The parser and what it fills in.
class Parser {
 public:
  explicit Parser(CommandLine* line) : line_(*line) {
    app_.name("xsched-hsa-ctl");
    app_.set_version_flag("--version", XSCHED_HSA_VERSION);
    app_.add_flag("--help-man", help_man_)->group("");
    app_.add_flag("--help-bash", help_bash_)->group("");
    AddLooking();
    AddChanging();
    AddRest();
  }

  std::optional<CommandLine> Parse(const std::vector<std::string>& words, bool has_program,
                                   int* code) {
    try {
      // CLI11 takes the words from the back.
      app_.parse(std::vector<std::string>(words.rbegin(), words.rend()));
    } catch (const CLI::Success& success) {
      *code = app_.exit(success);
      return std::nullopt;
    } catch (const CLI::ParseError& error) {
      *code = Fail(std::string(error.what()) + "; see xsched-hsa-ctl --help");
      return std::nullopt;
    }
    if (help_man_ || help_bash_) {
      const CommandHelp help = DescribeCommand(app_);
      std::cout << (help_man_ ? ManPage(help, Manual()) : BashCompletion(help));
      *code = 0;
      return std::nullopt;
    }
    for (const CLI::App* sub = &app_; !sub->get_subcommands().empty();) {
      sub = sub->get_subcommands().front();
      line_.command += (line_.command.empty() ? "" : " ") + sub->get_name();
    }
    if (line_.command.empty()) {
      *code = Fail("a command is required; see xsched-hsa-ctl --help");
      return std::nullopt;
    }
    if (has_program && line_.command != "run") {
      *code = Fail("'--' is only for 'run'");
      return std::nullopt;
    }
    return line_;
  }

 private:
  CLI::App* Add(CLI::App* parent, const char* name, const char* help) {
    CLI::App* sub = parent->add_subcommand(name, help);
    sub->add_option("--socket", line_.socket,
                    "The controller's socket (else $XSCHED_HSA_SOCKET, else the default place)");
    return sub;
  }
  CLI::App* Command(const char* name, const char* help) { return Add(&app_, name, help); }
  CLI::App* JsonCommand(const char* name, const char* help) {
    CLI::App* sub = Command(name, help);
    Json(sub);
    return sub;
  }
  void Json(CLI::App* sub) { sub->add_flag("--json", line_.json, "As JSON"); }
  CLI::App* QueueCommand(const char* name, const char* help) {
    CLI::App* sub = JsonCommand(name, help);
    sub->add_option("queue", line_.target, "PID or PID:QUEUE")->required();
    return sub;
  }
  CLI::App* ProgramCommand(const char* name, const char* help) {
    CLI::App* sub = JsonCommand(name, help);
    sub->add_option("pid", line_.target, "PID")->required();
    return sub;
  }
  void Value(CLI::App* sub, const char* name, const char* help) {
    sub->add_option(name, line_.value, help)->required();
  }

  void AddLooking() {
    JsonCommand("list", "Programs and their queues")
        ->add_flag("--all", line_.all, "Also programs that have ended");
    QueueCommand("show",
                 "All that is known of a program or a queue: indexes, priority, masks, "
                 "hardware slots, container");
    CLI::App* top = JsonCommand("top", "Programs and queues, live; q quits");
    top->add_option("--batch", line_.batch, "Print plain text so many times instead")
        ->check(CLI::Range(1, 1'000'000));
    top->add_option("--interval", line_.interval_s, "Seconds between two looks")
        ->check(CLI::Range(0.05, 3600.0))
        ->capture_default_str();
    top->add_option("--sort", line_.sort, "What comes first")
        ->check(CLI::IsMember(
            {"pid", "priority", "pending", "device", "held", "preemptions", "latency"}))
        ->capture_default_str();
    top->add_flag("--reverse", line_.reverse, "The other way round");
    JsonCommand("stats", "What the controller has counted");
    JsonCommand("explain", "The last preemptions: what was chosen, why, and what came of it")
        ->add_option("pid", line_.pid, "Only this program's")
        ->check(CLI::PositiveNumber);
    JsonCommand("devices", "The GPUs, as the controller and the driver describe them");
    CLI::App* events = JsonCommand("events", "What happens, as it happens, until interrupted");
    events->add_option("--count", line_.count, "End after so many")
        ->check(CLI::Range(1, 1'000'000));
    events->add_option("--seconds", line_.seconds, "End after so long")
        ->check(CLI::Range(0.01, 1e6));
    JsonCommand("doctor", "What is there and works, one line each")
        ->add_flag("--probe", line_.probe,
                   "Also whether hardware queue priority has an effect: a second of the GPU");
  }

  void AddChanging() {
    Value(QueueCommand("set-priority", "Change a priority"), "priority",
          "low, normal, high, 0..15, or default: as the program asked");
    Value(ProgramCommand("set-weight",
                         "Change a program's share against others, where a policy "
                         "goes by weights"),
          "weight", "1..10000, or default: as its rule says");
    Value(ProgramCommand("set-cap", "Bound what a program may use of the device"), "percent",
          "1..100 of the device's time, or default");
    Value(ProgramCommand("set-share", "Change a program's part of a partitioned device"), "percent",
          "1..100 of the compute units, or default");
    Value(ProgramCommand("set-deadline", "Set how long a program's requests may take"), "deadline",
          "milliseconds, or default");
    Value(ProgramCommand("set-latency-target", "Set the P99 that a policy is to keep"), "target",
          "milliseconds, or default");
    Value(QueueCommand("cu-mask", "Keep a queue on fewer compute units"), "units",
          "how many it keeps, or all");
    QueueCommand("suspend", "Take a queue off the hardware, in the middle of a kernel if need be");
    QueueCommand("resume", "End a suspension");
    QueueCommand("hold", "Publish no more packets until released");
    QueueCommand("release", "End a hold");
    CLI::App* policy = JsonCommand("policy", "The policy that decides; alone: show");
    policy->require_subcommand(0, 1);
    Json(Add(policy, "show", "Which policy is in force where, and which there are"));
    CLI::App* set = Add(policy, "set", "Change the policy");
    Json(set);
    Value(set, "policy", "Its name; 'policy show' lists them");
    set->add_option("parameters", line_.parameters, "NAME=NUMBER; the others get their defaults");
    set->add_option("--gpu", line_.gpu, "Only on this GPU, as 'list' names it");
  }

  void AddRest() {
    CLI::App* run = Command("run", "Run a program: run --priority high -- PROGRAM ...");
    run->add_option("--priority", line_.value, "low, normal, high or 0..15")->required();
    run->add_option("--layer", line_.run.layer,
                    "libxsched-hsa.so (else found beside this program)");
    run->add_flag("--allow-no-layer", line_.run.allow_no_layer,
                  "Don't fail when the layer did not come up in the program");
    CLI::App* trace = app_.add_subcommand("trace", "A timeline that Perfetto loads");
    trace->require_subcommand(1);
    Json(Add(trace, "start", "Begin to record"));
    CLI::App* stop = Add(trace, "stop", "End the recording and write it");
    Json(stop);
    stop->add_option("file", line_.file, "Where to; - is standard output")->required();
    Json(Add(trace, "status", "Is something recorded, and how much so far"));
    CLI::App* report = app_.add_subcommand("report", "Results of the experiment, tools/demo");
    report->require_subcommand(1);
    CLI::App* compare = report->add_subcommand("compare", "Two results side by side");
    Json(compare);
    compare->add_option("A", line_.file, "A folder that tools/demo wrote, or its result.json")
        ->required();
    compare->add_option("B", line_.other, "Another one")->required();
    CLI::App* config = app_.add_subcommand("config", "The controller's configuration");
    config->require_subcommand(1);
    CLI::App* check =
        config->add_subcommand("check", "Read it as xsched-hsad would, change nothing");
    check->add_option("file", line_.file, "Another file than the default one");
    Json(check);
    Json(Add(config, "show", "What is in force, and what a reload would read"));
    Json(Add(config, "reload", "Read it again; a wrong one changes nothing"));
  }

  CommandLine& line_;
  bool help_man_ = false, help_bash_ = false;
  CLI::App app_{
      "xsched-hsa-ctl: runs programs under preemptive GPU scheduling, and shows and steers them"};
};

}  // namespace

std::optional<CommandLine> ParseCommandLine(int argc, char** argv, int* code) {
  // What follows the first "--" is the program's and is not ours to parse.
  CommandLine line;
  std::vector<std::string> words;
  int i = 1;
  for (; i < argc && std::string(argv[i]) != "--"; ++i) words.emplace_back(argv[i]);
  const bool has_program = i < argc;
  for (++i; i < argc; ++i) line.run.command.emplace_back(argv[i]);
  return Parser(&line).Parse(words, has_program, code);
}

}  // namespace xsched_hsa

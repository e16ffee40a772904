// main.cc: the command line of dual-model.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <sstream>
#include <string>
#include <vector>

#include "install_paths.h"
#include "plan_export.h"
#include "priority_probe.h"
#include "run.h"
#include "worker.h"

namespace {

using dual_model::ModelSpec;

int BadInput(const std::string& text) {
  std::fprintf(stderr, "dual-model: %s\n", text.c_str());
  return 2;
}

struct RunArguments {
  std::vector<std::string> high, low, scale_ms;
  std::string mode = "native", worker;
  dual_model::RunOptions options;
};

void AddRun(CLI::App* run, RunArguments* arguments) {
  run->add_option("--high", arguments->high, "FILE:MODEL@RATE, requests per second (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  run->add_option("--low", arguments->low, "FILE:MODEL, back to back (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  run->add_option("--scale-ms", arguments->scale_ms,
                  "MODEL=MS: what one inference takes alone on the target (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  run->add_option("--mode", arguments->mode, "alone, native or xsched-hsa [native]");
  run->add_option("--seconds", arguments->options.seconds, "length of the run, device time [10]");
  run->add_option("--warm-up", arguments->options.warm_up_s,
                  "device time before it, in which all run and nothing counts [0]");
  run->add_option("--json", arguments->options.json_path, "where the record goes [stdout]");
  run->add_option("--trace", arguments->options.trace_path,
                  "mode xsched-hsa: record what layer and controller do after the warm-up, for "
                  "Perfetto; costs every doorbell an event");
  run->add_option("--gpu", arguments->options.gpu, "which GPU agent [0]");
  run->add_option("--timeout", arguments->options.timeout_s,
                  "seconds after which a silent device is an error [120]");
  run->add_option(
      "--worker", arguments->worker,
      "a command, words parted by spaces, that runs the models instead of replaying them; "
      "torch_dual_model.py is one");
  run->add_option("--controller-arg", arguments->options.controller_arguments,
                  "handed to xsched-hsad, like --controller-arg=--mechanisms=suspend (repeatable)")
      ->allow_extra_args(false);
  run->add_flag("--open-loop", arguments->options.open_loop,
                "arrivals at fixed times; latency from the arrival");
}

int Run(RunArguments* arguments, bool only_plan) {
  std::string error;
  dual_model::RunOptions& options = arguments->options;
  for (const std::string& text : arguments->high) {
    if (!ParseModelSpec(text, true, &options.high.emplace_back(), &error)) return BadInput(error);
  }
  for (const std::string& text : arguments->low) {
    if (!ParseModelSpec(text, false, &options.low.emplace_back(), &error)) return BadInput(error);
  }
  for (const std::string& text : arguments->scale_ms) {
    if (!dual_model::ParseScale(text, &options.scale_ms, &error)) return BadInput(error);
  }
  if (!ParseMode(arguments->mode, &options.mode)) {
    return BadInput("unknown mode '" + arguments->mode + "'; use alone, native or xsched-hsa");
  }
  if (!options.trace_path.empty() && options.mode != dual_model::RunMode::kXschedHsa) {
    return BadInput("--trace records the layer; use it with --mode xsched-hsa");
  }
  if (!(options.seconds > 0) || options.seconds > 1e6) {
    return BadInput("--seconds must be above 0");
  }
  if (!(options.warm_up_s >= 0) || options.warm_up_s > 1e6) {
    return BadInput("--warm-up must not be negative");
  }
  std::istringstream words(arguments->worker);
  for (std::string word; words >> word;) options.worker.push_back(word);
  return only_plan ? dual_model::PrintPlan(options) : RunExperiment(options);
}

struct WorkerArguments {
  std::string spec;
  double rate_per_s = 0, target_ms = 0;
  dual_model::WorkerOptions options;
};

void AddWorker(CLI::App* worker, WorkerArguments* arguments) {
  dual_model::WorkerOptions& options = arguments->options;
  worker->add_option("spec", arguments->spec, "FILE:MODEL")->required();
  worker->add_option("--rate", arguments->rate_per_s, "requests per second [back to back]");
  worker->add_option("--seconds", options.seconds, "length of the run, device time [10]");
  worker->add_option("--warm-up", options.warm_up_s, "device time before that does not count [0]");
  worker->add_option("--target-ms", arguments->target_ms, "what one inference takes alone");
  worker->add_option("--gpu", options.gpu, "which GPU agent [0]");
  worker->add_option("--ring", options.ring_packets, "packets in the AQL ring [4096]");
  worker->add_option("--timeout", options.timeout_s, "seconds one inference may take [120]");
  worker->add_option("--control-fd", options.control_fd, "set by `dual-model run`");
  worker->add_option("--result", options.result_path, "where the result goes [stdout]");
  worker->add_flag("--open-loop", options.open_loop, "arrivals at fixed times");
}

int Work(WorkerArguments* arguments) {
  std::string error;
  dual_model::WorkerOptions& options = arguments->options;
  if (!ParseModelSpec(arguments->spec, false, &options.spec, &error)) return BadInput(error);
  if (arguments->rate_per_s < 0 || arguments->target_ms < 0 || !(options.seconds > 0) ||
      !(options.warm_up_s >= 0)) {
    return BadInput("--rate, --target-ms, --seconds and --warm-up can't be negative");
  }
  if (options.ring_packets < 64 || (options.ring_packets & (options.ring_packets - 1)) != 0) {
    return BadInput("--ring must be a power of two of at least 64");
  }
  options.spec.rate_per_s = arguments->rate_per_s;
  if (arguments->target_ms > 0) options.target_ms = arguments->target_ms;
  return RunWorker(options);
}

// The experiment and its report are Python; this makes them a command like the others.
int RunScript(const std::string& name, const std::vector<std::string>& rest) {
  const std::string script = dual_model::InstallPaths().share_folder + "/" + name;
  std::vector<std::string> words = {"python3", script};
  words.insert(words.end(), rest.begin(), rest.end());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  execvp("python3", pointers.data());
  std::fprintf(stderr, "dual-model: can't start python3; install it (apt-get install python3)\n");
  return 1;
}

}  // namespace

int main(int argc, char** argv) try {
  signal(SIGPIPE, SIG_IGN);
  if (argc >= 2 && std::string(argv[1]) == "experiment") {
    return RunScript("experiment.py", std::vector<std::string>(argv + 2, argv + argc));
  }
  if (argc >= 2 && std::string(argv[1]) == "ablation") {
    return RunScript("ablation.py", std::vector<std::string>(argv + 2, argv + argc));
  }
  CLI::App app{
      "Replays model inferences on a GPU: high-priority requests beside low-priority work"};
  app.require_subcommand(1);
  RunArguments run_arguments;
  WorkerArguments worker_arguments;
  CLI::App* run = app.add_subcommand("run", "one run: several models, each its own process");
  CLI::App* worker = app.add_subcommand("worker", "one model in this process");
  app.add_subcommand("experiment", "all runs of a scenario, with verdict and report");
  app.add_subcommand("ablation", "mechanisms compared in virtual time; see docs/ablation.md");
  dual_model::PriorityProbeOptions probe_options;
  CLI::App* probe =
      app.add_subcommand("probe-priority", "does hardware queue priority have an effect here?");
  probe->add_option("--gpu", probe_options.gpu, "which GPU agent [0]");
  probe->add_option("--seconds", probe_options.seconds, "device time of each half [0.3]")
      ->check(CLI::Range(0.01, 60.0));
  CLI::App* plan = app.add_subcommand("plan", "what run would launch, for virtual-gpu-replay");
  AddRun(run, &run_arguments);
  AddRun(plan, &run_arguments);
  AddWorker(worker, &worker_arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    return BadInput(std::string(e.what()) + "; see dual-model --help");
  }
  if (probe->parsed()) return ProbePriority(probe_options);
  return worker->parsed() ? Work(&worker_arguments) : Run(&run_arguments, plan->parsed());
} catch (const std::exception& e) {
  std::fprintf(stderr, "dual-model: %s\n", e.what());
  return 1;
}

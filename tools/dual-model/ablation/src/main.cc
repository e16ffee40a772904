// main.cc: the command line of dual-model-sim.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>

#include "profiles.h"
#include "report.h"
#include "workload.h"

namespace {

using ablation::RunResult;
using ablation::RunSetup;

constexpr char kDefaultFile[] = "resnet_h100.json:";

struct Arguments {
  std::string high, mechanisms = "plan", profile = "mi308x", json_path;
  std::vector<std::string> lows;
  std::vector<std::uint32_t> weights;
  std::string policy = "strict-priority";
  double target_ms = 0, high_share_percent = 0, slice_ms = 10;
  double cycle_ms = 0.2, budget_percent = 8, jitter_percent = 0;
  bool decisions = false, requests = false, no_pipe_priority = false;
  std::uint32_t window_us = 0, linger_us = 0;
  RunSetup setup;
};

int BadInput(const std::string& text) {
  std::fprintf(stderr, "dual-model-sim: %s\n", text.c_str());
  return 2;
}

void AddOptions(CLI::App* app, Arguments* a) {
  app->add_option("--high", a->high, "[FILE:]MODEL@RATE, requests per second");
  app->add_option("--low", a->lows, "[FILE:]MODEL, back to back; several: a program each");
  app->add_option("--weight", a->weights, "of each --low in turn, for policies with weights [100]")
      ->check(CLI::Range(1, 10'000));
  app->add_option("--jitter", a->jitter_percent,
                  "of the time between two requests, +- percent, uniform [0]");
  app->add_option("--mechanisms", a->mechanisms,
                  "native, priority, reserve:N, hold, squeeze[:N], suspend, plan [plan]");
  app->add_option("--cycle-ms", a->cycle_ms, "what one runlist cycle costs the device [0.2]");
  app->add_option("--seconds", a->setup.seconds, "simulated time that is measured [20]");
  app->add_option("--warm-up", a->setup.warm_up_s, "simulated time before that [3]");
  app->add_option("--seed", a->setup.seed, "of the device, of host times and of the phase [1]");
  app->add_option("--profile", a->profile, "device profile [mi308x]");
  app->add_option("--cwsr-gbps", a->setup.device.cwsr_bytes_per_ns,
                  "what waves are saved and restored at, GB/s [100]");
  app->add_flag("--no-pipe-priority", a->no_pipe_priority, "queue priorities have no effect");
  app->add_option("--wake-us", a->setup.host.wake_us, "host: from a wake to running, mean [30]");
  app->add_option("--round-us", a->setup.host.round_us, "host: one look of a thread of ours [3]");
  app->add_option("--launch-us", a->setup.host.launch_us, "host: one launch, back to back [5]");
  app->add_option("--doorbell-us", a->setup.host.doorbell_us, "host: one publication [0.25]");
  app->add_option("--window-us", a->window_us, "the policy's window [200]");
  app->add_option("--linger-us", a->linger_us, "the policy's linger [250]");
  app->add_option("--policy", a->policy, "the controller's policy [strict-priority]");
  app->add_option("--slice-ms", a->slice_ms, "a turn, where the policy has turns [10]");
  app->add_option("--target-ms", a->target_ms, "latency-target: the high program's P99; 0: none");
  app->add_option("--high-share", a->high_share_percent,
                  "cu-partition: percent of the device that is the high program's");
  app->add_option("--budget", a->budget_percent, "what a request may lose, percent [8]");
  app->add_option("--json", a->json_path, "where the record goes; - is standard output");
  app->add_flag("--decisions", a->decisions, "with each decision in the record");
  app->add_flag("--requests", a->requests, "with each request in the record");
}

bool LoadPlan(const std::string& text, bool is_high, std::optional<dual_model::ReplayPlan>* plan,
              double* rate_per_s, std::string* name, std::string* error) {
  const std::string full = text.find(':') == std::string::npos ? kDefaultFile + text : text;
  dual_model::ModelSpec spec;
  dual_model::TraceModel model;
  if (!ParseModelSpec(full, is_high, &spec, error)) return false;
  if (!LoadWorkload(spec, &model, error)) return false;
  dual_model::DeviceShape shape;
  shape.workgroup_spread = dual_model::kVirtualGpuSpread;
  if (!MakeReplayPlan(model, shape, std::nullopt, &plan->emplace(), error)) return false;
  if (is_high) *rate_per_s = spec.rate_per_s;
  *name = spec.model;
  return true;
}

std::string CompletePolicy(Arguments* a) {
  ablation::Mechanisms& m = a->setup.mechanisms;
  m.policy_name = a->policy;
  if (xsched_hsa::MakePolicy(m.policy_name, m.policy) == nullptr) {
    return "unknown policy '" + m.policy_name + "'; 'xsched-hsa-ctl policy show' lists them";
  }
  if (!m.layer && m.policy_name != "strict-priority") {
    return "'" + m.name + "' runs without layer and controller, so no policy has a say";
  }
  if (!(a->target_ms >= 0)) return "--target-ms must not be below 0";
  if (!(a->high_share_percent >= 0) || a->high_share_percent >= 100) {
    return "--high-share must be from 0 to below 100 percent";
  }
  m.latency_target_us = static_cast<std::uint64_t>(a->target_ms * 1000);
  m.high_share_permille = static_cast<std::uint32_t>(a->high_share_percent * 10);
  return "";
}

std::string AddLows(const Arguments& a, RunSetup* setup, std::vector<std::string>* names) {
  if (a.weights.size() > a.lows.size()) return "there are more --weight than --low";
  for (std::size_t i = 0; i < a.lows.size(); ++i) {
    std::optional<dual_model::ReplayPlan> plan;
    std::string error;
    if (!LoadPlan(a.lows[i], false, &plan, &setup->rate_per_s, &names->emplace_back(), &error) ||
        !plan) {
      return error;
    }
    setup->lows.push_back({std::move(*plan), i < a.weights.size() ? a.weights[i] : 100});
  }
  return "";
}

// What of the arguments needs a look; an empty text if all is well.
std::string Complete(Arguments* a, std::string* high, std::vector<std::string>* lows) {
  std::string error;
  RunSetup& setup = a->setup;
  const double cwsr = setup.device.cwsr_bytes_per_ns;
  const virtual_gpu::DeviceProfile* profile = virtual_gpu::FindProfile(a->profile);
  if (profile == nullptr) return "unknown profile '" + a->profile + "'; try mi308x";
  setup.device = profile->params;
  setup.device.cwsr_bytes_per_ns = cwsr;
  setup.device.runlist_cycle_ns = static_cast<ablation::TimeNs>(a->cycle_ms * 1e6);
  setup.device.pipe_priority_effective = !a->no_pipe_priority;
  if (!ParseMechanisms(a->mechanisms, &setup.mechanisms, &error)) return error;
  if (a->window_us != 0) setup.mechanisms.policy.window_us = a->window_us;
  if (a->linger_us != 0) setup.mechanisms.policy.linger_us = a->linger_us;
  if (!(a->slice_ms > 0)) return "--slice-ms must be above 0";
  setup.mechanisms.policy.slice_us = static_cast<std::uint32_t>(a->slice_ms * 1000);
  setup.mechanisms.policy.preemption.delay_budget_permille =
      static_cast<std::uint32_t>(a->budget_percent * 10);
  if (const std::string wrong = CompletePolicy(a); !wrong.empty()) return wrong;
  setup.jitter = a->jitter_percent / 100;
  if (!(setup.jitter >= 0) || setup.jitter > 1) return "--jitter must be from 0 to 100 percent";
  if (a->high.empty() && a->lows.empty()) return "nothing to run; give --high or --low or both";
  if (!(setup.seconds > 0) || setup.warm_up_s < 0 || !(a->cycle_ms > 0) || !(cwsr > 0)) {
    return "--seconds, --cycle-ms and --cwsr-gbps must be above 0, --warm-up not below";
  }
  if (!(setup.host.wake_us > 0) || setup.host.round_us < 0 || setup.host.launch_us < 0 ||
      setup.host.doorbell_us < 0 || !(a->budget_percent >= 0)) {
    return "--wake-us must be above 0, other host costs and --budget not below";
  }
  if (!a->high.empty() && !LoadPlan(a->high, true, &setup.high, &setup.rate_per_s, high, &error)) {
    return error;
  }
  return AddLows(*a, &setup, lows);
}

// The high program, or one of the low ones.
RunResult Alone(const RunSetup& setup, std::optional<std::size_t> low) {
  RunSetup alone = setup;
  std::string unused;
  ParseMechanisms("native", &alone.mechanisms, &unused);
  alone.lows.clear();
  if (low) {
    alone.high.reset();
    alone.lows.push_back(setup.lows[*low]);
  }
  return ablation::Simulate(alone);
}

int Run(Arguments* a) {
  ablation::ReportInput input;
  const std::string error = Complete(a, &input.high, &input.lows);
  if (!error.empty()) return BadInput(error);
  std::optional<RunResult> high_alone;
  if (a->setup.high) high_alone = Alone(a->setup, std::nullopt);
  for (std::size_t i = 0; i < a->setup.lows.size(); ++i) {
    input.low_alone.push_back(Alone(a->setup, i));
  }
  const RunResult run = ablation::Simulate(a->setup);
  input.setup = &a->setup;
  input.run = &run;
  input.high_alone = high_alone ? &*high_alone : nullptr;
  input.decisions = a->decisions;
  input.requests = a->requests;
  const nlohmann::json report = ToJson(input);
  if (a->json_path == "-") {
    std::printf("%s\n", report.dump(1).c_str());
  } else {
    std::fputs(ablation::ToText(report).c_str(), stdout);
    if (!a->json_path.empty() && !(std::ofstream(a->json_path) << report.dump(1) << "\n")) {
      return BadInput("can't write " + a->json_path);
    }
  }
  for (const std::string& fault : run.faults) {
    std::fprintf(stderr, "dual-model-sim: not exactly once: %s\n", fault.c_str());
  }
  return run.faults.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{
      "The real layer and controller against the device model, in virtual time: what a mechanism "
      "gives"};
  Arguments arguments;
  AddOptions(&app, &arguments);
  try {
    app.parse(argc, argv);
    return Run(&arguments);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    return BadInput(std::string(e.what()) + "; see dual-model-sim --help");
  }
} catch (const std::exception& e) {
  std::fprintf(stderr, "dual-model-sim: %s\n", e.what());
  return 2;
}

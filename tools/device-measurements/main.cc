// main.cc: device-measurements, which tools/measure-device runs: a record of what this GPU does.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <fstream>

#include "machine_facts.h"
#include "measurements.h"
#include "reaction.h"

namespace {

using namespace device_measurements;

constexpr int kFormat = 1;  // calibrate knows it

struct Arguments {
  std::uint32_t gpu = 0;
  bool quick = false, busy_ok = false;
  double endurance_s = -1;
  int reaction_inside = 0;
  std::string out, only;
};

struct Step {
  const char* name;
  const char* what;
  bool (*run)(const Bench&, Record*, std::string*);
};

// The cycle comes before what is compared with it.
constexpr Step kSteps[] = {{"packets", "launching packets", MeasurePackets},
                           {"cycle", "runlist cycles", MeasureCycle},
                           {"suspend", "suspending and resuming", MeasureSuspend},
                           {"mask", "compute unit masks", MeasureMask},
                           {"priority", "queue priority", MeasurePriority},
                           {"reaction", "how soon a gate closes", MeasureReaction},
                           {"endurance", "ten preemptions a second", Endure}};

int Fail(const std::string& text, int code) {
  std::fprintf(stderr, "measure-device: %s\n", text.c_str());
  return code;
}

Effort EffortOf(const Arguments& arguments) {
  Effort effort;
  if (arguments.quick) effort = {50, 10, 5, 0.1, 2, 20};
  if (arguments.endurance_s >= 0) effort.endurance_s = arguments.endurance_s;
  if (arguments.reaction_inside > 0) effort.reactions = arguments.reaction_inside;
  return effort;
}

// One line if somebody else has queues there: what they do would be measured too.
std::string Busy(std::uint32_t gpu_id) {
  std::vector<int> pids;
  if (!OtherUsers(gpu_id, &pids)) return "";
  std::string list;
  for (const int pid : pids) list += (list.empty() ? "" : ", ") + std::to_string(pid);
  if (list.empty()) return "";
  return "other processes have queues on this GPU (" + list +
         "): they would be disturbed, and the figures be theirs too; end them, or say --busy-ok";
}

// The part of a measurement that runs as a program of its own (reaction.h).
int ReactUnderTheLayer(const Bench& bench) {
  Record record;
  std::string error;
  if (!ReactInside(bench, &record, &error)) return Fail(error, 1);
  std::puts(
      nlohmann::json{{"measured", record.measured}, {"checks", record.checks}}.dump().c_str());
  return 0;
}

int Measure(const Arguments& arguments) {
  std::string error;
  dual_model::ReplayClock clock(1);
  if (!dual_model::ReplayClock::FromEnvironment(&clock, &error)) return Fail(error, 2);
  std::unique_ptr<dual_model::HsaDevice> device;
  const dual_model::HsaStatus opened = dual_model::HsaDevice::Open(arguments.gpu, &device, &error);
  if (opened != dual_model::HsaStatus::kOk)
    return Fail(error, opened == dual_model::HsaStatus::kNoDevice ? 2 : 1);
  if (device->LoadKernels(&error) != dual_model::HsaStatus::kOk) return Fail(error, 1);
  Bench bench{arguments.gpu, device.get(), clock, {}, EffortOf(arguments)};
  if (arguments.reaction_inside > 0) return ReactUnderTheLayer(bench);
  if (!FindNode(*device, &bench.node, &error)) return Fail(error, 1);
  if (const std::string busy = Busy(bench.node.gpu_id); !busy.empty() && !arguments.busy_ok)
    return Fail(busy, 2);
  Record record;
  for (const Step& step : kSteps) {
    if (!arguments.only.empty() && arguments.only != step.name) continue;
    if (isatty(STDERR_FILENO)) std::fprintf(stderr, "measuring: %s\n", step.what);
    if (!step.run(bench, &record, &error)) return Fail(std::string(step.what) + ": " + error, 1);
  }
  const nlohmann::json result = {{"format", kFormat},
                                 {"simulated", dual_model::OnVirtualGpu()},
                                 {"time_scale", clock.scale()},
                                 {"device",
                                  {{"name", device->name()},
                                   {"isa", device->isa()},
                                   {"compute_units", bench.node.compute_units},
                                   {"shader_arrays", bench.node.shader_arrays}}},
                                 {"machine", MachineFacts()},
                                 {"measured", record.measured},
                                 {"params", record.params},
                                 {"checks", record.checks}};
  const std::string text = result.dump(1) + "\n";
  if (arguments.out.empty()) {
    std::fputs(text.c_str(), stdout);
  } else if (!(std::ofstream(arguments.out) << text).flush()) {
    return Fail("cannot write " + arguments.out, 1);
  }
  for (const auto& check : record.checks) {
    if (!check["passed"])
      Fail("NOT as it should be: " + check["name"].get<std::string>() + ": " +
               check["text"].get<std::string>(),
           1);
  }
  return record.AllPassed() ? 0 : 1;
}

int ParseAndMeasure(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Measures what preemption costs on a GPU, and writes it as a record");
  app.name("device-measurements");
  app.add_option("--gpu", arguments.gpu, "Which GPU agent [0]");
  app.add_option("--out", arguments.out, "Where the record goes [standard output]");
  app.add_option("--endurance", arguments.endurance_s, "Seconds of the last step [600; quick: 2]")
      ->check(CLI::Range(0.0, 1e6));
  std::vector<std::string> names;
  for (const Step& step : kSteps) names.emplace_back(step.name);
  app.add_option("--only", arguments.only, "One step")->check(CLI::IsMember(names));
  app.add_option("--reaction-inside", arguments.reaction_inside)
      ->check(CLI::Range(1, 1'000'000))
      ->group("");
  app.add_flag("--quick", arguments.quick, "A rehearsal: fewer of everything");
  app.add_flag("--busy-ok", arguments.busy_ok, "Measure although others use this GPU");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    return Fail(std::string(e.what()) + "; see --help", 2);
  }
  return Measure(arguments);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return ParseAndMeasure(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "measure-device: %s\n", e.what());
    return 1;
  }
}

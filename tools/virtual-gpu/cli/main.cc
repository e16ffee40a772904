// main.cc: the virtual-gpu program: its command line.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "commands.h"
#include "device_client.h"
#include "run.h"

namespace {

using namespace virtual_gpu::cli;

constexpr int kBadInput = 2;
constexpr double kTimeScaleMin = 0.01, kTimeScaleMax = 10'000;

struct DeviceFlags {
  CLI::Option* profile;
  CLI::Option* time_scale;
};

DeviceFlags AddDeviceOptions(CLI::App* app, DaemonOptions* options) {
  DeviceFlags flags;
  flags.profile = app->add_option("--profile", options->profile,
                                  "Which GPU: see virtual-gpu profiles (default mi308x)");
  app->add_option("--isa", options->isa, "ISA name to show: auto, gfx908, gfx90a, gfx942, gfx950");
  app->add_option("--gpus", options->gpus, "How many")
      ->check(CLI::Range(1u, virtual_gpu::rpc::kGpusMax));
  flags.time_scale =
      app->add_option("--time-scale", options->time_scale, "Slow the device down by this factor")
          ->check(CLI::Range(kTimeScaleMin, kTimeScaleMax));
  app->add_option("--param", options->params, "KEY=NUMBER, a device parameter; may be repeated")
      ->take_all();
  app->add_flag("--strict", options->strict,
                "Stop the device at the first thing that is not modelled");
  app->add_flag("--quiet", options->quiet, "Do not say which ISA is shown");
  return flags;
}

bool CheckName(const std::string& device) {
  if (ValidDeviceName(device)) return true;
  std::fprintf(stderr, "virtual-gpu: '%s' is no device name; use up to 32 letters, digits, - _ .\n",
               device.c_str());
  return false;
}

int Dispatch(const std::vector<std::string>& words, std::vector<std::string> command) {
  CLI::App app{"A virtual AMD Instinct GPU under unmodified ROCr."};
  app.require_subcommand(1);
  RunRequest run;
  std::string device;
  bool json = false, with_cus = false;
  CLI::App* run_app = app.add_subcommand("run", "Run a command: virtual-gpu run [...] -- CMD...");
  const DeviceFlags flags = AddDeviceOptions(run_app, &run.options);
  run_app->add_option("--device", device, "Join, or start, the named device");
  run_app->add_option("--fault", run.faults, "Something that shall go wrong; may be repeated")
      ->take_all();
  DaemonOptions start_options;
  std::vector<std::string> start_faults, fault_words;
  CLI::App* start_app = app.add_subcommand("start", "Start a named device that stays");
  AddDeviceOptions(start_app, &start_options);
  start_app->add_option("--device", device, "Its name")->required();
  start_app->add_option("--fault", start_faults, "As of run")->take_all();
  CLI::App* fault_app = app.add_subcommand("fault", "Make something go wrong: [DEVICE] FAULT");
  fault_app->add_option("words", fault_words, "The device's name, and the fault")
      ->required()
      ->expected(1, 2);
  CLI::App* stop_app = app.add_subcommand("stop", "Stop a named device");
  stop_app->add_option("--device", device, "Its name")->required();
  CLI::App* stats_app = app.add_subcommand("stats", "Processes, queues and the device's own lag");
  stats_app->add_option("--device", device, "Its name; default: the one this command runs under");
  stats_app->add_flag("--json", json, "As JSON");
  stats_app->add_flag("--cus", with_cus, "In the JSON, on which CUs each queue's workgroups are");
  CLI::App* profiles_app = app.add_subcommand("profiles", "The GPUs that it can be");
  try {
    std::vector<std::string> reversed(words.rbegin(), words.rend());
    app.parse(reversed);
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForAllHelp& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "virtual-gpu: %s; see virtual-gpu --help\n", e.what());
    return kBadInput;
  }
  if (fault_words.size() == 2) device = fault_words.front();
  if (!device.empty() && !CheckName(device)) return kBadInput;
  if (profiles_app->parsed()) return Profiles();
  if (stats_app->parsed()) return Stats(device, json || with_cus, with_cus);
  if (stop_app->parsed()) return Stop(device);
  if (start_app->parsed()) return Start(start_options, device, start_faults);
  if (fault_app->parsed()) return ArmFault(device, fault_words.back());
  if (command.empty()) {
    std::fprintf(stderr, "virtual-gpu: run what? write virtual-gpu run [...] -- CMD...\n");
    return kBadInput;
  }
  run.device = device;
  run.profile_given = flags.profile->count() > 0;
  run.time_scale_given = flags.time_scale->count() > 0;
  run.command = std::move(command);
  return Run(std::move(run));
}

}  // namespace

int main(int argc, char** argv) try {
  // What follows "--" is the command's own, whatever it looks like.
  std::vector<std::string> words(argv + 1, argv + argc), command;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] != "--") continue;
    command.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
    words.resize(i);
    break;
  }
  return Dispatch(words, std::move(command));
} catch (const std::exception& e) {
  std::fprintf(stderr, "virtual-gpu: %s\n", e.what());
  return 1;
}

// replay_main.cc: virtual-gpu-replay FILE: runs a replay file (replay.h), prints the result.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <thread>

#include "param_table.h"
#include "profiles.h"
#include "replay.h"

namespace {

using virtual_gpu::TimeNs;

constexpr TimeNs kPaceStepNs = 100'000;

TimeNs CpuNs() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return TimeNs{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// How far a device that has one processor to itself would fall behind real time.
struct Pace {
  TimeNs simulated = 0, cpu = CpuNs(), behind = 0, behind_max = 0, step_max = 0;
  void Step(TimeNs now) {
    if (now - simulated < kPaceStepNs) return;
    const TimeNs cpu_now = CpuNs(), cost = cpu_now - cpu;
    step_max = std::max(step_max, cost);
    behind = std::max<TimeNs>(0, behind + cost - (now - simulated));
    behind_max = std::max(behind_max, behind);
    simulated = now;
    cpu = cpu_now;
  }
};

int Run(const std::string& name, bool show_pace) {
  const std::string path = name == "-" ? "/dev/stdin" : name;
  std::ifstream file(path);
  if (!file) {
    std::fprintf(stderr, "virtual-gpu-replay: cannot open %s; give a replay file\n", name.c_str());
    return 2;
  }
  virtual_gpu::ReplayInput input = virtual_gpu::ParseReplay(nlohmann::json::parse(file));
  Pace pace;
  if (show_pace && input.stretches > 1) {
    std::fprintf(stderr,
                 "virtual-gpu-replay: --pace is for one stretch; take \"stretches\" out of %s\n",
                 name.c_str());
    return 2;
  }
  if (show_pace) {
    input.step_ns = kPaceStepNs;
    input.on_step = [&pace](TimeNs now) { pace.Step(now); };
  }
  const TimeNs begin = CpuNs();
  const auto clock_begin = std::chrono::steady_clock::now();
  const unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  const nlohmann::json json = virtual_gpu::ToJson(virtual_gpu::ReplayInStretches(input, threads));
  const double cpu_s = static_cast<double>(CpuNs() - begin) / 1e9;
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - clock_begin;
  std::puts(json.dump(1).c_str());
  // Not part of the result: it differs from machine to machine.
  std::fprintf(stderr,
               "host (real): %.3f s, %.3f of CPU, for %.3f simulated; %.1f M events per s of CPU\n",
               wall.count(), cpu_s, json["seconds"].get<double>(),
               json["events"].get<double>() / cpu_s / 1e6);
  if (show_pace) {
    std::fprintf(
        stderr, "host (real): in real time at most %.2f ms behind; the longest 0.1 ms took %.2f\n",
        static_cast<double>(pace.behind_max) / 1e6, static_cast<double>(pace.step_max) / 1e6);
  }
  return 0;
}

// 2 and a line if there is no such profile.
int ShowParams(const std::string& name, bool table) {
  const virtual_gpu::DeviceProfile* profile = virtual_gpu::FindProfile(name);
  if (profile == nullptr) {
    std::fprintf(stderr, "virtual-gpu-replay: unknown profile %s; see virtual-gpu profiles\n",
                 name.c_str());
    return 2;
  }
  std::puts(table ? virtual_gpu::ParamTable(profile->params).c_str()
                  : virtual_gpu::ParamsJson(profile->params).dump(1).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (argc == 3 && (first == "--params" || first == "--params-table")) {
    return ShowParams(argv[2], first == "--params-table");
  }
  const bool show_pace = argc == 3 && first == "--pace";
  if (argc != 2 + show_pace || first == "--help") {
    std::fputs(
        "usage: virtual-gpu-replay [--pace] FILE\n"
        "       virtual-gpu-replay --params | --params-table PROFILE\n"
        "Replays the kernel sequences of a JSON file on the device model and prints latencies\n"
        "as JSON; replay.h says what the file holds. FILE - is standard input.\n"
        "--pace says how far behind real time the device would fall on a processor of its own;\n"
        "--params and --params-table print the model's parameters as JSON and as Markdown.\n",
        argc == 2 ? stdout : stderr);
    return argc == 2 ? 0 : 2;
  }
  return Run(argv[argc - 1], show_pace);
} catch (const std::exception& error) {
  std::fprintf(stderr, "virtual-gpu-replay: %s: %s\n", argv[argc - 1], error.what());
  return 2;
}

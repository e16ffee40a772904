// replay_main.cc: virtual-gpu-replay FILE: runs a replay file (replay.h), prints the result.

#include <chrono>
#include <cstdio>
#include <ctime>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "replay.h"

int main(int argc, char** argv) {
  if (argc != 2 || std::string(argv[1]) == "--help") {
    std::fputs(
        "usage: virtual-gpu-replay FILE\n"
        "Replays the kernel sequences of a JSON file on the device model and prints latencies\n"
        "as JSON; replay.h says what the file holds. FILE - is standard input.\n",
        argc == 2 ? stdout : stderr);
    return argc == 2 ? 0 : 2;
  }
  try {
    const std::string path = std::string(argv[1]) == "-" ? "/dev/stdin" : argv[1];
    std::ifstream file(path);
    if (!file) {
      std::fprintf(stderr, "virtual-gpu-replay: cannot open %s; give a replay file\n", argv[1]);
      return 2;
    }
    const auto input = virtual_gpu::ParseReplay(nlohmann::json::parse(file));
    const std::clock_t begin = std::clock();
    nlohmann::json json = virtual_gpu::ToJson(virtual_gpu::Replay(input));
    const double cpu_s = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    std::puts(json.dump(1).c_str());
    // Not part of the result: it differs from machine to machine.
    std::fprintf(stderr, "%.3f s of CPU for %.3f simulated, %.1f M events/s\n", cpu_s,
                 json["seconds"].get<double>(), json["events"].get<double>() / cpu_s / 1e6);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "virtual-gpu-replay: %s: %s\n", argv[1], error.what());
    return 2;
  }
}

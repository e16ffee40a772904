// Traces of models (tools/dual-model) and the replay's input (virtual-gpu-replay): read, or one line.
#include <cstdlib>
#include <exception>
#include <nlohmann/json.hpp>

#include "fuzz_target.h"
#include "replay.h"
#include "workload.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  dual_model::TraceModel model;
  std::string error;
  if (!dual_model::ParseWorkload(fuzz::Text(data, size), "file", "resnet", &model, &error) &&
      error.empty()) {
    std::abort();  // refused without a word
  }
  try {
    virtual_gpu::ParseReplay(nlohmann::json::parse(data, data + size));
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
    // replay_main.cc says what() and ends with 2.
  }
  return 0;
}

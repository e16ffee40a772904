#include "run.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "child_process.h"
#include "install_paths.h"
#include "layer_session.h"
#include "replay_clock.h"
#include "run_result.h"
#include "worker_group.h"

namespace dual_model {
namespace {

using nlohmann::json;
// What the virtual GPU says about its own lag; absent on hardware and if it says nothing.
json HostNoise() {
  const std::string tool = InstallPaths().bin_folder + "/virtual-gpu";
  if (!OnVirtualGpu() || !std::filesystem::exists(tool)) return nullptr;
  ChildOptions options;
  options.command = {tool, "stats", "--json"};
  std::string output, ignored;
  if (!RunForOutput(options, false, 5000, &output, &ignored)) return nullptr;
  const json stats = json::parse(output, nullptr, false);
  return stats.is_discarded() ? json(nullptr) : stats;
}

bool CheckInput(const RunOptions& options, std::string* error) {
  if (options.high.empty() && options.low.empty()) {
    *error = "nothing to run: give --high FILE:MODEL@RATE or --low FILE:MODEL";
    return false;
  }
  ReplayClock clock(1);
  if (!ReplayClock::FromEnvironment(&clock, error)) return false;
  TraceModel model;
  for (const auto* specs : {&options.high, &options.low}) {
    for (const ModelSpec& spec : *specs) {
      if (!LoadWorkload(spec, &model, error)) return false;
    }
  }
  return true;
}

int Report(const std::string& error, int code) {
  std::fprintf(stderr, "dual-model run: %s\n", error.c_str());
  return code;
}

int WriteRecord(const RunOptions& options, const json& record) {
  if (options.json_path.empty()) {
    std::printf("%s\n", record.dump().c_str());
    return 0;
  }
  std::ofstream file(options.json_path, std::ios::trunc);
  if (file << record.dump() << "\n" && file.flush()) return 0;
  return Report("can't write " + options.json_path + "; choose another --json file", 2);
}

// Removes the workers' files however the run ends.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    char name[] = "/tmp/dual-model-run-XXXXXX";
    if (mkdtemp(name) != nullptr) path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

bool ParseMode(const std::string& text, RunMode* mode) {
  for (const RunMode candidate : {RunMode::kAlone, RunMode::kNative, RunMode::kXschedHsa}) {
    if (text != ModeName(candidate)) continue;
    *mode = candidate;
    return true;
  }
  return false;
}

const char* ModeName(RunMode mode) {
  switch (mode) {
    case RunMode::kAlone:
      return "alone";
    case RunMode::kNative:
      return "native";
    case RunMode::kXschedHsa:
      return "xsched-hsa";
  }
  return "unknown";
}

bool ParseScale(const std::string& text, std::map<std::string, double>* scale_ms,
                std::string* error) {
  const std::size_t equals = text.find('=');
  double ms = 0;
  if (equals != std::string::npos && equals > 0) {
    const char* end = text.data() + text.size();
    const auto [parsed, code] = std::from_chars(text.data() + equals + 1, end, ms);
    if (code == std::errc() && parsed == end && ms > 0) {
      (*scale_ms)[text.substr(0, equals)] = ms;
      return true;
    }
  }
  *error = "'" + text + "' is not MODEL=MS with MS above 0, like resnet50.b8=6.0";
  return false;
}

int RunExperiment(const RunOptions& options) {
  std::string error;
  if (!CheckInput(options, &error)) return Report(error, 2);
  TemporaryFolder folder;
  if (folder.path().empty()) return Report("can't make a folder in /tmp", 1);

  std::vector<const ModelSpec*> all;
  all.reserve(options.high.size() + options.low.size());
  for (const ModelSpec& spec : options.high) all.push_back(&spec);
  for (const ModelSpec& spec : options.low) all.push_back(&spec);
  std::vector<std::vector<const ModelSpec*>> groups = {all};
  if (options.mode == RunMode::kAlone) {
    groups.clear();
    for (const ModelSpec* spec : all) groups.push_back({spec});
  }

  std::vector<json> results;
  Proof proof;
  for (const auto& group_specs : groups) {
    std::unique_ptr<LayerSession> layer;
    if (options.mode == RunMode::kXschedHsa) {
      layer = std::make_unique<LayerSession>();
      if (!layer->Start(options.controller_arguments, &error)) return Report(error, 1);
    }
    WorkerGroup group(options, folder.path(), layer.get(), &error);
    if (!group.Run(group_specs, &results, &proof)) {
      return Report(error, group.bad_input() ? 2 : 1);
    }
  }
  json record = MakeRecord(options, results, proof, OnVirtualGpu());
  record["host_noise"] = HostNoise();
  if (!proof.unproven.empty()) record["unproven"] = proof.unproven;
  const int written = WriteRecord(options, record);
  return written == 0 && !proof.unproven.empty() ? Report(proof.unproven, 1) : written;
}

}  // namespace dual_model

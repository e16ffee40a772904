// run.h: one run of the experiment: starts the workers together, collects what they measured.
//
// Why        Each model is its own process, as in the published experiment. All start at one common
//            time; low ones run until every high one is done (or for the given time if there is no
//            high one). In mode alone each model runs by itself, one after another. Requests that
//            start and iterations that end in the first warm_up_s do not count, in any mode: a
//            scheduler learns, caches fill.
// Threads    one.
// Ownership  whatever is started here has ended when RunExperiment returns, also on failure.
// Units      device milliseconds; iterations and images per device second.
// Errors     an exit code: 0, 1 (the run failed, or proved nothing), 2 (bad input); one line.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "workload.h"

namespace dual_model {

enum class RunMode { kAlone, kNative, kXschedHsa };

struct RunOptions {
  std::vector<ModelSpec> high, low;
  std::map<std::string, double> scale_ms;  // by model
  RunMode mode = RunMode::kNative;
  double seconds = 10;
  double warm_up_s = 0;
  bool open_loop = false;
  std::uint32_t gpu = 0;
  std::uint32_t timeout_s = 120;
  std::vector<std::string> controller_arguments;
  std::vector<std::string> worker;  // what runs a model; empty: this program replays it
  std::string json_path;            // empty: standard output
  std::string trace_path;  // kXschedHsa: a timeline of what counts, for Perfetto; empty: none
};

// "alone", "native", "xsched-hsa". False for anything else.
bool ParseMode(const std::string& text, RunMode* mode);
const char* ModeName(RunMode mode);

// "resnet50.b8=6.0"
bool ParseScale(const std::string& text, std::map<std::string, double>* scale_ms,
                std::string* error);

int RunExperiment(const RunOptions& options);

}  // namespace dual_model

// report.h: a run's result as JSON and as lines for people.
//
// Units      _ms: simulated milliseconds; `over` and `kept` are fractions of the model alone, which
//            is simulated with the same host parameters and no layer.
// Threads    pure functions.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "simulation.h"

namespace ablation {

struct ReportInput {
  const RunSetup* setup;
  std::string high;  // models' names
  std::vector<std::string> lows;
  const RunResult* run;
  const RunResult* high_alone;       // null: there is no high program
  std::vector<RunResult> low_alone;  // of each low program
  bool decisions = false, requests = false;
};

nlohmann::json ToJson(const ReportInput& input);
std::string ToText(const nlohmann::json& report);

}  // namespace ablation

// run_result.h: turns the workers' raw results into the record of one run.
//
// Record     {"simulated", "mode", "seconds", "time_scale", "open_loop", "device", "high", "low",
//             "proof", "models": [{role, model, batch, rate, metrics, plan, samples, check}]};
//             "high" and "low" are the first model of that role, as result.json wants them.
// Low rate   iterations that ended before the stop, over the time until the last of them ended: an
//            unfinished iteration counts neither way.
// Threads    pure functions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "layer_session.h"
#include "run.h"

namespace dual_model {

// One worker's result (worker.cc) -> its metrics.
nlohmann::json HighMetrics(const nlohmann::json& worker);
nlohmann::json LowMetrics(const nlohmann::json& worker);

nlohmann::json MakeRecord(const RunOptions& options, const std::vector<nlohmann::json>& workers,
                          const Proof& proof, bool simulated);

}  // namespace dual_model

#include "run_result.h"

#include "statistics.h"

namespace dual_model {

using nlohmann::json;

json HighMetrics(const json& worker) {
  std::vector<double> latencies_ms;
  for (const json& sample : worker.at("samples")) latencies_ms.push_back(sample.at(1));
  const LatencySummary summary = Summarise(latencies_ms);
  return {{"requests", summary.requests}, {"p50_ms", summary.p50_ms}, {"p95_ms", summary.p95_ms},
          {"p99_ms", summary.p99_ms},     {"max_ms", summary.max_ms}, {"mean_ms", summary.mean_ms}};
}

json LowMetrics(const json& worker) {
  const json& samples = worker.at("samples");
  double rate = 0;
  if (!samples.empty()) {
    // From the first one's start: with a warm-up an iteration may reach over the origin.
    const json& last = samples.back();
    const double until_ms = last.at(0).get<double>() + last.at(1).get<double>();
    rate = double(samples.size()) / (until_ms - samples.front().at(0).get<double>()) * 1e3;
  }
  return {{"iterations", samples.size()},
          {"iter_per_s", rate},
          {"img_per_s", rate * worker.at("batch").get<double>()}};
}

namespace {

json ModelRecord(const json& worker) {
  const bool high = worker.at("role") == "high";
  json record = worker;
  record["metrics"] = high ? HighMetrics(worker) : LowMetrics(worker);
  record.erase("device");
  record.erase("time_scale");
  return record;
}

json ProofRecord(const Proof& proof) {
  return {{"layer_loaded", proof.layer_loaded},
          {"queues", proof.queues},
          {"packets_held", proof.packets_held},
          {"preemptions", proof.preemptions},
          {"held_ms", proof.held_ms},
          {"raises", proof.raises},
          {"squeezes", proof.squeezes},
          {"suspends", proof.suspends},
          {"decisions", proof.decisions},
          {"controller", proof.controller},
          {"packets_seen", proof.packets_seen},
          {"packets_submitted", proof.packets_submitted},
          {"packets_completed", proof.packets_completed}};
}

}  // namespace

json MakeRecord(const RunOptions& options, const std::vector<json>& workers, const Proof& proof,
                bool simulated) {
  json record = {{"simulated", simulated},
                 {"mode", ModeName(options.mode)},
                 {"seconds", options.seconds},
                 {"warm_up_s", options.warm_up_s},
                 {"open_loop", options.open_loop},
                 {"proof", ProofRecord(proof)},
                 {"models", json::array()},
                 {"high", nullptr},
                 {"low", nullptr}};
  for (const json& worker : workers) {
    const json model = ModelRecord(worker);
    json& first = record[worker.at("role").get<std::string>()];
    if (first.is_null()) first = model.at("metrics");
    record["models"].push_back(model);
    record["device"] = worker.at("device");
    record["time_scale"] = worker.at("time_scale");
  }
  return record;
}

}  // namespace dual_model

#include "report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "statistics.h"

namespace ablation {
namespace {

using nlohmann::json;
using xsched_hsa::PlanMechanism;
using xsched_hsa::PlanReason;

const char* NameOf(PlanMechanism mechanism) {
  switch (mechanism) {
    case PlanMechanism::kSqueeze:
      return "squeeze";
    case PlanMechanism::kShare:
      return "share";
    case PlanMechanism::kSuspend:
      return "suspend";
    default:
      return "hold";
  }
}

const char* NameOf(PlanReason reason) {
  switch (reason) {
    case PlanReason::kCheapestWithinBudget:
      return "cheapest within the delay budget";
    case PlanReason::kLeastDelay:
      return "least delay, nothing is within the budget";
    case PlanReason::kNothingExposed:
      return "nothing of it is on the hardware";
    default:
      return "nothing else is allowed or works here";
  }
}

double Ms(double ns) { return ns / 1e6; }

dual_model::LatencySummary SummaryOf(const RunResult& run) {
  std::vector<double> latencies_ms;
  latencies_ms.reserve(run.requests.size());
  for (const Sample& sample : run.requests) latencies_ms.push_back(Ms(double(sample.took_ns)));
  return dual_model::Summarise(std::move(latencies_ms));
}

json SummaryJson(const dual_model::LatencySummary& summary) {
  return {{"p50_ms", summary.p50_ms},
          {"p95_ms", summary.p95_ms},
          {"p99_ms", summary.p99_ms},
          {"max_ms", summary.max_ms}};
}

json HighJson(const ReportInput& input) {
  const dual_model::LatencySummary run = SummaryOf(*input.run);
  const dual_model::LatencySummary alone = SummaryOf(*input.high_alone);
  json high = SummaryJson(run);
  high["model"] = input.high;
  high["rate_per_s"] = input.setup->rate_per_s;
  high["requests"] = run.requests;
  high["alone"] = SummaryJson(alone);
  const auto over = [](double value, double base) { return base > 0 ? value / base : 0; };
  high["p50_over_alone"] = over(run.p50_ms, alone.p50_ms);
  high["p99_over_alone"] = over(run.p99_ms, alone.p99_ms);
  high["max_over_alone"] = over(run.max_ms, alone.max_ms);
  return high;
}

json LowJson(const ReportInput& input, std::size_t number) {
  const double alone = input.low_alone[number].lows[0].per_s;
  const LowResult& low = input.run->lows[number];
  return {{"model", input.lows[number]},
          {"per_s", low.per_s},
          {"alone_per_s", alone},
          {"starved_ms", low.starved_ms},
          {"kept", alone > 0 ? low.per_s / alone : 0}};
}

json DecisionJson(const DecisionRecord& record) {
  return {{"number", record.number},
          {"at_ms", double(record.at_us) / 1e3},
          {"mechanism", NameOf(static_cast<PlanMechanism>(record.mechanism))},
          {"reason", NameOf(static_cast<PlanReason>(record.reason))},
          {"units_left", record.units_left},
          {"error", record.error},
          {"rest_ms", Ms(double(record.rest_ns))},
          {"cycle_ms", Ms(double(record.cycle_ns))},
          {"request_ms", Ms(double(record.request_ns))},
          {"predicted_delay_ms", Ms(double(record.delay_ns))},
          {"predicted_cost_ms", Ms(double(record.cost_ns))},
          {"driver_calls_ms", Ms(double(record.took_ns))},
          {"measured_ms", Ms(double(record.measured_ns))}};
}

json LayerJson(const LayerCounts& counts) {
  json by_mechanism = {{"hold", 0}, {"squeeze", 0}, {"suspend", 0}, {"share", 0}};
  for (const DecisionRecord& record : counts.decisions) {
    json& count = by_mechanism[NameOf(static_cast<PlanMechanism>(record.mechanism))];
    count = count.get<int>() + 1;
  }
  return {{"decisions", counts.decisions.size()},
          {"chosen", by_mechanism},
          {"holds", counts.holds},
          {"packets_held", counts.packets_held},
          {"held_ms", counts.held_ms},
          {"squeezes", counts.squeezes},
          {"suspends", counts.suspends},
          {"restricted_ms", counts.restricted_ms},
          {"learnt",
           {{"cycle_ms", Ms(double(counts.cycle_ns))},
            {"request_ms", Ms(double(counts.request_ns))},
            {"slack_ms", Ms(double(counts.slack_ns))},
            {"co_run", counts.co_run},
            {"sharing_by_eighths", counts.sharing}}}};
}

// Of several: what each has of what all of them got together.
json LowsJson(const ReportInput& input) {
  double work = 0, device_ms = 0;
  json lows = json::array();
  for (std::size_t i = 0; i < input.run->lows.size(); ++i) {
    lows.push_back(LowJson(input, i));
    work += lows[i]["kept"].get<double>();
    device_ms += input.run->lows[i].device_ms;
  }
  for (std::size_t i = 0; i < lows.size(); ++i) {
    const LowResult& low = input.run->lows[i];
    lows[i]["weight"] = input.setup->lows[i].weight;
    lows[i]["device_ms"] = low.device_ms;
    lows[i]["share_of_work"] = work > 0 ? lows[i]["kept"].get<double>() / work : 0;
    lows[i]["share_of_device_time"] = device_ms > 0 ? low.device_ms / device_ms : 0;
    if (input.setup->mechanisms.layer) lows[i]["layer"] = LayerJson(low.layer);
  }
  return lows;
}

json SetupJson(const RunSetup& setup) {
  return {{"seconds", setup.seconds},
          {"warm_up_s", setup.warm_up_s},
          {"seed", setup.seed},
          {"jitter", setup.jitter},
          {"device",
           {{"profile", setup.device.name},
            {"cycle_ms", Ms(double(setup.device.runlist_cycle_ns))},
            {"cwsr_bytes_per_ns", setup.device.cwsr_bytes_per_ns},
            {"pipe_priority_effective", setup.device.pipe_priority_effective}}},
          {"host_assumed",
           {{"wake_us", setup.host.wake_us},
            {"round_us", setup.host.round_us},
            {"launch_us", setup.host.launch_us},
            {"doorbell_us", setup.host.doorbell_us}}},
          {"policy",
           {{"name", setup.mechanisms.policy_name},
            {"target_us", setup.mechanisms.latency_target_us},
            {"high_share_permille", setup.mechanisms.high_share_permille},
            {"slice_us", setup.mechanisms.policy.slice_us},
            {"window_us", setup.mechanisms.policy.window_us},
            {"linger_us", setup.mechanisms.policy.linger_us},
            {"budget_permille", setup.mechanisms.policy.preemption.delay_budget_permille}}}};
}

}  // namespace

json ToJson(const ReportInput& input) {
  json report = {{"simulated", true},
                 {"mechanisms", input.setup->mechanisms.name},
                 {"setup", SetupJson(*input.setup)}};
  if (input.high_alone != nullptr) report["high"] = HighJson(input);
  const bool has_low = !input.lows.empty();
  if (has_low) report["low"] = LowJson(input, 0);
  if (input.lows.size() > 1) report["lows"] = LowsJson(input);
  if (input.setup->mechanisms.layer) {
    report["layer"] = LayerJson(has_low ? input.run->lows[0].layer : LayerCounts{});
  }
  report["device"] = {{"driver_calls", input.run->driver_calls},
                      {"runlist_cycles", input.run->runlist_cycles},
                      {"events", input.run->device_events}};
  report["exactly_once"] = {{"packets", input.run->packets},
                            {"workgroups", input.run->workgroups},
                            {"faults", input.run->faults}};
  if (input.decisions) {
    json list = json::array();
    for (std::size_t i = 0; i < input.run->lows.size(); ++i) {
      for (const DecisionRecord& record : input.run->lows[i].layer.decisions) {
        list.push_back(DecisionJson(record));
        if (i != 0) list.back()["low"] = i + 1;
      }
    }
    report["decisions"] = std::move(list);
  }
  if (input.requests) {
    json list = json::array();
    for (const Sample& sample : input.run->requests) {
      list.push_back({Ms(double(sample.start_ns)), Ms(double(sample.took_ns))});
    }
    report["requests"] = std::move(list);  // [start_ms, latency_ms]
  }
  return report;
}

std::string ToText(const json& report) {
  char line[512];
  std::string text = "simulated; " + report["mechanisms"].get<std::string>() + ":";
  if (report.contains("high")) {
    const json& high = report["high"];
    std::snprintf(line, sizeof(line),
                  " high P50 %.2f P95 %.2f P99 %.2f max %.2f ms, P99/alone %.3f (n %zu)",
                  high["p50_ms"].get<double>(), high["p95_ms"].get<double>(),
                  high["p99_ms"].get<double>(), high["max_ms"].get<double>(),
                  high["p99_over_alone"].get<double>(), high["requests"].get<std::size_t>());
    text += line;
  }
  if (report.contains("low")) {
    std::snprintf(line, sizeof(line), "; low %.3f it/s, kept %.3f",
                  report["low"]["per_s"].get<double>(), report["low"]["kept"].get<double>());
    text += line;
  }
  for (std::size_t i = 0; report.contains("lows") && i < report["lows"].size(); ++i) {
    const json& low = report["lows"][i];
    std::snprintf(line, sizeof(line), "; low %zu of weight %u: %.3f of the work, %.3f of the time",
                  i + 1, low["weight"].get<unsigned>(), low["share_of_work"].get<double>(),
                  low["share_of_device_time"].get<double>());
    text += line;
  }
  if (report.contains("layer")) {
    const json& layer = report["layer"];
    std::snprintf(line, sizeof(line),
                  "; decisions %d (hold %d, squeeze %d, suspend %d, share %d), cycle learnt %.3f "
                  "ms, request %.2f ms",
                  layer["decisions"].get<int>(), layer["chosen"]["hold"].get<int>(),
                  layer["chosen"]["squeeze"].get<int>(), layer["chosen"]["suspend"].get<int>(),
                  layer["chosen"]["share"].get<int>(), layer["learnt"]["cycle_ms"].get<double>(),
                  layer["learnt"]["request_ms"].get<double>());
    text += line;
  }
  for (const json& fault : report["exactly_once"]["faults"]) {
    text += "\nFAULT: " + fault.get<std::string>();
  }
  return text + "\n";
}

}  // namespace ablation

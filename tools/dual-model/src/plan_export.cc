#include "plan_export.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "replay_plan.h"

namespace dual_model {
namespace {

using nlohmann::json;

json QueueOf(const ModelSpec& spec, const ReplayPlan& plan) {
  json kernels = json::array();
  for (const ReplayKernel& kernel : plan.kernels) {
    kernels.push_back({{"workgroups", kernel.workgroups},
                       {"waves", (kernel.work_items + 63) / 64},
                       {"vgprs", kernel.vgprs},
                       {"lds_bytes", kernel.lds_bytes},
                       {"workgroup_ns", kernel.workgroup_ns}});
  }
  json queue = {{"name", spec.model},
                {"kernels", kernels},
                {"launch_gap_ns", std::int64_t(plan.host_gap_ns)}};
  if (spec.rate_per_s > 0) {
    queue["arrival"] = {{"period_ns", std::int64_t(1e9 / spec.rate_per_s)}};
  }
  return queue;
}

bool AddQueue(const ModelSpec& spec, const RunOptions& options, json* queues, std::string* error) {
  TraceModel model;
  if (!LoadWorkload(spec, &model, error)) return false;
  const auto scale = options.scale_ms.find(spec.model);
  std::optional<double> target_ms;
  if (scale != options.scale_ms.end()) target_ms = scale->second;
  ReplayPlan plan;
  DeviceShape shape;
  shape.workgroup_spread = kVirtualGpuSpread;
  if (!MakeReplayPlan(model, shape, target_ms, &plan, error)) return false;
  queues->push_back(QueueOf(spec, plan));
  return true;
}

}  // namespace

int PrintPlan(const RunOptions& options) {
  json queues = json::array();
  std::string error;
  for (const auto* specs : {&options.high, &options.low}) {
    for (const ModelSpec& spec : *specs) {
      if (!AddQueue(spec, options, &queues, &error)) {
        std::fprintf(stderr, "dual-model plan: %s\n", error.c_str());
        return 2;
      }
    }
  }
  const json file = {{"profile", "mi308x"}, {"seconds", options.seconds}, {"queues", queues}};
  std::printf("%s\n", file.dump().c_str());
  return 0;
}

}  // namespace dual_model

#include "replay_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "dual-model/work_kernel_abi.h"

namespace dual_model {
namespace {

constexpr double kHostBoundBelow = 0.9;

struct Target {
  double target_ms;  // 0: whatever the factor gives
  double factor;
  const char* basis;
};

Target DefaultTarget(const TraceModel& model) {
  if (model.name == "resnet50.b1024") {
    return {508, kGpuFactorH100ToMi308x, "508 ms alone, as published for the MI308X"};
  }
  if (model.name == "resnet50.b8") {
    return {6.0, kGpuFactorH100ToMi308x, "6.0 ms alone, as published for the MI308X"};
  }
  if (model.name == "resnet18.b1") {
    return {2.20, 1.843, "2.20 ms alone ASSUMED, never measured"};
  }
  if (model.gpu.find("H100") != std::string::npos) {
    return {0, kGpuFactorH100ToMi308x, "H100 to MI308X factor 3.17 ASSUMED for this model"};
  }
  return {0, 1.0, "durations as traced"};
}

std::uint32_t RoundUp(std::uint32_t value, std::uint32_t step) {
  return (value + step - 1) / step * step;
}

ReplayKernel Resources(const TraceKernel& trace, const DeviceShape& shape) {
  ReplayKernel kernel;
  kernel.workgroups = trace.workgroups;
  kernel.work_items = trace.work_items;
  kernel.vgprs = std::clamp(RoundUp(trace.registers, kVgprStep), kVgprStep, kVgprMax);
  const double lds = double(trace.lds_bytes) * shape.lds_bytes_per_cu / kTraceLdsBytes;
  kernel.lds_bytes = std::min(static_cast<std::uint32_t>(std::ceil(lds)), shape.lds_bytes_per_cu);
  return kernel;
}

// Chooses factor, target and host gap. Durations come later, from the factor.
void ChoosePace(const TraceModel& model, std::optional<double> asked_ms, ReplayPlan* plan) {
  const Target known = DefaultTarget(model);
  const double launches_ms = double(model.kernels.size()) * kLaunchNs / 1e6;
  const double trace_ms = model.KernelSumMs();
  const double gpu_ms = trace_ms * known.factor + launches_ms;
  double target_ms = asked_ms.value_or(known.target_ms);
  if (target_ms == 0) target_ms = std::max(gpu_ms, model.request_ms);
  plan->basis = asked_ms ? "asked for by --scale-ms" : known.basis;
  plan->target_ms = target_ms;
  plan->host_bound = gpu_ms < kHostBoundBelow * target_ms;
  if (plan->host_bound) {
    plan->factor = known.factor;
    const double last_ms = double(model.kernels.back().duration_ns) * known.factor / 1e6;
    const double spare_ms = target_ms - last_ms - kLaunchNs / 1e6;
    plan->host_gap_ns = std::max(0.0, spare_ms * 1e6 / double(model.kernels.size()));
  } else {
    // A target below the launches alone can't be met; the kernels then shrink to next to nothing.
    plan->factor = std::max(target_ms - launches_ms, 0.01 * target_ms) / trace_ms;
  }
  plan->kernel_ms = trace_ms * plan->factor + launches_ms;
}

}  // namespace

std::uint32_t WorkgroupsPerCu(const ReplayKernel& kernel, const DeviceShape& shape) {
  const std::uint32_t waves = (kernel.work_items + 63) / 64;
  const std::uint32_t waves_per_simd =
      std::min(shape.waves_per_simd, shape.vgprs_per_simd / kernel.vgprs);
  std::uint32_t fit = std::min(shape.simds_per_cu * waves_per_simd / waves, kWorkgroupsPerCuMax);
  if (kernel.lds_bytes > 0) fit = std::min(fit, shape.lds_bytes_per_cu / kernel.lds_bytes);
  return fit;
}

double KernelSpan(double fill, double spread) {
  if (fill <= 1) return 1 + spread;
  const double equal = std::ceil(fill);
  if (spread == 0) return equal;
  // Between one and two rounds the second one starts as the first ends, from 1 - v to 1 + v on.
  if (fill <= 2) return 2 + 1.9 * spread * (fill - 1);
  return fill + 0.5 + 0.9 * spread;
}

bool MakeReplayPlan(const TraceModel& model, const DeviceShape& shape,
                    std::optional<double> target_ms, ReplayPlan* plan, std::string* error) {
  *plan = ReplayPlan();
  ChoosePace(model, target_ms, plan);
  for (const TraceKernel& trace : model.kernels) {
    ReplayKernel kernel = Resources(trace, shape);
    const std::uint64_t slots = std::uint64_t{WorkgroupsPerCu(kernel, shape)} * shape.compute_units;
    const std::string where =
        "model " + model.name + ", kernel " + std::to_string(plan->kernels.size()) + ": ";
    if (slots == 0) {
      *error = where + "a workgroup of " + std::to_string(kernel.work_items) + " work-items with " +
               std::to_string(kernel.vgprs) + " registers fits on no compute unit of this GPU";
      return false;
    }
    const std::uint64_t rounds = (kernel.workgroups + slots - 1) / slots;
    const double span =
        KernelSpan(double(kernel.workgroups) / double(slots), shape.workgroup_spread);
    const double slot_ns = double(trace.duration_ns) * plan->factor / span;
    if (slot_ns > std::numeric_limits<std::uint32_t>::max()) {
      *error = where + "a workgroup would run for more than 4.2 s; lower --scale-ms";
      return false;
    }
    kernel.rounds = static_cast<std::uint32_t>(rounds);
    kernel.workgroup_ns = std::max(1u, static_cast<std::uint32_t>(std::lround(slot_ns)));
    plan->workgroups += kernel.workgroups;
    plan->kernels.push_back(kernel);
  }
  return true;
}

}  // namespace dual_model

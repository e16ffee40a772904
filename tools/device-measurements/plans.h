// plans.h: the two kinds of kernels that measurements are made with. Pure.
#pragma once

#include "hsa_device.h"
#include "replay_plan.h"

namespace device_measurements {

inline constexpr std::uint32_t kWorkItems = 256, kWaves = kWorkItems / 64, kVgprs = 64;

// Kernels that hold every wave slot they can, `rounds` workgroups a slot.
inline dual_model::ReplayPlan Filling(const dual_model::HsaDevice& device,
                                      std::uint32_t workgroup_ns, std::uint32_t rounds,
                                      std::size_t kernels) {
  dual_model::ReplayKernel kernel;
  kernel.work_items = kWorkItems;
  kernel.vgprs = kVgprs;
  kernel.workgroup_ns = workgroup_ns;
  kernel.workgroups = std::uint64_t{rounds} * device.shape().compute_units *
                      WorkgroupsPerCu(kernel, device.shape());
  dual_model::ReplayPlan plan;
  plan.kernels.assign(kernels, kernel);
  return plan;
}

// One workgroup a kernel: everything but the launch is small.
inline dual_model::ReplayPlan Tiny(std::uint32_t workgroup_ns, std::size_t kernels) {
  dual_model::ReplayKernel kernel;
  kernel.workgroup_ns = workgroup_ns;
  dual_model::ReplayPlan plan;
  plan.kernels.assign(kernels, kernel);
  return plan;
}

}  // namespace device_measurements

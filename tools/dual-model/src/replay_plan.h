// replay_plan.h: turns a model traced on one GPU into launches on the GPU at hand.
//
// Why        Contention must come out of the device, so a replay keeps the trace's kernel sequence,
//            grids, workgroup sizes, registers, LDS and the proportions of the durations. What it
//            derives is how long one workgroup keeps its slot, so that the model alone takes the
//            time that the target takes alone.
// Duration   D' = trace duration * factor of the model.
// Occupancy  of one compute unit, in workgroups: the least of
//              waves      simds * min(waves_per_simd, vgprs_per_simd / registers) / waves a
//              workgroup
//                         (registers rounded up to 8, at least 8, at most 256; wave = 64
//                         work-items)
//              LDS        lds_bytes_per_cu / lds, where the trace's LDS is scaled by
//                         lds_bytes_per_cu / 228 KiB (the H100's) and cut at lds_bytes_per_cu
//              workgroups 32
// Rounds     ceil(workgroups / (compute units * occupancy)): how often every slot is used.
// Slot time  T = D' / span, where span is how many slot times the kernel takes from its first to its
//            last workgroup: the rounds if all workgroups take equally long. On the virtual GPU they
//            vary by +-25 % (as hardware's do, for reasons of their own), the last ones end late, and
//            the traced duration includes such an end; without that the models alone would take 4 %
//            (batch 1024) to 14 % (batch 8) longer than their targets. KernelSpan has the formula.
// Factor     A launch costs about 1 us on the target (kLaunchNs, a guess in 0.5..5 us).
//   GPU-bound   (target - launches * 1 us) / sum of trace durations; the host launches at once.
//   host-bound  the GPU's share is the model's known factor (below); the host fills the rest of the
//               target: it launches a kernel every (target - last kernel) / launches.
//   A model is host-bound if its known factor leaves its kernels below 0.9 of the target.
// Targets    --scale-ms, else this table for the MI308X:
//     resnet50.b1024  508 ms   published (1.97 it/s beside the requests)          GPU-bound, 3.17
//     resnet50.b8     6.0 ms   published (166 it/s beside the requests)           GPU-bound, 3.16
//     resnet18.b1     2.20 ms  ASSUMED: never measured alone; 2.25 ms is the published median
//     beside
//                              batch 8. Host-bound, a launch every 18.7 us; its kernels' factor
//                              1.843 is that of a contention model, not a measurement either.
//     others          traced on an H100: factor 3.17, and the trace's own request time if that
//     makes
//                     them host-bound; traced elsewhere: factor 1
// Threads    pure functions.
// Errors     false and one line: a workgroup that fits on no compute unit, a slot time beyond u32.
// See        docs of the workloads: ../workloads/README.md; replay_plan_test.cc
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "workload.h"

namespace dual_model {

inline constexpr double kLaunchNs = 1000;
inline constexpr double kGpuFactorH100ToMi308x = 3.17;
inline constexpr std::uint32_t kTraceLdsBytes = 228 * 1024;
inline constexpr std::uint32_t kWorkgroupsPerCuMax = 32;

// What limits occupancy on the agent at hand.
struct DeviceShape {
  std::uint32_t compute_units = 80;
  std::uint32_t simds_per_cu = 4;
  std::uint32_t waves_per_simd = 8;    // 10 on gfx908
  std::uint32_t vgprs_per_simd = 512;  // per lane; 256 on gfx908, whose other half is AGPRs only
  std::uint32_t lds_bytes_per_cu = 64 * 1024;
  double workgroup_spread = 0;  // of workgroup times; kVirtualGpuSpread on the virtual GPU
};
inline constexpr double kVirtualGpuSpread = 0.25;  // DeviceParams::workgroup_spread

struct ReplayKernel {
  std::uint64_t workgroups = 1;
  std::uint32_t work_items = 64;
  std::uint32_t vgprs = 8;  // which xsched_work_v<N>
  std::uint32_t lds_bytes = 0;
  std::uint32_t rounds = 1;
  std::uint32_t workgroup_ns = 0;
};

struct ReplayPlan {
  std::vector<ReplayKernel> kernels;
  std::uint64_t workgroups = 0;  // of one iteration
  bool host_bound = false;
  double host_gap_ns = 0;  // before each launch; device time
  double target_ms = 0;    // of one iteration alone
  double factor = 1;       // trace duration -> D'
  double kernel_ms = 0;    // sum of D' and launches
  std::string basis;       // where the target comes from, for the report
};

// How many workgroups of `kernel` one compute unit holds; 0 if it does not fit.
std::uint32_t WorkgroupsPerCu(const ReplayKernel& kernel, const DeviceShape& shape);

// Slot times from a kernel's first to its last workgroup, `fill` = workgroups / slots. With a
// spread v it is a fit, within 3 % for v = 0.25, to workgroups of 1 +- v (uniform) that take the
// next free slot.
double KernelSpan(double fill, double spread);

// `target_ms`: from --scale-ms.
bool MakeReplayPlan(const TraceModel& model, const DeviceShape& shape,
                    std::optional<double> target_ms, ReplayPlan* plan, std::string* error);

}  // namespace dual_model

#include "priority_probe.h"

#include <hsa/hsa_ext_amd.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "hsa_device.h"
#include "replay_clock.h"
#include "replay_queue.h"

namespace dual_model {
namespace {

constexpr std::int64_t kTimeoutNs = 60'000'000'000;

// Kernels that hold every wave slot, of workgroups short enough that slots are given out all the time.
ReplayPlan FillingKernels(const DeviceShape& shape) {
  constexpr std::uint32_t kWorkItems = 256, kRounds = 8;
  ReplayKernel kernel;
  kernel.work_items = kWorkItems;
  kernel.workgroup_ns = 100'000;
  kernel.workgroups = std::uint64_t{kRounds} * shape.compute_units * WorkgroupsPerCu(kernel, shape);
  ReplayPlan plan;
  plan.kernels.assign(4, kernel);
  return plan;
}

class Contest {
 public:
  Contest(HsaDevice* device, const ReplayClock& clock, double seconds)
      : device_(device), clock_(clock), seconds_(seconds), plan_(FillingKernels(device->shape())) {}

  // The first queue's share of the work done while both ran.
  bool Run(hsa_amd_queue_priority_t first, hsa_amd_queue_priority_t second, double* share,
           std::string* error) {
    Side sides[2];
    const hsa_amd_queue_priority_t priorities[] = {first, second};
    for (int i = 0; i < 2; ++i) {
      sides[i].queue = ReplayQueue::Create(device_, plan_, clock_, 256, kTimeoutNs, error);
      if (sides[i].queue == nullptr) return false;
      const hsa_status_t status =
          hsa_amd_queue_set_priority(sides[i].queue->handle(), priorities[i]);
      if (status != HSA_STATUS_SUCCESS) {
        *error = HsaErrorText("hsa_amd_queue_set_priority", status);
        return false;
      }
    }
    const std::int64_t end_ns = clock_.NowNs() + clock_.MachineNs(seconds_ * 1e9);
    std::thread other([&] { Work(&sides[1], end_ns); });
    Work(&sides[0], end_ns);
    other.join();
    const double done[] = {Done(sides[0]), Done(sides[1])};
    for (const Side& side : sides) {
      if (side.error.empty() && side.queue->Check().Passed()) continue;
      *error = side.error.empty() ? side.queue->Check().Text() : side.error;
      return false;
    }
    *share = done[0] / (done[0] + done[1]);
    return true;
  }

 private:
  struct Side {
    std::unique_ptr<ReplayQueue> queue;
    std::uint64_t iterations = 0;
    double late = 0;  // of the last iteration: the part after the end
    std::string error;
  };

  void Work(Side* side, std::int64_t end_ns) const {
    while (clock_.NowNs() < end_ns) {
      const std::int64_t began_ns = clock_.NowNs();
      if (!side->queue->RunIteration(&side->error)) return;
      ++side->iterations;
      const std::int64_t now_ns = clock_.NowNs();
      if (now_ns > end_ns) side->late = double(now_ns - end_ns) / double(now_ns - began_ns);
    }
  }
  static double Done(const Side& side) { return double(side.iterations) - side.late; }

  HsaDevice* device_;
  const ReplayClock& clock_;
  double seconds_;
  ReplayPlan plan_;
};

int Fail(const std::string& error, int code) {
  std::fprintf(stderr, "dual-model probe-priority: %s\n", error.c_str());
  return code;
}

}  // namespace

bool MeasurePriority(HsaDevice* device, const ReplayClock& clock, double seconds,
                     PriorityShares* shares, std::string* error) {
  Contest contest(device, clock, seconds);
  return contest.Run(HSA_AMD_QUEUE_PRIORITY_NORMAL, HSA_AMD_QUEUE_PRIORITY_NORMAL, &shares->alike,
                     error) &&
         contest.Run(HSA_AMD_QUEUE_PRIORITY_HIGH, HSA_AMD_QUEUE_PRIORITY_LOW, &shares->preferred,
                     error);
}

int ProbePriority(const PriorityProbeOptions& options) {
  std::string error;
  ReplayClock clock(1);
  if (!ReplayClock::FromEnvironment(&clock, &error)) return Fail(error, 2);
  std::unique_ptr<HsaDevice> device;
  const HsaStatus opened = HsaDevice::Open(options.gpu, &device, &error);
  if (opened != HsaStatus::kOk) return Fail(error, opened == HsaStatus::kNoDevice ? 2 : 1);
  if (device->LoadKernels(&error) != HsaStatus::kOk) return Fail(error, 1);
  PriorityShares shares;
  if (!MeasurePriority(device.get(), clock, options.seconds, &shares, &error))
    return Fail(error, 1);
  const nlohmann::json result = {{"simulated", OnVirtualGpu()},
                                 {"device", device->name()},
                                 {"share_alike", shares.alike},
                                 {"share_preferred", shares.preferred},
                                 {"effective", shares.effective()}};
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace dual_model

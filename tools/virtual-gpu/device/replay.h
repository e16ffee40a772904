// replay.h: kernel sequences on the device model with a virtual clock: no ROCr, no waiting.
//
// Why        Calibration and parameter studies: the device and its contention, without host costs.
// Input      JSON: {"profile": "mi308x", "params": {name: number of DeviceParams ...},
//            "seconds": N,
//            "queues": [{"name", "process", "priority": 0..15, "cu_mask": ["0xffffffff", ...],
//              "kernels": [{"workgroups", "waves", "vgprs", "lds_bytes", "workgroup_ns"}, ...],
//              "repeat": 0 (no end) or N, "arrival": "closed" or {"period_ns": N},
//              "launch_gap_ns": N, "start_ns": N}],
//            "stretches": 1, or how many (below)}
// Arrival    closed: the next repeat starts when the last one completed. period_ns: the next one is
//            due that long after the last one *started*, and starts late when that one took longer.
//            Kernel k of a repeat becomes visible k * launch_gap_ns after the repeat's start.
// Stretches  N: the time is cut into N parts, each simulated from an idle device with random numbers
//            and phases of its own, on as many threads as there are processors. Every part is exact;
//            the answer depends on N, not on the machine, and is another sample than N = 1 gives.
// Output     per queue the latency of each repeat (start to the last packet's completion) and
//            repeats per second, as JSON; the same on every machine.
// Errors     std::runtime_error with one line for input that is not understood.
// See        replay_main.cc (virtual-gpu-replay), golden_test.cc, stretches_test.cc
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "device.h"

namespace virtual_gpu {

struct ReplayQueue {
  std::string name;
  QueueConfig config;
  std::vector<std::uint32_t> cu_mask;  // empty: all
  std::vector<KernelCost> kernels;
  std::uint64_t repeat = 0;         // 0: until the end
  std::optional<TimeNs> period_ns;  // none: closed loop
  TimeNs launch_gap_ns = 0;
  TimeNs start_ns = 0;
};

struct ReplayInput {
  DeviceParams params;
  std::vector<ReplayQueue> queues;
  TimeNs duration_ns = 1'000'000'000;
  std::uint32_t stretches = 1;          // for ReplayInStretches
  TimeNs step_ns = kNever;              // the device is advanced by at most this at once
  std::function<void(TimeNs)> on_step;  // after each, with the simulated time since the start
};

struct ReplayQueueResult {
  std::string name;
  std::vector<TimeNs> latencies_ns;  // in order
  double repeats_per_s = 0;          // whole and part of the last one
  QueueStats stats;
};

struct ReplayResult {
  std::vector<ReplayQueueResult> queues;
  DeviceStats device;
  TimeNs duration_ns = 0;
  std::uint32_t stretches = 1;
};

// The value below which `percent` of the latencies lie; 0 when there are none.
TimeNs Percentile(std::vector<TimeNs> latencies, double percent);

ReplayInput ParseReplay(const nlohmann::json& json);
ReplayResult Replay(const ReplayInput& input);
// on_step is not for more than one stretch: they have no common time.
ReplayResult ReplayInStretches(const ReplayInput& input, unsigned threads);
nlohmann::json ToJson(const ReplayResult& result);

}  // namespace virtual_gpu

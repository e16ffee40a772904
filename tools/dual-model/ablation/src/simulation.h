// simulation.h: one run: a program with requests, batch programs, a device, and what schedules them.
//
// Why        See docs/ablation.md: decision code real, device and time simulated, host costs
//            assumed.
// Result     counts begin after the warm-up, in which the layer learns. Exactly once and in order is
//            checked over the whole run, which ends only when everything submitted has completed.
// Errors     what is impossible throws std::runtime_error with one line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mechanisms.h"
#include "program.h"

namespace ablation {

// A batch program: its iteration, and its weight under a policy that goes by weights.
struct LowSetup {
  dual_model::ReplayPlan plan;
  std::uint32_t weight = 100;
};

struct RunSetup {
  std::optional<dual_model::ReplayPlan> high;
  std::vector<LowSetup> lows;  // each a process of its own, on the same device
  double rate_per_s = 20;
  double jitter = 0;  // of the time between two requests, uniform, +- this share
  Mechanisms mechanisms;
  virtual_gpu::DeviceParams device;
  HostParams host;
  double seconds = 20, warm_up_s = 3;
  std::uint64_t seed = 1;
};

// A Decision of the shared page, copied.
struct DecisionRecord {
  std::uint64_t number, at_us;
  std::uint32_t mechanism, reason, units_left, error;
  std::uint64_t rest_ns, cycle_ns, request_ns, delay_ns, cost_ns, took_ns, measured_ns;
};

struct LayerCounts {
  std::uint64_t holds = 0, packets_held = 0, squeezes = 0, suspends = 0;
  double held_ms = 0, restricted_ms = 0;
  std::vector<DecisionRecord> decisions;
  std::uint64_t cycle_ns = 0, request_ns = 0, slack_ns = 0;  // as learnt, at the end
  double co_run = 0;
  std::vector<double> sharing;  // of a queue left 1/8 .. 7/8 of the device
};

struct LowResult {
  double per_s = 0;
  double starved_ms = 0;  // packets written, and the device had none of them
  double device_ms = 0;   // as its layer counts it; 0 where no policy asks for it
  LayerCounts layer;
};

struct RunResult {
  std::vector<Sample> requests;  // those that began after the warm-up
  std::vector<LowResult> lows;
  std::uint64_t driver_calls = 0, runlist_cycles = 0, device_events = 0;
  std::uint64_t packets = 0, workgroups = 0;
  std::vector<std::string> faults;  // of exactly once and in order; empty in a sound run
};

RunResult Simulate(const RunSetup& setup);

}  // namespace ablation

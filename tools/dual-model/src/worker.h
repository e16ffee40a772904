// worker.h: one process of the experiment: replays one model, paced (high) or back to back (low).
//
// Why        The published experiment is two ordinary programs on one GPU. A worker is such a
//            program: it knows nothing of xsched-hsa, and what runs it decides what is loaded into
//            it.
// Requests   closed loop, as published: the next request is due 1/rate after the last one started;
//            its latency runs from its start to its synchronised end. --open-loop: arrivals are
//            fixed at origin + i/rate, and latency runs from the arrival. Low: back to back,
//            synchronised each iteration, until told to stop; only iterations that ended by then
//            count.
// Units      results are in device milliseconds (replay_clock.h) since the common origin.
// End        after the given time, when told by the run's parent, or on SIGTERM: in order each time.
// Errors     exit code 2 for bad input or a missing device, 1 for anything else, with one line.
// See        control_channel.h for the conversation with `dual-model run`
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "workload.h"

namespace dual_model {

struct WorkerOptions {
  ModelSpec spec;
  double seconds = 10;   // device time, from the origin
  double warm_up_s = 0;  // device time before it, in which all run and nothing counts
  bool open_loop = false;
  std::optional<double> target_ms;  // --scale-ms
  std::uint32_t gpu = 0;
  std::uint32_t ring_packets = 4096;
  std::uint32_t timeout_s = 120;  // machine time, for one inference
  int control_fd = -1;            // -1: start at once, stop after `seconds`
  std::string result_path;        // empty: standard output
};

int RunWorker(const WorkerOptions& options);

}  // namespace dual_model

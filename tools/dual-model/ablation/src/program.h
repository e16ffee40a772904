// program.h: the host side of one simulated process: requests at a rate, or iterations back to
// back.
//
// Why        As dual-model's worker does it, without a runtime: it reserves a slot, writes a
//            packet, rings, and waits for the last packet's completion signal.
// Requests   closed loop: the next is due 1/rate after the last one started; a host-bound model
//            launches at fixed times after the start. Back to back: the next iteration begins when
//            the host has seen the end of the last one.
// Threads    as World.
// See        tools/dual-model/src/worker.cc, replay_queue.cc
#pragma once

#include <vector>

#include "replay_plan.h"
#include "ring.h"
#include "sim_layer.h"

namespace ablation {

struct Sample {
  TimeNs start_ns, took_ns;
};

class Program {
 public:
  // `rate_per_s`: 0 for back to back. `jitter`: of the time between requests, +- this share.
  Program(World* world, const dual_model::ReplayPlan& plan, double rate_per_s, double jitter,
          std::uint64_t serial);

  Ring* ring() { return &ring_; }
  // Its packets go through this one from now on; without, straight to the ring.
  void Use(SimLayer* layer) { layer_ = layer; }
  void Start(TimeNs at);
  // Begins nothing new; what runs goes on to its end.
  void Stop() { stopping_ = true; }
  bool idle() const { return !running_; }

  const std::vector<Sample>& samples() const { return samples_; }
  // Iterations so far, with the completed part of the running one.
  double Progress() const;

 private:
  void Begin();
  void Launch(std::size_t kernel);
  void Ended();

  World* world_;
  const double rate_per_s_, jitter_;
  TimeNs host_gap_ns_;  // 0: launches as fast as it can
  SimLayer* layer_ = nullptr;
  std::vector<Work> work_;
  std::vector<double> work_ns_;  // up to and with each kernel, alone
  Ring ring_;
  std::uint64_t index_ = 0;
  TimeNs started_ns_ = 0;
  bool running_ = false, stopping_ = false;
  std::vector<Sample> samples_;
};

}  // namespace ablation

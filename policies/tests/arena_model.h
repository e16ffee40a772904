// arena_model.h: one GPU with programs that want it, in virtual time, for tests of policies.
//
// Why        A policy is judged by what programs get, over many decisions. The model is as simple as
//            that allows: those that may run share the device equally; it has no kernels and no
//            delays. It asks the policy when the controller would.
// Threads    one.
// Units      microseconds; a step is kStepUs.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "policies/registry.h"

namespace xsched_hsa::testing {

struct Program {
  QueueView view;  // class and priority; the rest is the model's
  // How much work comes at `now_us`, in microseconds of device time. Empty: always has work.
  std::function<std::uint64_t(std::uint64_t now_us)> arrivals;

  std::uint64_t work_us = 0;                // waiting
  std::uint64_t used_us = 0;                // time on the device, as the layer measures
  double received_us = 0;                   // of the device, side by side divided
  std::uint64_t waited_max_us = 0;          // longest time with work and without the device
  std::vector<std::uint64_t> latencies_us;  // from idle to idle
  std::uint64_t missed = 0;                 // of bursts with view.deadline_us as relative deadline
  std::uint64_t relative_deadline_us = 0;
  std::uint64_t waiting_since_us = 0;
  std::uint64_t waits_us = 0;  // without the device since
};

class ArenaModel {
 public:
  static constexpr std::uint64_t kStepUs = 50;

  explicit ArenaModel(std::unique_ptr<Policy> policy) : policy_(std::move(policy)) {}

  // Each program has one queue and is a session of its own.
  Program& Add(Program program);
  void Run(std::uint64_t for_us);
  void SwitchTo(std::unique_ptr<Policy> policy);

  const Program& program(std::size_t i) const { return *programs_[i]; }
  const Answer& answer() const { return answer_; }
  std::uint64_t decisions() const { return decisions_; }
  std::uint64_t now_us() const { return now_us_; }
  // Of what all have received.
  double Share(std::size_t i) const;

 private:
  void Step();
  void Arrive(Program* program);
  void Decide();
  bool MayRun(std::size_t i) const;

  std::unique_ptr<Policy> policy_;
  std::vector<std::unique_ptr<Program>> programs_;
  std::vector<bool> running_;
  Answer answer_;
  std::uint64_t now_us_ = 1'000'000, asked_us_ = 0, decisions_ = 0;
  std::uint32_t level_ = 0;
  bool ask_ = true;
};

}  // namespace xsched_hsa::testing

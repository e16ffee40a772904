// turns.h: programs of one priority take the GPU in turns; whose turn it is, a policy chooses.
//
// Why        Fair shares need each program to have the device for itself for a while: side by side, a
//            program with large kernels takes more than one with small ones, whoever pays.
// Threads    pure functions.
// Units      a turn is slice_us of *device* time, as its layer measures it; time in which a more
//            urgent queue keeps the turn's holder waiting is not charged.
// Limits     turns change at packet boundaries: the next program waits until the last one's exposed
//            kernels are through, at most turn_tail_us.
// See        weighted_fair.cc, round_robin.cc, deadlines.cc; policies/tests/turns_test.cc
#pragma once

#include <vector>

#include "levels.h"
#include "policies/registry.h"

namespace xsched_hsa {

// A program at one priority on this GPU.
struct Contender {
  std::size_t first = 0, last = 0;  // its queues lie in here ...
  int priority = 0;                 // ... those with this priority
  bool active = false, exposed = false;
  std::uint32_t weight = 100;
  std::uint64_t used_us = 0;                        // since the last answer
  std::uint64_t deadline_us = 0;                    // the earliest; 0: none
  std::uint64_t request_us = 0, burst_used_us = 0;  // of the queue with that deadline
  std::int64_t turn_began_us = 0, turn_used_us = 0, last_turn_us = 0;
  std::int64_t virtual_us = 0;  // weighted-fair's
};

class TurnOrder {
 public:
  virtual ~TurnOrder() = default;
  // Called once a decision with those of one priority, before anything is compared.
  virtual void Prepare(const Snapshot&, std::span<Contender*>) const {}
  // Should `a` rather have a turn than `b`?
  virtual bool IsBefore(const Snapshot& snapshot, const Contender& a, const Contender& b) const = 0;
  // May `waiting` end the unfinished turn of `holder`?
  virtual bool Interrupts(const Snapshot&, const Contender& /*waiting*/,
                          const Contender& /*holder*/) const {
    return false;
  }
};

// After PrepareLevels: holds those whose turn it is not. Writes back the contenders' memory.
void TakeTurns(const Snapshot& snapshot, const PolicyParams& params, const TurnOrder& order,
               Answer* answer);

// A policy that is nothing but an order of turns.
template <class Order>
class TurnPolicy final : public Policy {
 public:
  template <class... Arguments>
  TurnPolicy(std::string_view name, const PolicyParams& params, Arguments... arguments)
      : name_(name), params_(params), order_(arguments...) {}
  std::string_view Name() const override { return name_; }
  void Decide(const Snapshot& snapshot, Answer* answer) const override {
    PrepareLevels(snapshot, params_, answer);
    TakeTurns(snapshot, params_, order_, answer);
    AgeHeld(snapshot, params_, answer);
    ApplyCaps(snapshot, params_, answer);
  }

 private:
  const std::string_view name_;  // a literal
  const PolicyParams params_;
  const Order order_;
};

}  // namespace xsched_hsa

// mechanisms.h: the configurations that the ablation compares, by name.
//
//   native             no layer
//   priority           no layer; hardware queue priorities 0 and 15 from the start
//   reserve:N          no layer; the low queue is masked off N compute units from the start
//   hold               the layer, which only holds packets
//   squeeze[:N]        and narrows the low queue at every request (to N compute units; else its
//                      own choice), whatever that costs
//   suspend            and takes it off the hardware at every request that finds it there
//   plan               what ships: hold, squeeze or suspend, as the plan chooses; queue priorities
// "+priority" behind hold, squeeze and suspend sets the hardware queues' priorities, too.
// Errors     false and one line.
#pragma once

#include <cstdint>
#include <string>

#include "policies/registry.h"

namespace ablation {

struct Mechanisms {
  std::string name;
  bool layer = false;
  bool hold_is_enough = true;                         // false: preempt at every request
  std::uint32_t low_priority = 7, high_priority = 7;  // KFD's, at creation
  std::uint32_t reserved_units = 0;
  xsched_hsa::PolicyParams policy;
  std::string policy_name = "strict-priority";
  // What the policies `latency-target` and `cu-partition` go by; 0: nothing.
  std::uint64_t latency_target_us = 0;
  std::uint32_t high_share_permille = 0;
};

bool ParseMechanisms(const std::string& text, Mechanisms* mechanisms, std::string* error);

}  // namespace ablation

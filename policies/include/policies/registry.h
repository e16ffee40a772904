// registry.h: the policies there are, by name.
//
// Why        One place to add a policy: a line in registry.cc. Flags, help texts and error messages
//            follow from it.
// Threads    pure functions.
// Errors     MakePolicy returns nullptr for an unknown name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"

namespace xsched_hsa {

// Parameters that every policy may read; each documents which it does.
struct PolicyParams {
  std::uint32_t window_us = 200;  // armed: predicted device time that stays exposed
  std::uint32_t linger_us = 250;  // raise: idle time before a queue counts as done
  bool hardware_priority = true;  // hardware queue priorities follow ours where queues compete
  Preemption preemption{.squeeze = true, .suspend = true, .share = true};
};

struct PolicyInfo {
  std::string_view name;
  std::string_view summary;
};

std::vector<PolicyInfo> ListPolicies();
std::unique_ptr<Policy> MakePolicy(std::string_view name, const PolicyParams& params);
// "strict-priority, other": for help and error texts.
std::string PolicyNames();

}  // namespace xsched_hsa

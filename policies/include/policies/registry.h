// registry.h: the policies there are, by name, and their parameters.
//
// Why        One place to add a policy: a line in registry.cc. Flags, configuration keys, help texts
//            and error messages follow from it.
// Threads    pure functions.
// Errors     MakePolicy returns nullptr for an unknown name; SetParam a text.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"

namespace xsched_hsa {

// What policies may be told. Each policy's list (PolicyInfo) says which of these it reads.
struct PolicyParams {
  std::uint32_t window_us = 200;                 // armed: predicted device time that stays exposed
  std::uint32_t linger_us = 250;                 // raise: idle time before a queue counts as done
  std::uint32_t hold_max_us = 500'000;           // a queue with work waits at most so long ...
  std::uint32_t guaranteed_share_permille = 50;  // ... and gets so much of the time then
  std::uint32_t slice_us = 10'000;               // device time of a turn
  std::uint32_t turn_tail_us = 50'000;    // a turn waits at most so long for the last one's kernels
  std::uint32_t concurrent = 1;           // turns at a time
  std::uint32_t cap_period_us = 100'000;  // caps hold over so long
  std::uint32_t latency_samples_min = 100;  // requests that a percentile needs
  bool hardware_priority = true;  // hardware queue priorities follow ours where queues compete
  Preemption preemption{.squeeze = true, .suspend = true, .share = true};
};

// As a user writes it: in the units that the name ends with.
struct ParamInfo {
  std::string_view name;
  double minimum, maximum;
  std::string_view summary;
  std::uint32_t PolicyParams::*member;
  double unit;  // of the member, in those of the name: 1000 for a member in us under a name in ms
};

struct PolicyInfo {
  std::string_view name;
  std::string_view summary;
  std::vector<std::string_view> params;
  std::unique_ptr<Policy> (*make)(const PolicyParams&);
};

std::span<const ParamInfo> ListParams();
// Empty: done. Otherwise what is wrong with the name or the value. `policy`: whose parameter it must
// be; empty: anybody's.
std::string SetParam(PolicyParams* params, std::string_view policy, std::string_view name,
                     double value);
double GetParam(const PolicyParams& params, const ParamInfo& info);

std::span<const PolicyInfo> ListPolicies();
const PolicyInfo* FindPolicy(std::string_view name);
std::unique_ptr<Policy> MakePolicy(std::string_view name, const PolicyParams& params);
// "strict-priority, other": for help and error texts.
std::string PolicyNames();

}  // namespace xsched_hsa

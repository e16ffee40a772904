#include "policies/registry.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "policies_list.h"

namespace xsched_hsa {
namespace {

// A policy is one entry here: name, summary, the parameters it reads, its maker.
const std::vector<PolicyInfo> kInfos = {
    {"strict-priority",
     "while a more urgent queue has work, less urgent queues are held",
     {"window_us", "linger_us", "hold_max_ms", "guaranteed_share_percent", "cap_period_ms"},
     &MakeStrictPriority},
    {"weighted-fair",
     "programs of one priority share the device time by weight",
     {"window_us", "linger_us", "slice_ms", "turn_tail_ms", "hold_max_ms",
      "guaranteed_share_percent", "cap_period_ms"},
     &MakeWeightedFair},
    {"round-robin",
     "programs of one priority take equal turns",
     {"window_us", "linger_us", "slice_ms", "turn_tail_ms", "hold_max_ms",
      "guaranteed_share_percent", "cap_period_ms"},
     &MakeRoundRobin},
    {"earliest-deadline",
     "among programs of one priority the earliest deadline goes first",
     {"window_us", "linger_us", "slice_ms", "turn_tail_ms", "concurrent", "hold_max_ms",
      "guaranteed_share_percent", "cap_period_ms"},
     &MakeEarliestDeadline},
    {"least-laxity",
     "among programs of one priority the request with the least time to lose goes first",
     {"window_us", "linger_us", "slice_ms", "turn_tail_ms", "concurrent", "hold_max_ms",
      "guaranteed_share_percent", "cap_period_ms"},
     &MakeLeastLaxity},
    {"latency-target",
     "keeps the P99 of urgent programs at their target at the least cost to the others",
     {"window_us", "linger_us", "latency_samples_min", "hold_max_ms", "guaranteed_share_percent",
      "cap_period_ms"},
     &MakeLatencyTarget},
    {"utilisation-cap",
     "everybody runs freely up to their cap",
     {"window_us", "linger_us", "cap_period_ms"},
     &MakeUtilisationCap},
    {"cu-partition",
     "each program has compute units of its own",
     {"window_us", "linger_us", "cap_period_ms"},
     &MakeCuPartition},
};

const ParamInfo kParams[] = {
    {"window_us", 1, 1'000'000, "predicted device time that an armed queue may have exposed",
     &PolicyParams::window_us, 1},
    {"linger_us", 1, 1'000'000, "idle time after which a queue counts as done",
     &PolicyParams::linger_us, 1},
    {"hold_max_ms", 1, 3'600'000, "how long a queue with work waits behind urgent work at most",
     &PolicyParams::hold_max_us, 1000},
    {"guaranteed_share_percent", 0, 90,
     "share of the time that such a queue then has beside the urgent work; 0: none, ever",
     &PolicyParams::guaranteed_share_permille, 10},
    {"slice_ms", 0.5, 60'000, "device time of a turn", &PolicyParams::slice_us, 1000},
    {"turn_tail_ms", 0, 60'000, "how long a turn waits for the kernels of the one before to end",
     &PolicyParams::turn_tail_us, 1000},
    {"concurrent", 1, 64, "how many programs have a turn at a time", &PolicyParams::concurrent, 1},
    {"cap_period_ms", 1, 60'000, "over how long caps are kept", &PolicyParams::cap_period_us, 1000},
    {"latency_samples_min", 1, 100'000, "requests between two looks at a percentile",
     &PolicyParams::latency_samples_min, 1},
};

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

template <typename List>
std::string NamesOf(const List& list) {
  std::string names;
  for (const auto& entry : list) {
    if (!names.empty()) names += ", ";
    names += entry;
  }
  return names;
}

}  // namespace

std::span<const ParamInfo> ListParams() { return kParams; }

std::span<const PolicyInfo> ListPolicies() { return kInfos; }

const PolicyInfo* FindPolicy(std::string_view name) {
  const auto it = std::find_if(kInfos.begin(), kInfos.end(),
                               [name](const PolicyInfo& info) { return info.name == name; });
  return it != kInfos.end() ? &*it : nullptr;
}

std::string SetParam(PolicyParams* params, std::string_view policy, std::string_view name,
                     double value) {
  const auto it = std::find_if(std::begin(kParams), std::end(kParams),
                               [name](const ParamInfo& info) { return info.name == name; });
  const PolicyInfo* owner = FindPolicy(policy);
  const bool is_its = owner == nullptr || std::find(owner->params.begin(), owner->params.end(),
                                                    name) != owner->params.end();
  if (it == std::end(kParams) || !is_its) {
    std::string text =
        "policy " + std::string(policy) + " has no parameter '" + std::string(name) + "'";
    if (owner != nullptr) text += "; it has: " + NamesOf(owner->params);
    return text;
  }
  if (!std::isfinite(value) || value < it->minimum || value > it->maximum) {
    return std::string(name) + " is " + Number(value) + ", must be " + Number(it->minimum) +
           " to " + Number(it->maximum);
  }
  if (it->unit == 1 && value != std::floor(value)) {
    return std::string(name) + " is " + Number(value) + ", must be a whole number";
  }
  params->*(it->member) = static_cast<std::uint32_t>(std::llround(value * it->unit));
  return {};
}

double GetParam(const PolicyParams& params, const ParamInfo& info) {
  return static_cast<double>(params.*(info.member)) / info.unit;
}

std::unique_ptr<Policy> MakePolicy(std::string_view name, const PolicyParams& params) {
  if (const PolicyInfo* info = FindPolicy(name)) return info->make(params);
  return nullptr;
}

std::string PolicyNames() {
  std::string names;
  for (const PolicyInfo& info : kInfos) {
    if (!names.empty()) names += ", ";
    names += info.name;
  }
  return names;
}

}  // namespace xsched_hsa

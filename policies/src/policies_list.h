// policies_list.h: the makers of all policies; each policy's essay is in its own file.
#pragma once

#include <memory>

#include "policies/policy.h"
#include "policies/registry.h"

namespace xsched_hsa {

std::unique_ptr<Policy> MakeStrictPriority(const PolicyParams& params);
std::unique_ptr<Policy> MakeWeightedFair(const PolicyParams& params);
std::unique_ptr<Policy> MakeRoundRobin(const PolicyParams& params);
std::unique_ptr<Policy> MakeEarliestDeadline(const PolicyParams& params);
std::unique_ptr<Policy> MakeLeastLaxity(const PolicyParams& params);
std::unique_ptr<Policy> MakeLatencyTarget(const PolicyParams& params);
std::unique_ptr<Policy> MakeUtilisationCap(const PolicyParams& params);
std::unique_ptr<Policy> MakeCuPartition(const PolicyParams& params);

}  // namespace xsched_hsa

// strict_priority.h: makes the strict-priority policy; the essay is in strict_priority.cc.
#pragma once

#include <memory>

#include "policies/policy.h"
#include "policies/registry.h"

namespace xsched_hsa {

std::unique_ptr<Policy> MakeStrictPriority(const PolicyParams& params);

}  // namespace xsched_hsa

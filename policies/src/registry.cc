#include "policies/registry.h"

#include "strict_priority.h"

namespace xsched_hsa {
namespace {

struct Entry {
  PolicyInfo info;
  std::unique_ptr<Policy> (*make)(const PolicyParams&);
};

const Entry kEntries[] = {
    {{"strict-priority", "while a more urgent queue has work, less urgent queues are held"},
     &MakeStrictPriority},
};

}  // namespace

std::vector<PolicyInfo> ListPolicies() {
  std::vector<PolicyInfo> infos;
  for (const Entry& entry : kEntries) infos.push_back(entry.info);
  return infos;
}

std::unique_ptr<Policy> MakePolicy(std::string_view name, const PolicyParams& params) {
  for (const Entry& entry : kEntries) {
    if (entry.info.name == name) return entry.make(params);
  }
  return nullptr;
}

std::string PolicyNames() {
  std::string names;
  for (const Entry& entry : kEntries) {
    if (!names.empty()) names += ", ";
    names += entry.info.name;
  }
  return names;
}

}  // namespace xsched_hsa

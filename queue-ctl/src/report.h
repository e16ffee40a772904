// report.h: the controller's state as JSON for tools; client.h has the schema.
//
// Threads    the controller's thread.
// Limits     only what the caller may see: others' sessions are shown to the administrator only.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "configuration.h"
#include "core.h"
#include "devices.h"

namespace xsched_hsa {

struct ControllerInfo {
  std::int32_t pid = 0;
  std::string socket;
  const Configuration* configuration = nullptr;  // says whether users compete
  bool is_private = false;
  std::uint64_t started_us = 0;
};

struct ListFilter {
  bool all = false;        // ended sessions, too
  std::string run_token;   // empty: any
  bool decisions = false;  // with what each layer recorded of its preemptions
};

bool IsListed(const Session& session, const Caller& caller, const ListFilter& filter);

nlohmann::json ReportController(const Core& core, const ControllerInfo& info);
// `stale`: sessions whose layers did not refresh their mirrors in time.
nlohmann::json ReportList(const Core& core, const ControllerInfo& info, const Caller& caller,
                          const ListFilter& filter, const std::set<std::uint32_t>& stale);
nlohmann::json ReportPolicies(const Core& core);
nlohmann::json ReportDevices(const Core& core, const std::vector<Device>& devices);
nlohmann::json ReportConfig(const Config& config);
nlohmann::json ReportStats(const Core& core, const ControllerInfo& info, const Caller& caller);

}  // namespace xsched_hsa

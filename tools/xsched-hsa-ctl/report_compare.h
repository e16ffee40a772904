// report_compare.h: `xsched-hsa-ctl report compare A B`: two results of tools/demo side by side.
//
// Why        One result says little by itself: what did a change, another machine or another device do?
// Threads    one; asks no controller.
// Units      milliseconds and rates as in result.json; which are simulated and which real is said for
//            each side, and loudly where the two are not of one kind.
// Errors     kExitBadInput with one line: no such file, not a result. A run that failed or is only in
//            one of them is a gap in the table, not an error.
// See        tools/dual-model/experiment (what writes result.json), docs/tool.md
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace xsched_hsa {

// {"a","b": {"path","simulated"}, "same_kind", "rows", "verdicts", "differs"}; docs/tool.md has the
// fields. Throws nlohmann::json::exception where a field has another type than a result's.
nlohmann::json CompareResults(const nlohmann::json& a, const nlohmann::json& b);

// `a`, `b`: folders that tools/demo wrote, or their result.json.
int ReportCompare(const std::string& a, const std::string& b, bool as_json);

}  // namespace xsched_hsa

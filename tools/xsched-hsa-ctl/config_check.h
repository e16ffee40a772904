// config_check.h: `xsched-hsa-ctl config check`: xsched-hsad reads the configuration and says.
//
// Why        Only the controller's own reader knows what it will accept.
// Errors     its exit code: 0 good, kExitBadInput with its lines on stderr. As JSON: good, and says, its lines,
//            on stdout in either case.
#pragma once

#include <string>

namespace xsched_hsa {

// An empty file: the one xsched-hsad would take.
int ConfigCheck(const std::string& file, bool as_json);

}  // namespace xsched_hsa

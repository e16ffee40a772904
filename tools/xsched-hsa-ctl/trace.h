// trace.h: `xsched-hsa-ctl trace`: a recording by the controller, written here as the user who asks.
//
// Why        The controller may be root: it opens no file that somebody names.
// Errors     as commands.h; a file that can't be written leaves the recording with the controller.
#pragma once

#include <string>

namespace xsched_hsa {

int TraceStart(const std::string& socket, bool as_json);
int TraceStop(const std::string& socket, const std::string& file, bool as_json);
int TraceStatus(const std::string& socket, bool as_json);

}  // namespace xsched_hsa

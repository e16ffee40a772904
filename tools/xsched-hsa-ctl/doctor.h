// doctor.h: `xsched-hsa-ctl doctor`: what is there and works, one line each.
//
// Why        A scheduler that is silently not there looks like one that does not help.
// Errors     0 when nothing FAILs, else kExitFailed. A check never fails the next one.
// See        checks.h for the single checks; the virtual GPU serves the same files, so they work
// there.
#pragma once

#include <string>

namespace xsched_hsa {

// `probe`: also what takes a second of the GPU.
int Doctor(const std::string& socket, bool as_json, bool probe);

}  // namespace xsched_hsa

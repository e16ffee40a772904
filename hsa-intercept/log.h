// log.h: one line to stderr, with the program's pid and name, and no more than needed.
//
// Threads    any; a line is one write(2), which never waits. Never from the packet path unless something is wrong.
// Errors     none: a line that stderr does not take at once (a pipe that nobody reads) is lost, and no SIGPIPE comes of it.
// Limits     lines are cut at 400 characters.
#pragma once

#include "config.h"

namespace xsched_hsa {

void SetLogLevel(LogLevel level);
void Log(LogLevel level, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace xsched_hsa

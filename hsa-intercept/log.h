// log.h: one line to stderr, with the program's pid, and no more than needed.
//
// Threads    any; a line is one write(2). Never from the packet path unless something is wrong.
// Limits     lines are cut at 400 characters.
#pragma once

#include "config.h"

namespace xsched_hsa {

void SetLogLevel(LogLevel level);
void Log(LogLevel level, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace xsched_hsa

// report.h: what the device process says on stderr: one line each, never twice the same, at most 4096 such.
//
// Threads    any.
#pragma once

#include <string>

namespace virtual_gpu {

// "virtual-gpud: ..." and a newline.
void Report(const char* format, ...) __attribute__((format(printf, 1, 2)));
// The line goes out the first time `key` is seen.
void ReportOnce(const std::string& key, const std::string& line);
// --strict: what is not modelled, or a fault, ends the device process.
[[noreturn]] void StrictAbort();

}  // namespace virtual_gpu

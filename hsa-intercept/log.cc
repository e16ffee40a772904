#include "log.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>

#include "queue-ctl/stderr_line.h"

namespace xsched_hsa {
namespace {
std::atomic<int> g_level{static_cast<int>(LogLevel::kWarn)};
constexpr const char* kNames[] = {"", "error", "warning", "info", "debug"};
}  // namespace

void SetLogLevel(LogLevel level) {
  g_level.store(static_cast<int>(level), std::memory_order_relaxed);
}

void Log(LogLevel level, const char* format, ...) {
  if (static_cast<int>(level) > g_level.load(std::memory_order_relaxed)) return;
  char line[400];
  // In a container the pid is that namespace's; the name helps whoever reads many programs' lines.
  int used = std::snprintf(line, sizeof(line), "xsched-hsa[%d %.32s]: %s: ", getpid(),
                           program_invocation_short_name, kNames[static_cast<int>(level)]);
  va_list arguments;
  va_start(arguments, format);
  const int more = std::vsnprintf(line + used, sizeof(line) - static_cast<std::size_t>(used) - 1,
                                  format, arguments);
  va_end(arguments);
  if (more > 0) used += more;
  if (used > static_cast<int>(sizeof(line)) - 2) used = static_cast<int>(sizeof(line)) - 2;
  line[used++] = '\n';
  const int error = errno;
  // Nobody may wait for a reader of the program's stderr, least of all with a mutex held.
  WriteStderrLine(line, static_cast<std::size_t>(used));
  errno = error;
}

}  // namespace xsched_hsa

#include "report.h"

#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>

namespace virtual_gpu {
namespace {

// Names of files are the programs' to make up: what has been told is not remembered without end.
constexpr std::size_t kKeysMax = 4096;

}  // namespace

void Report(const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  const std::string line = std::string("virtual-gpud: ") + text + "\n";
  const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  (void)written;
}

void ReportOnce(const std::string& key, const std::string& line) {
  static std::mutex mutex;
  static std::set<std::string> seen;
  bool last;
  {
    std::lock_guard lock(mutex);
    if (seen.size() >= kKeysMax || !seen.insert(key).second) return;
    last = seen.size() == kKeysMax;
  }
  Report("%s", line.c_str());
  if (last) Report("this was the %zuth thing that is told of once; further ones are not", kKeysMax);
}

void StrictAbort() {
  Report("stopping at once because of --strict");
  std::_Exit(3);
}

}  // namespace virtual_gpu

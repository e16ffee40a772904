#include "log.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <ctime>

namespace xsched_hsa {
namespace {
std::atomic<int> g_level{static_cast<int>(LogLevel::kWarn)};
constexpr const char* kNames[] = {"", "error", "warning", "info", "debug"};

// A write that would wait is given up: EAGAIN. Of terminals and files poll() has said that they don't.
void WriteAtOnce(const char* line, std::size_t size) {
  struct stat kind;
  if (fstat(STDERR_FILENO, &kind) != 0) return;
  if (S_ISSOCK(kind.st_mode)) {
    send(STDERR_FILENO, line, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    return;
  }
  if (S_ISFIFO(kind.st_mode)) {
    const iovec part{const_cast<char*>(line), size};
    if (pwritev2(STDERR_FILENO, &part, 1, -1, RWF_NOWAIT) >= 0 || errno == EAGAIN) return;
    // Linux before 6.4 does not do that with pipes.
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) return;
  }
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, size);
}

// The line is lost where it can't be written at once: nobody may wait for a reader of the program's stderr, least of
// all with a mutex held, or get a signal because there is none.
void WriteIfPossible(const char* line, std::size_t size) {
  pollfd out{STDERR_FILENO, POLLOUT, 0};
  if (poll(&out, 1, 0) != 1 || out.revents != POLLOUT) return;
  // The last reader may go just now. The signal of that is this thread's, and taken back.
  sigset_t pipe, before, pending;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  sigpending(&pending);
  if (pthread_sigmask(SIG_BLOCK, &pipe, &before) != 0) return;
  errno = 0;
  WriteAtOnce(line, size);
  const timespec at_once{0, 0};
  if (errno == EPIPE && sigismember(&pending, SIGPIPE) == 0) sigtimedwait(&pipe, nullptr, &at_once);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace

void SetLogLevel(LogLevel level) {
  g_level.store(static_cast<int>(level), std::memory_order_relaxed);
}

void Log(LogLevel level, const char* format, ...) {
  if (static_cast<int>(level) > g_level.load(std::memory_order_relaxed)) return;
  char line[400];
  int used = std::snprintf(line, sizeof(line), "xsched-hsa[%d]: %s: ", getpid(),
                           kNames[static_cast<int>(level)]);
  va_list arguments;
  va_start(arguments, format);
  const int more = std::vsnprintf(line + used, sizeof(line) - static_cast<std::size_t>(used) - 1,
                                  format, arguments);
  va_end(arguments);
  if (more > 0) used += more;
  if (used > static_cast<int>(sizeof(line)) - 2) used = static_cast<int>(sizeof(line)) - 2;
  line[used++] = '\n';
  const int error = errno;
  WriteIfPossible(line, static_cast<std::size_t>(used));
  errno = error;
}

}  // namespace xsched_hsa

// stderr_line.h: one line to stderr, at once or not at all.
//
// Why        Whoever reads our stderr may have stopped reading, or gone. The layer must not stop a program for that, nor
//            the controller all of them.
// Threads    any. No lock, no allocation.
// Errors     none: a line that a pipe, socket or terminal does not take at once is lost, and no SIGPIPE comes of it. A
//            file is written to as any file.
// Limits     a line longer than PIPE_BUF may be cut by a pipe; callers cut it before.
#pragma once

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <ctime>

namespace xsched_hsa {

// A write that would wait is given up: EAGAIN. Of terminals and files poll() has said that they don't.
// 0, or what was wrong.
inline int WriteStderrAtOnce(const char* line, std::size_t size) {
  struct stat kind;
  if (fstat(STDERR_FILENO, &kind) != 0) return errno;
  if (S_ISSOCK(kind.st_mode)) {
    return send(STDERR_FILENO, line, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? errno : 0;
  }
  if (S_ISFIFO(kind.st_mode)) {
    const iovec part{const_cast<char*>(line), size};
    if (pwritev2(STDERR_FILENO, &part, 1, -1, RWF_NOWAIT) >= 0) return 0;
    const int error = errno;
    // Linux before 6.4 does not do that with pipes.
    if (error != EOPNOTSUPP && error != ENOSYS && error != EINVAL) return error;
  }
  return write(STDERR_FILENO, line, size) < 0 ? errno : 0;
}

inline void WriteStderrLine(const char* line, std::size_t size) {
  pollfd out{STDERR_FILENO, POLLOUT, 0};
  if (poll(&out, 1, 0) != 1 || out.revents != POLLOUT) return;
  // The last reader may go just now. The signal of that is this thread's, and taken back.
  sigset_t pipe, before, pending;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  sigpending(&pending);
  if (pthread_sigmask(SIG_BLOCK, &pipe, &before) != 0) return;
  const int error = WriteStderrAtOnce(line, size);
  const timespec at_once{0, 0};
  if (error == EPIPE && sigismember(&pending, SIGPIPE) == 0) sigtimedwait(&pipe, nullptr, &at_once);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace xsched_hsa

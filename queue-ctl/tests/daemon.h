// daemon.h: a real xsched-hsad on a socket of its own, for tests.
//
// Ownership  the process and its temporary directory; both are gone after the destructor.
// Errors     Start waits until the socket answers; a test asks IsUp.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace xsched_hsa::testing {

struct Finished {
  int code = -1;  // exit code, or 128 + signal
  std::string out, err;
};
// Runs a program to its end with its output caught. Killed after 30 s.
Finished RunProgram(const std::vector<std::string>& command);

class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Daemon {
 public:
  // err_fd: its stderr, where that is not to be the test's own.
  explicit Daemon(const std::string& socket_path, const std::vector<std::string>& more = {},
                  int err_fd = -1);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  bool IsUp() const { return up_; }
  pid_t pid() const { return pid_; }
  // Sends the signal and waits for the end; the exit code as in Finished.
  int Stop(int signal);
  // Waits for it to leave by itself; -1 after the time.
  int WaitForExit(int timeout_ms);

 private:
  pid_t pid_ = -1;
  bool up_ = false;
};

}  // namespace xsched_hsa::testing

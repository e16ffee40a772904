// child_process.h: starts a program, waits for it, ends it.
//
// Threads    one. Ownership: the destructor kills (SIGKILL) and reaps a child that still runs, so
//            nothing is left running when `run` fails. Children also die with this process.
// Errors     Start: false and one line. exit_code(): 128 + signal for a killed child.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

namespace dual_model {

struct ChildOptions {
  std::vector<std::string> command;                // command[0]: a path or a name in PATH
  std::map<std::string, std::string> environment;  // set on top of ours
  std::vector<std::string> unset;                  // removed from ours
  std::vector<int> keep_fds;                       // descriptors that lose close-on-exec
  int stdout_fd = -1, stderr_fd = -1;              // -1: ours
};

class ChildProcess {
 public:
  ChildProcess() = default;
  ~ChildProcess() { Kill(); }
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;

  bool Start(const ChildOptions& options, std::string* error);
  // True when it has ended. `timeout_ms` 0: only looks.
  bool WaitForEnd(int timeout_ms);
  void Terminate();  // SIGTERM, a second of grace, then Kill
  void Kill();

  pid_t pid() const { return pid_; }
  bool running() const { return pid_ > 0 && !ended_; }
  int exit_code() const { return exit_code_; }

 private:
  pid_t pid_ = -1;
  bool ended_ = false;
  int exit_code_ = -1;
};

// Runs a program to its end and collects its standard output; its standard error goes with it if
// `with_stderr`. False if it did not start or exit with 0 within the time.
bool RunForOutput(const ChildOptions& options, bool with_stderr, int timeout_ms,
                  std::string* output, std::string* error);

}  // namespace dual_model

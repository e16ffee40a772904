#include "shell.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

namespace virtual_gpu::test {
namespace {

// A sanitizer makes everything several times as long.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kPatience = 5;
#else
constexpr int kPatience = 1;
#endif

double Now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

}  // namespace

Outcome Shell(const std::string& command, int timeout_s) {
  Outcome outcome;
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) return outcome;
  const pid_t pid = fork();
  if (pid == 0) {
    setpgid(0, 0);
    dup2(out[1], STDOUT_FILENO);
    dup2(out[1], STDERR_FILENO);
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(127);
  }
  close(out[1]);
  const double deadline = Now() + timeout_s * kPatience;
  char buffer[4096];
  for (;;) {
    pollfd wait = {out[0], POLLIN, 0};
    const int left_ms = static_cast<int>((deadline - Now()) * 1000);
    if (left_ms <= 0 || poll(&wait, 1, left_ms) <= 0) break;
    const ssize_t got = read(out[0], buffer, sizeof(buffer));
    if (got <= 0) break;
    outcome.output.append(buffer, static_cast<std::size_t>(got));
  }
  close(out[0]);
  const bool late = Now() >= deadline;
  if (late) kill(-pid, SIGKILL);
  int status = 0;
  waitpid(pid, &status, 0);
  if (!late) outcome.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return outcome;
}

std::string VirtualGpu() { return "'" XSCHED_HSA_BIN_DIR "/virtual-gpu'"; }

std::string Exercise(const std::string& name) {
  return "'" XSCHED_HSA_BIN_DIR "/../tests/virtual-gpu-exercise' " + name;
}

std::string FreshDeviceName() {
  static std::atomic<int> count = 0;
  return "test-" + std::to_string(getpid()) + "-" + std::to_string(count++);
}

}  // namespace virtual_gpu::test

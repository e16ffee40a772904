#include "daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>

namespace xsched_hsa::testing {
namespace {

int CodeOf(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

pid_t Spawn(const std::vector<std::string>& command, int out_fd, int err_fd) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is killed leaves nothing behind
  if (out_fd >= 0) dup2(out_fd, STDOUT_FILENO);
  if (err_fd >= 0) dup2(err_fd, STDERR_FILENO);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

}  // namespace

Finished RunProgram(const std::vector<std::string>& command) {
  using Steady = std::chrono::steady_clock;
  Finished finished;
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) std::abort();
  const pid_t pid = Spawn(command, out[1], err[1]);
  close(out[1]);
  close(err[1]);
  const auto deadline = Steady::now() + std::chrono::seconds(30);
  pollfd fds[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  std::string* texts[2] = {&finished.out, &finished.err};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    if (Steady::now() > deadline) kill(pid, SIGKILL);
    poll(fds, 2, 100);
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t size = read(fds[i].fd, buffer, sizeof buffer);
      if (size > 0) {
        texts[i]->append(buffer, static_cast<std::size_t>(size));
      } else {
        fds[i].fd = -1;
      }
    }
  }
  close(out[0]);
  close(err[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  finished.code = CodeOf(status);
  return finished;
}

TemporaryDirectory::TemporaryDirectory() {
  char path[] = "/tmp/xsched-hsa-test-XXXXXX";
  if (mkdtemp(path) == nullptr) std::abort();
  path_ = path;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Daemon::Daemon(const std::string& socket_path, const std::vector<std::string>& more, int err_fd) {
  int ready[2];
  if (pipe(ready) != 0) std::abort();
  fcntl(ready[0], F_SETFD, FD_CLOEXEC);
  std::vector<std::string> command = {XSCHED_HSA_BIN_DIR "/xsched-hsad",
                                      "--socket",
                                      socket_path,
                                      "--log-level",
                                      "error",
                                      "--ready-fd",
                                      std::to_string(ready[1])};
  command.insert(command.end(), more.begin(), more.end());
  pid_ = Spawn(command, -1, err_fd);
  close(ready[1]);
  char byte = 0;
  up_ = read(ready[0], &byte, 1) == 1;
  close(ready[0]);
}

Daemon::~Daemon() {
  if (pid_ > 0) Stop(SIGKILL);
}

int Daemon::Stop(int signal) {
  int status = 0;
  kill(pid_, signal);
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return CodeOf(status);
}

int Daemon::WaitForExit(int timeout_ms) {
  for (int waited_ms = 0; waited_ms < timeout_ms; waited_ms += 5) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return CodeOf(status);
    }
    usleep(5000);
  }
  return -1;
}

}  // namespace xsched_hsa::testing

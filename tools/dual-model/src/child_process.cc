#include "child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "replay_clock.h"

namespace dual_model {
namespace {

// Between fork and exec only async-signal-safe calls are allowed, so the environment is made
// before.
std::vector<std::string> MakeEnvironment(const ChildOptions& options) {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const std::string& name : options.unset) variables.erase(name);
  for (const auto& [name, value] : options.environment) variables[name] = value;
  std::vector<std::string> result;
  result.reserve(variables.size());
  for (const auto& [name, value] : variables) result.emplace_back(name).append("=").append(value);
  return result;
}

std::vector<char*> Pointers(std::vector<std::string>* strings) {
  std::vector<char*> pointers;
  for (std::string& text : *strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

[[noreturn]] void Exec(const ChildOptions& options, char* const* arguments,
                       char* const* environment, int error_fd) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int fd : options.keep_fds) fcntl(fd, F_SETFD, 0);
  if (options.stdout_fd >= 0) dup2(options.stdout_fd, STDOUT_FILENO);
  if (options.stderr_fd >= 0) dup2(options.stderr_fd, STDERR_FILENO);
  execvpe(arguments[0], arguments, environment);
  const int code = errno;
  [[maybe_unused]] const ssize_t ignored = write(error_fd, &code, sizeof(code));
  _exit(127);
}

}  // namespace

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), ended_(other.ended_), exit_code_(other.exit_code_) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(ended_, other.ended_);
  std::swap(exit_code_, other.exit_code_);
  return *this;
}

bool ChildProcess::Start(const ChildOptions& options, std::string* error) {
  std::vector<std::string> command = options.command;
  std::vector<std::string> variables = MakeEnvironment(options);
  const std::vector<char*> arguments = Pointers(&command);
  const std::vector<char*> environment = Pointers(&variables);
  int error_pipe[2];
  if (pipe2(error_pipe, O_CLOEXEC) != 0) {
    *error = std::string("can't make a pipe: ") + std::strerror(errno);
    return false;
  }
  pid_ = fork();
  if (pid_ == 0) Exec(options, arguments.data(), environment.data(), error_pipe[1]);
  close(error_pipe[1]);
  int code = pid_ < 0 ? errno : 0;
  // The pipe closes at exec; bytes in it are why there was none.
  if (pid_ > 0 && read(error_pipe[0], &code, sizeof(code)) > 0) Kill();
  close(error_pipe[0]);
  if (code == 0) return true;
  *error = "can't start " + command[0] + ": " + std::strerror(code);
  return false;
}

bool ChildProcess::WaitForEnd(int timeout_ms) {
  if (!running()) return true;
  const std::int64_t give_up_ns = MonotonicNs() + std::int64_t{timeout_ms} * 1'000'000;
  for (;;) {
    int status = 0;
    const pid_t done = waitpid(pid_, &status, timeout_ms < 0 ? 0 : WNOHANG);
    if (done == pid_ || (done < 0 && errno == ECHILD)) {
      ended_ = true;
      exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      return true;
    }
    if (timeout_ms >= 0 && MonotonicNs() >= give_up_ns) return false;
    if (timeout_ms >= 0) usleep(2000);
  }
}

void ChildProcess::Terminate() {
  if (!running()) return;
  kill(pid_, SIGTERM);
  if (!WaitForEnd(1000)) Kill();
}

void ChildProcess::Kill() {
  if (!running()) return;
  kill(pid_, SIGKILL);
  WaitForEnd(-1);
}

bool RunForOutput(const ChildOptions& options, bool with_stderr, int timeout_ms,
                  std::string* output, std::string* error) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) {
    *error = std::string("can't make a pipe: ") + std::strerror(errno);
    return false;
  }
  ChildOptions with_pipe = options;
  with_pipe.stdout_fd = fds[1];
  if (with_stderr) with_pipe.stderr_fd = fds[1];
  ChildProcess child;
  const bool started = child.Start(with_pipe, error);
  close(fds[1]);
  const std::int64_t give_up_ns = MonotonicNs() + std::int64_t{timeout_ms} * 1'000'000;
  bool complete = false;
  while (started && !complete) {
    const std::int64_t left_ms = (give_up_ns - MonotonicNs()) / 1'000'000;
    pollfd descriptor = {fds[0], POLLIN, 0};
    if (left_ms <= 0 || poll(&descriptor, 1, static_cast<int>(left_ms)) == 0) break;
    char buffer[4096];
    const ssize_t n = read(fds[0], buffer, sizeof(buffer));
    if (n > 0) output->append(buffer, static_cast<std::size_t>(n));
    if (n == 0) complete = true;
  }
  close(fds[0]);
  if (!started) return false;
  if (!complete || !child.WaitForEnd(2000)) {
    *error = options.command[0] + " did not answer within " + std::to_string(timeout_ms) + " ms";
    return false;
  }
  if (child.exit_code() == 0) return true;
  *error = options.command[0] + " exited with " + std::to_string(child.exit_code());
  return false;
}

}  // namespace dual_model

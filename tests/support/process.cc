#include "process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>

namespace xsched_hsa_tests {
namespace {

using Clock = std::chrono::steady_clock;

int RemainingMs(Clock::time_point end) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
  return left > 0 ? static_cast<int>(std::min<long long>(left, 1000)) : 0;
}

bool Drain(int* fd, std::string* text) {
  char buffer[4096];
  const ssize_t got = read(*fd, buffer, sizeof(buffer));
  if (got > 0) {
    text->append(buffer, static_cast<std::size_t>(got));
    return true;
  }
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  close(*fd);
  *fd = -1;
  return false;
}

[[noreturn]] void Exec(const std::vector<std::string>& command, const Environment& environment) {
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& command, const Environment& environment) {
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
    std::abort();
  pid_ = fork();
  if (pid_ == 0) {
    setpgid(0, 0);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    Exec(command, environment);
  }
  setpgid(pid_, pid_);
  close(in[0]);
  close(out[1]);
  close(err[1]);
  in_ = in[1];
  out_ = out[0];
  err_ = err[0];
}

Process::~Process() {
  if (!reaped_) {
    kill(-pid_, SIGKILL);
    while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
  }
  for (int fd : {in_, out_, err_}) {
    if (fd >= 0) close(fd);
  }
}

void Process::Write(const std::string& text) {
  const ssize_t written = write(in_, text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) err_text_ += "[test: standard input is closed]";
}

void Process::CloseInput() {
  if (in_ >= 0) close(in_);
  in_ = -1;
}

bool Process::Pump(int timeout_ms) {
  pollfd waiting[2] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
  if (out_ < 0 && err_ < 0) return false;
  poll(waiting, 2, timeout_ms);
  if (out_ >= 0 && waiting[0].revents != 0) Drain(&out_, &out_text_);
  if (err_ >= 0 && waiting[1].revents != 0) Drain(&err_, &err_text_);
  return true;
}

bool Process::WaitForOutput(const std::string& text, std::chrono::seconds timeout) {
  const Clock::time_point end = Clock::now() + timeout * kPatience;
  // What is there already is read even where there is no time at all.
  for (bool late = false; out_text_.find(text) == std::string::npos; late = Clock::now() >= end) {
    if (late || !Pump(RemainingMs(end))) return false;
  }
  return true;
}

Result Process::Wait(std::chrono::seconds timeout) {
  const Clock::time_point end = Clock::now() + timeout * kPatience;
  CloseInput();
  Result result;
  while (!reaped_ && Clock::now() < end) {
    const bool open = Pump(50);
    if (waitpid(pid_, &status_, WNOHANG) == pid_) reaped_ = true;
    if (!open && !reaped_) usleep(10'000);
  }
  while (reaped_ && Clock::now() < end && Pump(100) && (out_ >= 0 || err_ >= 0)) {
    // A grandchild may hold the pipes; take what is there and go.
    pollfd left[2] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
    if (poll(left, 2, 200) == 0) break;
  }
  result.timed_out = !reaped_;
  if (reaped_)
    result.exit_code = WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
  result.out = out_text_;
  result.err = err_text_;
  return result;
}

void Process::Signal(int signal) { kill(pid_, signal); }

Result Run(const std::vector<std::string>& command, const Environment& environment,
           std::chrono::seconds timeout) {
  Process process(command, environment);
  return process.Wait(timeout);
}

std::string RuntimeToPreload() {
  Dl_info runtime = {};
#ifdef __SANITIZE_THREAD__
  void* const symbol = dlsym(RTLD_DEFAULT, "__tsan_init");
  if (symbol != nullptr) dladdr(symbol, &runtime);
#endif
  return runtime.dli_fname != nullptr ? runtime.dli_fname : "";
}

std::string BuildFile(const std::string& path) {
  return std::string(XSCHED_HSA_BIN_DIR) + "/../" + path;
}
std::string Bin(const std::string& name) { return std::string(XSCHED_HSA_BIN_DIR) + "/" + name; }
std::string Layer() { return std::string(XSCHED_HSA_LIB_DIR) + "/libxsched-hsa.so"; }

TemporaryDirectory::TemporaryDirectory() {
  char path[] = "/tmp/xsched-hsa-test-XXXXXX";
  path_ = mkdtemp(path) != nullptr ? path : "";
}
TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace xsched_hsa_tests

#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "gpu_model.h"

namespace virtual_gpu::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kReadyTimeoutMs = 20'000;
constexpr int kStopTimeoutMs = 3'000;

fs::path OwnFolder() {
  std::error_code error;
  return fs::canonical("/proc/self/exe", error).parent_path();
}

std::vector<std::string> Arguments(const DaemonOptions& options, const fs::path& directory,
                                   bool stay, int ready_fd) {
  std::vector<std::string> arguments = {DaemonPath(),
                                        "--dir",
                                        directory,
                                        "--profile",
                                        options.profile,
                                        "--isa",
                                        options.isa,
                                        "--gpus",
                                        std::to_string(options.gpus),
                                        "--time-scale",
                                        std::to_string(options.time_scale),
                                        "--ready-fd",
                                        std::to_string(ready_fd),
                                        "--quiet"};
  for (const std::string& param : options.params) {
    arguments.push_back("--param");
    arguments.push_back(param);
  }
  if (stay) arguments.push_back("--stay");
  if (options.strict) arguments.push_back("--strict");
  return arguments;
}

// In the child; nothing here may allocate that has not been prepared.
[[noreturn]] void ExecDaemon(std::vector<std::string> arguments, int log_fd) {
  // Ctrl-C is for the command; the device ends when the launcher says so.
  setpgid(0, 0);
  if (log_fd >= 0) {
    setsid();
    const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null_fd, STDIN_FILENO);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
  }
  // The device process itself must not run on a virtual GPU.
  unsetenv("LD_PRELOAD");
  unsetenv("HSA_TOOLS_LIB");
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  std::fprintf(stderr, "virtual-gpu: cannot start %s: %s\n", argv[0], std::strerror(errno));
  _exit(2);
}

bool WaitUntilReady(int fd) {
  pollfd wait = {fd, POLLIN, 0};
  int rc;
  do {
    rc = poll(&wait, 1, kReadyTimeoutMs);
  } while (rc < 0 && errno == EINTR);
  char byte;
  return rc == 1 && read(fd, &byte, 1) == 1;
}

void StopChild(pid_t pid) {
  kill(pid, SIGTERM);
  for (int waited_ms = 0; waited_ms < kStopTimeoutMs; ++waited_ms) {
    const pid_t done = waitpid(pid, nullptr, WNOHANG);
    if (done == pid || (done < 0 && errno == ECHILD)) return;
    const timespec millisecond = {0, 1'000'000};
    nanosleep(&millisecond, nullptr);
  }
  std::fprintf(stderr, "virtual-gpu: the device process does not stop; killing it\n");
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

}  // namespace

bool CheckOptions(DaemonOptions* options) {
  ModelRequest request{options->profile, options->isa, options->params};
  GpuModel model;
  std::string note, error;
  if (!MakeModel(request, &model, &note, &error)) {
    std::fprintf(stderr, "virtual-gpu: %s\n", error.c_str());
    return false;
  }
  options->isa = GfxName(model.gfx_target_version);
  if (!options->quiet) {
    std::fprintf(stderr, "virtual-gpu: simulated, time scale %g; %s\n", options->time_scale,
                 note.c_str());
  }
  return true;
}

fs::path DaemonPath() { return OwnFolder() / "virtual-gpud"; }

fs::path InterposerPath() {
  const fs::path folder = OwnFolder();
  for (const char* place : {"../lib", ".", "../" VIRTUAL_GPU_LIBDIR}) {
    std::error_code error;
    const fs::path found = fs::canonical(folder / place / "libvirtual-gpu.so", error);
    if (!error) return found;
  }
  return {};
}

pid_t StartDaemon(const DaemonOptions& options, const fs::path& directory, bool stay, bool detach) {
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) return -1;
  int log_fd = -1;
  if (detach) {
    std::error_code error;
    fs::create_directories(directory, error);
    log_fd = open((directory / "log").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  }
  const std::vector<std::string> arguments = Arguments(options, directory, stay, ready[1]);
  const pid_t pid = fork();
  if (pid == 0) {
    fcntl(ready[1], F_SETFD, 0);
    ExecDaemon(arguments, log_fd);
  }
  close(ready[1]);
  if (log_fd >= 0) close(log_fd);
  const bool ok = pid > 0 && WaitUntilReady(ready[0]);
  close(ready[0]);
  if (ok) return pid;
  if (pid > 0) StopChild(pid);
  std::fprintf(stderr, "virtual-gpu: the device process did not start%s\n",
               detach ? (", see " + (directory / "log").string()).c_str() : "");
  return -1;
}

PrivateDaemon::~PrivateDaemon() {
  if (pid_ > 0) StopChild(pid_);
  std::error_code ignored;
  if (!directory_.empty()) fs::remove_all(directory_, ignored);
}

bool PrivateDaemon::Start(const DaemonOptions& options) {
  std::error_code error;
  const fs::path base = fs::temp_directory_path(error);
  std::string name = (error ? fs::path("/tmp") : base) / "virtual-gpu-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    std::fprintf(stderr, "virtual-gpu: cannot make a directory %s: %s\n", name.c_str(),
                 std::strerror(errno));
    return false;
  }
  directory_ = name;
  pid_ = StartDaemon(options, directory_, false, false);
  return pid_ > 0;
}

}  // namespace virtual_gpu::cli

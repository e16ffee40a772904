#include "private_controller.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "locate.h"

namespace xsched_hsa {
namespace {

constexpr int kStartTimeoutMs = 10'000;
constexpr char kExitWhenIdle[] = "5";

}  // namespace

std::unique_ptr<PrivateController> PrivateController::Start(std::string* error) {
  const std::string program = FindController();
  if (program.empty()) {
    *error = "xsched-hsad is not beside this program; install it there, or start it by hand";
    return nullptr;
  }
  const char* temporary = std::getenv("TMPDIR");
  // A socket's path is short: a long TMPDIR would not fit.
  const bool usable = temporary != nullptr && temporary[0] == '/' && std::strlen(temporary) < 60;
  std::string directory = std::string(usable ? temporary : "/tmp") + "/xsched-hsa-run-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) {
    *error = "cannot make " + directory + ": " + std::strerror(errno);
    return nullptr;
  }
  std::unique_ptr<PrivateController> controller(new PrivateController);
  controller->directory_ = directory;
  controller->socket_path_ = directory + "/control.sock";
  if (!controller->Spawn(program, error)) return nullptr;
  return controller;
}

bool PrivateController::Spawn(const std::string& program, std::string* error) {
  int ready[2];
  if (pipe(ready) != 0) {
    *error = std::string("cannot make a pipe: ") + std::strerror(errno);
    return false;
  }
  // Only the child keeps the write end.
  fcntl(ready[0], F_SETFD, FD_CLOEXEC);
  pid_ = fork();
  if (pid_ == 0) {
    // A Ctrl-C is for the program; the controller leaves when it is told to, or idle.
    setsid();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const int null_fd = open("/dev/null", O_RDWR);
    if (null_fd >= 0) {
      dup2(null_fd, STDIN_FILENO);
      dup2(null_fd, STDOUT_FILENO);
    }
    const std::string ready_fd = std::to_string(ready[1]);
    execl(program.c_str(), program.c_str(), "--private", "--socket", socket_path_.c_str(),
          "--exit-when-idle", kExitWhenIdle, "--ready-fd", ready_fd.c_str(), "--log-level", "warn",
          static_cast<char*>(nullptr));
    _exit(127);
  }
  close(ready[1]);
  pollfd wait{ready[0], POLLIN, 0};
  char byte = 0;
  const bool answered =
      pid_ > 0 && poll(&wait, 1, kStartTimeoutMs) == 1 && read(ready[0], &byte, 1) == 1;
  close(ready[0]);
  if (!answered)
    *error = "the private controller " + program + " did not start; what it said is above";
  return answered;
}

PrivateController::~PrivateController() {
  if (pid_ > 0) {
    kill(pid_, SIGTERM);
    // It only has words to write: a second is plenty.
    const timespec pause{0, 5'000'000};
    int turns = 200;
    while (turns-- > 0 && waitpid(pid_, nullptr, WNOHANG) == 0) nanosleep(&pause, nullptr);
    if (turns < 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    unlink(socket_path_.c_str());
    unlink((socket_path_ + ".lock").c_str());
    rmdir(directory_.c_str());
  }
}

}  // namespace xsched_hsa

#include "run.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "device_client.h"

namespace virtual_gpu::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kBadInput = 2;
constexpr int kPassedOn[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};

volatile sig_atomic_t g_child = 0;

void PassOn(int number, siginfo_t* info, void*) {
  // The terminal has sent Ctrl-C and Ctrl-\ to the whole foreground group already.
  const bool from_terminal = info->si_code == SI_KERNEL;
  if (g_child > 0 && !from_terminal) kill(g_child, number);
}

void InstallPassOn() {
  struct sigaction action = {};
  action.sa_sigaction = PassOn;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  for (const int number : kPassedOn) sigaction(number, &action, nullptr);
}

void SetEnvironment(const fs::path& socket, const rpc::HelloReply& device,
                    const fs::path& interposer) {
  const char* before = std::getenv("LD_PRELOAD");
  std::string preload = before == nullptr ? "" : before;
  if (preload.find(interposer.string()) == std::string::npos) {
    // Last, so that other preloaded libraries see the program's ioctls first.
    preload += (preload.empty() ? "" : ":") + interposer.string();
  }
  char scale[32];
  std::snprintf(scale, sizeof(scale), "%g", device.time_scale);
  setenv("LD_PRELOAD", preload.c_str(), 1);
  setenv(rpc::kSocketEnv, socket.c_str(), 1);
  setenv("HSA_USERPTR_FOR_PAGED_MEM", "0", 1);
  setenv("VIRTUAL_GPU_TIME_SCALE", scale, 1);
  setenv("VIRTUAL_GPU_PROFILE", device.profile, 1);
#ifdef __SANITIZE_ADDRESS__
  // The interposer is never sanitized and comes before the commands' sanitizer; that is harmless.
  const char* asan = std::getenv("ASAN_OPTIONS");
  const std::string options = asan == nullptr ? "" : std::string(asan) + ":";
  setenv("ASAN_OPTIONS", (options + "verify_asan_link_order=0").c_str(), 1);
#endif
}

[[noreturn]] void ExecCommand(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  const int error = errno;
  std::fprintf(stderr, "virtual-gpu: cannot run %s: %s\n", argv[0], std::strerror(error));
  _exit(error == ENOENT ? 127 : 126);
}

int RunCommand(const std::vector<std::string>& command) {
  InstallPassOn();
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) {
    for (const int number : kPassedOn) signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    ExecCommand(command);
  }
  g_child = pid;
  sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    std::fprintf(stderr, "virtual-gpu: cannot fork: %s\n", std::strerror(errno));
    return kBadInput;
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  g_child = 0;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// The options of a device that runs already are not ours to choose.
bool Agrees(const RunRequest& request, const rpc::HelloReply& device, const fs::path& socket) {
  if (request.profile_given && request.options.profile != device.profile) {
    std::fprintf(stderr,
                 "virtual-gpu: the device at %s is a %s, not a %s; leave --profile out or start "
                 "another device\n",
                 socket.c_str(), device.profile, request.options.profile.c_str());
    return false;
  }
  if (request.time_scale_given && request.options.time_scale != device.time_scale) {
    std::fprintf(stderr,
                 "virtual-gpu: the device at %s runs at time scale %g, not %g; leave --time-scale "
                 "out or start another device\n",
                 socket.c_str(), device.time_scale, request.options.time_scale);
    return false;
  }
  return true;
}

// Finds or starts the device process and connects to it. Empty: said why.
fs::path FindDevice(RunRequest* request, PrivateDaemon* own, DeviceClient* client) {
  if (!request->device.empty()) {
    const fs::path directory = DeviceDirectory(request->device);
    fs::path socket = directory / rpc::kSocketName;
    if (client->Connect(socket)) return socket;
    if (!CheckOptions(&request->options)) return {};
    if (StartDaemon(request->options, directory, false, true) < 0) return {};
    return client->Connect(socket) ? socket : fs::path();
  }
  if (const char* inherited = std::getenv(rpc::kSocketEnv)) {
    if (client->Connect(inherited)) return inherited;
    std::fprintf(stderr,
                 "virtual-gpu: no device process answers at %s (from VIRTUAL_GPU_SOCKET); unset it "
                 "to get a device of your own\n",
                 inherited);
    return {};
  }
  if (!CheckOptions(&request->options) || !own->Start(request->options)) return {};
  const fs::path socket = own->directory() / rpc::kSocketName;
  return client->Connect(socket) ? socket : fs::path();
}

}  // namespace

int Run(RunRequest request) {
  const fs::path interposer = InterposerPath();
  if (interposer.empty()) {
    std::fprintf(stderr,
                 "virtual-gpu: libvirtual-gpu.so is not beside this program or in ../lib; build or "
                 "install tools/virtual-gpu completely\n");
    return kBadInput;
  }
  PrivateDaemon own;
  DeviceClient client;
  const fs::path socket = FindDevice(&request, &own, &client);
  if (socket.empty()) return kBadInput;
  rpc::HelloReply device;
  if (!client.Watch(&device)) {
    std::fprintf(stderr, "virtual-gpu: the device process at %s hung up\n", socket.c_str());
    return kBadInput;
  }
  if (!Agrees(request, device, socket)) return kBadInput;
  for (const std::string& fault : request.faults) {
    DeviceClient other;  // the watched connection has nothing more to say
    std::string error = "the device process hung up";
    if (other.Connect(socket) && other.ArmFault(fault, &error)) continue;
    std::fprintf(stderr, "virtual-gpu: %s\n", error.c_str());
    return kBadInput;
  }
  SetEnvironment(socket, device, interposer);
  return RunCommand(request.command);
}

}  // namespace virtual_gpu::cli

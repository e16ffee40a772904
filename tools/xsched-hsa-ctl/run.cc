#include "run.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <optional>

#include "arguments.h"
#include "locate.h"
#include "private_controller.h"
#include "queue-ctl/client.h"
#include "queue-ctl/shared_page.h"
#include "registering.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

std::string RandomToken() {
  unsigned char bytes[16] = {};
  if (getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) std::abort();
  std::string token;
  char text[3];
  for (const unsigned char byte : bytes) {
    std::snprintf(text, sizeof text, "%02x", byte);
    token += text;
  }
  return token;
}

std::string Joined(const std::vector<std::string>& command) {
  std::string text;
  for (const std::string& word : command) text += (text.empty() ? "" : " ") + word;
  return text;
}

// What the controller knows of the programs of this run.
struct Sighting {
  bool answered = false;  // the controller
  bool came_up = false;
  bool gate_none = false;  // came up, but manages no queue of this runtime
  bool alive = false;
  bool skipped = false;  // the runtime came up without it
};

Sighting LookFor(const std::string& token, Client* client) {
  Sighting sighting;
  std::string error;
  const auto reply = client->Call({{"op", "list"}, {"all", true}, {"run_token", token}}, &error);
  if (!reply || !reply->value("ok", false)) return sighting;
  sighting.answered = true;
  bool managed = false;
  for (const json& process : reply->value("processes", json::array())) {
    sighting.came_up = true;
    managed |= process.value("gate", "none") != "none";
    sighting.alive |= process.value("alive", false);
  }
  sighting.gate_none = sighting.came_up && !managed;
  return sighting;
}

void SetEnvironment(const RunOptions& options, const std::string& layer, const std::string& socket,
                    const std::string& token) {
  const char* existing = std::getenv("HSA_TOOLS_LIB");
  setenv("HSA_TOOLS_LIB", AppendToolsLib(existing != nullptr ? existing : "", layer).c_str(), 1);
  // ROCr 6.1 and newer skip HSA_TOOLS_LIB without a word when a rocprofiler-sdk tool is there.
  setenv("HSA_TOOLS_ROCPROFILER_V1_TOOLS", "1", 1);
  setenv("XSCHED_HSA_PRIORITY", std::to_string(options.priority).c_str(), 1);
  setenv("XSCHED_HSA_SOCKET", socket.c_str(), 1);
  setenv("XSCHED_HSA_RUN_TOKEN", token.c_str(), 1);
}

// The child, or -1 with errno of what failed (execvp's, too).
pid_t Spawn(const std::vector<std::string>& command, const sigset_t& mask) {
  int failure[2];
  if (pipe2(failure, O_CLOEXEC) != 0) return -1;
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    sigprocmask(SIG_SETMASK, &mask, nullptr);
    execvp(arguments[0], arguments.data());
    const int error = errno;
    const ssize_t written = write(failure[1], &error, sizeof error);
    _exit(written == static_cast<ssize_t>(sizeof error) ? 127 : 126);
  }
  close(failure[1]);
  int error = 0;
  const bool failed =
      child < 0 || read(failure[0], &error, sizeof error) == static_cast<ssize_t>(sizeof error);
  close(failure[0]);
  if (!failed) return child;
  if (child > 0) waitpid(child, nullptr, 0);
  errno = error;
  return -1;
}

// Waits for the child, passes signals on, and looks for the layer now and then until it is seen.
int WaitFor(pid_t child, const sigset_t& signals, const std::string& token, Client* client,
            Sighting* seen) {
  long pause_ms = 100;
  SkipWatch watch(child);
  for (;;) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    siginfo_t info{};
    const timespec pause{pause_ms / 1000, pause_ms % 1000 * 1'000'000};
    const int signal = sigtimedwait(&signals, &info, &pause);
    if (signal < 0) {
      if (errno != EAGAIN) continue;
      if (!seen->came_up) *seen = LookFor(token, client);
      if (!seen->came_up && watch.Look()) {
        std::cerr << "xsched-hsa-ctl: process " << child
                  << " has the runtime and not the layer: " << kSkipAdvice << "\n";
      }
      seen->skipped = watch.skipped();
      pause_ms = seen->came_up ? 60'000 : std::min(pause_ms * 2, 5000L);
    } else if (signal != SIGCHLD && info.si_code <= 0) {
      // From a process (si_code SI_USER and below); the terminal's go to the child anyway.
      kill(child, signal);
    }
  }
}

// A controller that hangs, or would refuse the layer: better said before the program runs than at its end.
std::string WhyOfNoUse(Client* client, const std::string& socket) {
  std::string error;
  const auto reply = client->Call({{"op", "info"}}, &error);
  if (!reply) return error;
  const json controller = reply->value("controller", json::object());
  if (controller.value("abi_version", 0u) == kAbiVersion) return {};
  return "the controller at " + socket + " is of release " +
         controller.value("version", "unknown") +
         " and refuses the layer of this one, " XSCHED_HSA_VERSION "; use both of one release";
}

int Verdict(const RunOptions& options, const Sighting& sighting, int code) {
  if (options.allow_no_layer) return code;
  const std::string name = Joined(options.command);
  const std::string ended = " (it ended with " + std::to_string(code) + ")";
  if (!sighting.came_up && !sighting.answered) {
    return Fail("the controller has gone before the layer was seen in '" + name + "'" + ended +
                    "; run it again, or use --allow-no-layer",
                kExitNoLayer);
  }
  if (!sighting.came_up && sighting.skipped) {
    return Fail("the layer did not come up in '" + name + "'" + ended + ": " + kSkipAdvice +
                    ", or use --allow-no-layer",
                kExitNoLayer);
  }
  if (!sighting.came_up) {
    return Fail("the layer did not come up in '" + name + "'" + ended +
                    ": it never initialised ROCm, is linked statically, drops its environment, or "
                    "its runtime could not load the layer; see XSCHED_HSA_LOG=debug and "
                    "'xsched-hsa-ctl doctor', or use --allow-no-layer",
                kExitNoLayer);
  }
  if (sighting.gate_none) {
    return Fail("the layer came up in '" + name + "'" + ended +
                    " but does not know this runtime's tables, so nothing was scheduled; see "
                    "'xsched-hsa-ctl doctor', or use --allow-no-layer",
                kExitNoLayer);
  }
  return code;
}

int RunWith(const RunOptions& options, const std::string& layer, const std::string& socket,
            Client client, Sighting* seen) {
  const std::string token = RandomToken();
  SetEnvironment(options, layer, socket, token);
  sigset_t signals, old_mask;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD}) {
    sigaddset(&signals, signal);
  }
  sigprocmask(SIG_BLOCK, &signals, &old_mask);
  // Beforehand, as far as it can be known; the program may bring a runtime of its own.
  if (const Registering registering = LookAtRegistering();
      registering.skipping() == Skipping::kAlways) {
    std::cerr << "xsched-hsa-ctl: " << registering.tool
              << ": the layer will not come up: " << kSkipAdvice << "\n";
  }
  const pid_t child = Spawn(options.command, old_mask);
  if (child < 0) {
    return Fail("cannot run '" + options.command[0] + "': " + std::strerror(errno));
  }
  const int code = WaitFor(child, signals, token, &client, seen);
  Sighting last = LookFor(token, &client);
  if (!last.answered) {
    // Perhaps it was restarted, and the layer found it again.
    std::string error;
    if (auto again = Client::Connect(socket, &error)) last = LookFor(token, &*again);
  }
  last.skipped = seen->skipped;
  if (last.came_up || !seen->came_up) *seen = last;
  seen->alive = last.alive;
  return Verdict(options, *seen, code);
}

}  // namespace

std::string AppendToolsLib(const std::string& existing, const std::string& layer) {
  std::string name = layer;
  if (layer.find_first_of(" \"\\") != std::string::npos) {
    name = "\"";
    for (const char c : layer) {
      if (c == '"' || c == '\\') name += '\\';
      name += c;
    }
    name += '"';
  }
  if (existing.empty()) return name;
  if (existing == name || existing.find(name + " ") == 0 ||
      existing.find(" " + name) != std::string::npos) {
    return existing;
  }
  return existing + " " + name;
}

int Run(const RunOptions& options) {
  const std::string layer = options.layer.empty() ? FindLayer() : options.layer;
  if (layer.empty()) {
    return Fail("the layer libxsched-hsa.so is neither in " + SearchedLayerPlaces() +
                "; build or install it, or name it with --layer");
  }
  if (access(layer.c_str(), R_OK) != 0) {
    return Fail("the layer " + layer + " can't be read: " + std::strerror(errno));
  }
  std::string socket = options.socket.empty() ? DefaultSocketPath() : options.socket;
  std::string error;
  std::unique_ptr<PrivateController> controller;
  auto client = Client::Connect(socket, &error);
  if (client) {
    const std::string why = WhyOfNoUse(&*client, socket);
    if (!why.empty() && !options.allow_no_layer) {
      return Fail(why + "; nothing was run, --allow-no-layer runs it unscheduled", kExitNoLayer);
    }
    if (!why.empty()) std::cerr << "xsched-hsa-ctl: " << why << "\n";
  } else {
    std::string why;
    controller = PrivateController::Start(&why);
    if (controller == nullptr) return Fail(error + "; and " + why);
    std::cerr << "xsched-hsa-ctl: no controller at " << socket << ": started a private one (pid "
              << controller->pid() << ", socket " << controller->socket_path() << ")\n";
    socket = controller->socket_path();
    client = Client::Connect(socket, &error);
    if (!client) return Fail(error);
  }
  Sighting seen;
  const int code = RunWith(options, layer, socket, std::move(*client), &seen);
  // Something that the program left in the background may still use it.
  if (controller != nullptr && seen.alive) controller->Release();
  return code;
}

}  // namespace xsched_hsa

#include "layer_session.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "install_paths.h"
#include "replay_clock.h"

namespace dual_model {
namespace {

using nlohmann::json;
constexpr std::int64_t kControllerStartNs = 10'000'000'000;
constexpr int kListTimeoutMs = 10'000;
// The controller's own defaults. They are device time: a slowed virtual GPU stretches them.
constexpr double kWindowUs = 200, kLingerUs = 250;
constexpr char kClockForEnv[] = "VIRTUAL_GPU_CLOCK_FOR",
               kClockFor[] = "libxsched-hsa.so:xsched-hsad";

bool Connects(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool connected = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return connected;
}

std::uint64_t Count(const json& object, const char* name) {
  return object.contains(name) && object[name].is_number()
             ? std::uint64_t(std::max(0.0, object[name].get<double>()))
             : 0;
}

bool AddWorker(const json& process, const WorkerIdentity& worker, Proof* proof,
               std::string* error) {
  const json queues = process.value("queues", json::array());
  const std::string who = "worker " + std::to_string(worker.pid);
  std::uint64_t seen = 0;
  for (const json& queue : queues) {
    seen += Count(queue, "submitted");
    proof->packets_held += Count(queue, "packets_held");
    proof->preemptions += Count(queue, "holds");
    proof->held_ms += Count(queue, "held_ms");
    proof->raises += Count(queue, "raises");
    proof->squeezes += Count(queue, "squeezes");
    proof->suspends += Count(queue, "suspends");
  }
  if (queues.empty()) {
    *error = "the layer in " + who + " manages no queue; see XSCHED_HSA_LOG=debug";
    return false;
  }
  if (seen < worker.packets_submitted) {
    *error = "the layer in " + who + " saw " + std::to_string(seen) + " of " +
             std::to_string(worker.packets_submitted) +
             " packets: something bypassed it; see XSCHED_HSA_LOG=debug";
    return false;
  }
  proof->queues += queues.size();
  proof->packets_seen += seen;
  return true;
}

}  // namespace

bool ReadProof(const std::string& list_json, const std::vector<WorkerIdentity>& workers,
               Proof* proof, std::string* error) {
  proof->layer_loaded = false;
  const json list = json::parse(list_json, nullptr, false);
  if (list.is_discarded() || !list.is_object() || !list.contains("processes")) {
    *error = "the controller's list is not what was expected; is it of the same build?";
    return false;
  }
  for (const WorkerIdentity& worker : workers) {
    const auto& processes = list["processes"];
    const auto found = std::find_if(
        processes.begin(), processes.end(),
        [&worker](const json& process) { return process.value("pid", 0) == worker.pid; });
    if (found == processes.end()) {
      *error = "the layer did not come up in worker " + std::to_string(worker.pid) +
               ": the controller does not know it; see XSCHED_HSA_LOG=debug";
      return false;
    }
    if (!AddWorker(*found, worker, proof, error)) return false;
  }
  proof->layer_loaded = true;
  return true;
}

LayerSession::~LayerSession() {
  controller_.Terminate();
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

bool LayerSession::Start(const std::vector<std::string>& arguments, std::string* error) {
  char folder[] = "/tmp/dual-model-XXXXXX";
  if (mkdtemp(folder) == nullptr) {
    *error = std::string("can't make a folder in /tmp: ") + std::strerror(errno);
    return false;
  }
  folder_ = folder;
  socket_ = folder_ + "/control.sock";
  ChildOptions options;
  options.command = {InstallPaths().bin_folder + "/xsched-hsad", "--socket", socket_, "--log-level",
                     "warn"};
  ReplayClock clock(1);
  if (!ReplayClock::FromEnvironment(&clock, error)) return false;
  if (const double scale = clock.scale(); scale != 1) {
    options.command.insert(options.command.end(),
                           {"--window-us", std::to_string(std::lround(kWindowUs * scale)),
                            "--linger-us", std::to_string(std::lround(kLingerUs * scale))});
  }
  options.command.insert(options.command.end(), arguments.begin(), arguments.end());
  options.unset = {"HSA_TOOLS_LIB"};
  // While the simulated clock stands nothing that they measure goes on: see clock_page.h. Workers
  // inherit it.
  setenv(kClockForEnv, kClockFor, 0);
  if (!controller_.Start(options, error)) return false;
  const std::int64_t give_up_ns = MonotonicNs() + kControllerStartNs;
  while (!Connects(socket_)) {
    if (controller_.WaitForEnd(10)) {
      *error = "xsched-hsad exited with " + std::to_string(controller_.exit_code()) +
               "; what it said is above";
      return false;
    }
    if (MonotonicNs() > give_up_ns) {
      *error = "xsched-hsad did not open " + socket_ + " within 10 s";
      return false;
    }
  }
  return true;
}

std::vector<std::string> LayerSession::Wrap(const std::string& priority,
                                            const std::vector<std::string>& command) const {
  std::vector<std::string> wrapped = {InstallPaths().bin_folder + "/xsched-hsa-ctl",
                                      "run",
                                      "--priority",
                                      priority,
                                      "--socket",
                                      socket_,
                                      "--"};
  wrapped.insert(wrapped.end(), command.begin(), command.end());
  return wrapped;
}

bool LayerSession::Ask(const std::vector<std::string>& command, std::string* output,
                       std::string* error) const {
  ChildOptions options;
  options.command = {InstallPaths().bin_folder + "/xsched-hsa-ctl"};
  options.command.insert(options.command.end(), command.begin(), command.end());
  options.command.insert(options.command.end(), {"--json", "--socket", socket_});
  return RunForOutput(options, false, kListTimeoutMs, output, error);
}

bool LayerSession::StartTrace(std::string* error) const {
  std::string ignored;
  return Ask({"trace", "start"}, &ignored, error);
}

bool LayerSession::StopTrace(const std::string& path, std::string* error) const {
  std::string ignored;
  return Ask({"trace", "stop", path}, &ignored, error);
}

bool LayerSession::ReadSettings(json* settings, std::string* error) const {
  std::string policy, config;
  if (!Ask({"policy", "show"}, &policy, error) || !Ask({"config", "show"}, &config, error)) {
    return false;
  }
  *settings = json::object();
  const json policies = json::parse(policy, nullptr, false);
  if (policies.is_object() && policies.contains("policies")) {
    for (const json& one : policies["policies"]) {
      if (one.value("gpu", "") != "*") continue;  // a private controller has one for all GPUs
      (*settings)["policy"] = one.value("policy", json());
      (*settings)["parameters"] = one.value("parameters", json());
    }
  }
  const json configured = json::parse(config, nullptr, false);
  if (configured.is_object() && configured.contains("effective")) {
    (*settings)["mechanisms"] = configured["effective"].value("mechanisms", json());
  }
  return true;
}

bool LayerSession::Prove(const std::vector<WorkerIdentity>& workers, Proof* proof,
                         std::string* error) {
  std::string list, explained;
  if (!Ask({"list", "--all"}, &list, error)) return false;
  if (!ReadProof(list, workers, proof, error)) return false;
  if (!Ask({"explain"}, &explained, error)) return false;
  if (!ReadSettings(&proof->controller, error)) return false;
  const json told = json::parse(explained, nullptr, false);
  proof->decisions = json::array();
  for (const json& process : told.is_object() ? told.value("processes", json::array()) : json()) {
    for (const json& decision : process.value("decisions", json::array())) {
      proof->decisions.push_back(decision);
    }
  }
  return true;
}

}  // namespace dual_model

#include "worker_group.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "install_paths.h"
#include "replay_clock.h"

namespace dual_model {
namespace {

constexpr std::int64_t kStartDelayNs = 50'000'000;  // from "go" to the origin
constexpr int kExitTimeoutMs = 30'000;
// A virtual GPU's clock stands while its model catches up: a run may take so much longer.
constexpr double kStandingMax = 30;

}  // namespace

using nlohmann::json;

bool WorkerGroup::Run(const std::vector<const ModelSpec*>& specs, std::vector<json>* results,
                      Proof* proof) {
  if (!ReplayClock::FromEnvironment(&clock_, error_)) return false;
  for (const ModelSpec* spec : specs) {
    if (!Start(spec)) return false;
  }
  if (!WaitUntilReady() || !Go() || !StartTrace() || !WaitForHigh() || !StopTrace() || !StopLow()) {
    return false;
  }
  if (!ReadResults(results, proof)) return false;
  // While the workers still hold their queues: afterwards the controller has nothing to tell.
  // A run that can't prove itself still ends in order: what the programs did is worth knowing.
  if (layer_ != nullptr && !layer_->Prove(identities_, proof, &proof->unproven)) {
    proof->layer_loaded = false;
  }
  return LetGo(proof->unproven.empty());
}

std::vector<std::string> WorkerGroup::Command(const ModelSpec& spec, int fd,
                                              const std::string& result_path) const {
  std::vector<std::string> command = options_.worker;
  if (command.empty()) command = {InstallPaths().executable};
  for (const std::string& word :
       {std::string("worker"), std::string("--control-fd"), std::to_string(fd),
        std::string("--result"), result_path, std::string("--seconds"),
        std::to_string(options_.seconds), std::string("--warm-up"),
        std::to_string(options_.warm_up_s), std::string("--gpu"), std::to_string(options_.gpu),
        std::string("--timeout"), std::to_string(options_.timeout_s)}) {
    command.push_back(word);
  }
  const auto scale = options_.scale_ms.find(spec.model);
  if (scale != options_.scale_ms.end()) {
    command.insert(command.end(), {"--target-ms", std::to_string(scale->second)});
  }
  if (spec.rate_per_s > 0) {
    command.insert(command.end(), {"--rate", std::to_string(spec.rate_per_s)});
  }
  if (options_.open_loop) command.push_back("--open-loop");
  command.push_back(spec.file + ":" + spec.model);
  return command;
}

bool WorkerGroup::Start(const ModelSpec* spec) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return Fail(std::string("socketpair: ") + std::strerror(errno));
  }
  Worker worker;
  worker.spec = spec;
  worker.high = spec->rate_per_s > 0;
  worker.channel = ControlChannel(ends[0]);
  worker.result_path = folder_ + "/worker" + std::to_string(workers_.size()) + ".json";
  ChildOptions child;
  child.command = Command(*spec, ends[1], worker.result_path);
  child.keep_fds = {ends[1]};
  child.unset = {"HSA_TOOLS_LIB", "XSCHED_HSA_PRIORITY", "XSCHED_HSA_SOCKET"};
  if (layer_ != nullptr) child.command = layer_->Wrap(worker.high ? "high" : "low", child.command);
  const bool started = worker.process.Start(child, error_);
  close(ends[1]);
  workers_.push_back(std::move(worker));
  return started;
}

bool WorkerGroup::WaitUntilReady() {
  for (Worker& worker : workers_) {
    std::string line;
    std::int64_t pid = 0;
    if (!WaitForLine(&worker, double(options_.timeout_s), &line)) return false;
    if (!ParseNumberAfter(line, "ready", &pid)) return Unexpected(&worker, line);
    worker.pid = static_cast<pid_t>(pid);
  }
  return true;
}

bool WorkerGroup::Go() {
  origin_ns_ = clock_.NowNs() + kStartDelayNs;
  for (Worker& worker : workers_) {
    if (!worker.channel.Send("go " + std::to_string(origin_ns_))) return Gone(&worker);
  }
  return true;
}

bool WorkerGroup::StartTrace() {
  if (options_.trace_path.empty()) return true;
  const std::int64_t counts_ns = origin_ns_ + clock_.MachineNs(options_.warm_up_s * 1e9);
  if (!clock_.WaitUntil(counts_ns)) return Fail(kDeadClock);
  return !AnyEnded() && layer_->StartTrace(error_);
}

bool WorkerGroup::StopTrace() {
  return options_.trace_path.empty() || layer_->StopTrace(options_.trace_path, error_);
}

bool WorkerGroup::WaitForHigh() {
  bool any_high = false;
  for (Worker& worker : workers_) {
    if (!worker.high) continue;
    any_high = true;
    if (!WaitForDone(&worker, kStandingMax * MachineSeconds() + options_.timeout_s)) return false;
  }
  if (!any_high && !clock_.WaitUntil(origin_ns_ + std::int64_t(MachineSeconds() * 1e9))) {
    return Fail(kDeadClock);
  }
  return true;
}

bool WorkerGroup::StopLow() {
  const std::string stop = "stop " + std::to_string(clock_.NowNs());
  for (Worker& worker : workers_) {
    if (!worker.high && !worker.channel.Send(stop)) return Gone(&worker);
  }
  for (Worker& worker : workers_) {
    if (!worker.high && !WaitForDone(&worker, options_.timeout_s)) return false;
  }
  return true;
}

bool WorkerGroup::ReadResults(std::vector<json>* results, Proof* proof) {
  for (Worker& worker : workers_) {
    std::ifstream file(worker.result_path);
    const json result = json::parse(file, nullptr, false);
    if (result.is_discarded()) return Fail("worker " + worker.spec->model + " left no result");
    const json& check = result.at("check");
    const std::uint64_t submitted = check.at("packets_submitted");
    proof->packets_submitted += submitted;
    proof->packets_completed += check.at("packets_completed").get<std::uint64_t>();
    identities_.push_back({worker.pid, worker.high, submitted});
    results->push_back(result);
  }
  return true;
}

bool WorkerGroup::LetGo(bool proven) {
  for (Worker& worker : workers_) worker.channel.Send("exit");
  for (Worker& worker : workers_) {
    if (!worker.process.WaitForEnd(kExitTimeoutMs)) {
      return Fail("worker " + worker.spec->model + " does not end");
    }
    // Without its controller the launcher around the worker says that it can't vouch for the layer.
    if (proven && worker.process.exit_code() != 0) {
      return Fail("worker " + worker.spec->model + " ended with exit code " +
                  std::to_string(worker.process.exit_code()));
    }
  }
  return true;
}

bool WorkerGroup::WaitForDone(Worker* worker, double timeout_s) {
  std::string line;
  if (!WaitForLine(worker, timeout_s, &line)) return false;
  return line == "done" || Unexpected(worker, line);
}

bool WorkerGroup::WaitForLine(Worker* worker, double timeout_s, std::string* line) {
  const std::int64_t give_up_ns = MonotonicNs() + std::int64_t(timeout_s * 1e9);
  for (;;) {
    switch (worker->channel.Receive(200, line)) {
      case ChannelStatus::kLine:
        return true;
      case ChannelStatus::kClosed:
        return Gone(worker);
      case ChannelStatus::kTimeout:
        break;
    }
    if (AnyEnded()) return false;
    if (MonotonicNs() > give_up_ns) {
      return Fail("worker " + worker->spec->model + " did not answer in time");
    }
  }
}

bool WorkerGroup::AnyEnded() {
  for (Worker& worker : workers_) {
    if (worker.process.WaitForEnd(0)) {
      Gone(&worker);
      return true;
    }
  }
  return false;
}

bool WorkerGroup::Gone(Worker* worker) {
  std::string line;
  while (worker->channel.Receive(0, &line) == ChannelStatus::kLine) {
    if (line.rfind("error ", 0) == 0) return Unexpected(worker, line);
  }
  worker->process.WaitForEnd(2000);
  if (worker->process.exit_code() == 2) bad_input_ = true;
  return Fail("worker " + worker->spec->model + " ended early with exit code " +
              std::to_string(worker->process.exit_code()));
}

bool WorkerGroup::Unexpected(Worker* worker, const std::string& line) {
  if (line.rfind("error ", 0) != 0) {
    return Fail("worker " + worker->spec->model + " said '" + line + "'");
  }
  worker->process.WaitForEnd(5000);
  if (worker->process.exit_code() == 2) bad_input_ = true;
  return Fail(line.substr(6));
}

bool WorkerGroup::Fail(const std::string& text) {
  *error_ = text;
  return false;
}

double WorkerGroup::MachineSeconds() const {
  return (options_.warm_up_s + options_.seconds) * clock_.scale();
}

}  // namespace dual_model

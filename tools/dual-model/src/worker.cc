#include "worker.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "control_channel.h"
#include "replay_queue.h"

namespace dual_model {
namespace {

using nlohmann::json;

// SIGTERM ends a replay early but in order: what was submitted completes and is accounted for.
volatile std::sig_atomic_t g_terminated = 0;

// One request or iteration, machine time.
struct Sample {
  std::int64_t due_ns, start_ns, end_ns;
};

class Worker {
 public:
  explicit Worker(const WorkerOptions& options)
      : options_(options), channel_(options.control_fd), clock_(1) {}

  int Run() {
    const bool ok = Prepare() && WarmUp() && WaitForStart() && Replay() && Finish();
    if (!ok) Report();
    queue_.reset();
    device_.reset();
    return ok ? 0 : exit_code_;
  }

 private:
  bool high() const { return options_.spec.rate_per_s > 0; }

  bool BadInput(bool ok) {
    if (!ok) exit_code_ = 2;
    return ok;
  }

  bool Check(HsaStatus status) {
    if (status == HsaStatus::kNoDevice) exit_code_ = 2;
    return status == HsaStatus::kOk;
  }

  bool Prepare() {
    if (!BadInput(ReplayClock::FromEnvironment(&clock_, &error_))) return false;
    if (!BadInput(LoadWorkload(options_.spec, &model_, &error_))) return false;
    if (!Check(HsaDevice::Open(options_.gpu, &device_, &error_))) return false;
    if (!Check(device_->LoadKernels(&error_))) return false;
    if (!BadInput(MakeReplayPlan(model_, device_->shape(), options_.target_ms, &plan_, &error_))) {
      return false;
    }
    queue_ = ReplayQueue::Create(device_.get(), plan_, clock_, options_.ring_packets,
                                 std::int64_t{options_.timeout_s} * 1'000'000'000, &error_);
    return queue_ != nullptr;
  }

  bool WarmUp() { return queue_->RunIteration(&error_); }

  bool WaitForStart() {
    if (!channel_.open()) {
      begin_ns_ = clock_.NowNs();
    } else {
      if (!channel_.Send("ready " + std::to_string(getpid()))) return ParentGone();
      std::string line;
      if (!WaitForLine(&line)) return false;
      if (!ParseNumberAfter(line, "go", &begin_ns_)) return Unexpected(line);
    }
    origin_ns_ = begin_ns_ + clock_.MachineNs(options_.warm_up_s * 1e9);
    end_ns_ = origin_ns_ + clock_.MachineNs(options_.seconds * 1e9);
    return clock_.WaitUntil(begin_ns_) || DeviceDead();
  }

  bool Replay() { return high() ? ReplayRequests() : ReplayBackToBack(); }

  bool ReplayRequests() {
    const double period_ns = 1e9 / options_.spec.rate_per_s;
    std::int64_t due_ns = begin_ns_;
    for (std::uint64_t i = 0; due_ns < end_ns_ && g_terminated == 0; ++i) {
      if (options_.open_loop) due_ns = begin_ns_ + clock_.MachineNs(double(i) * period_ns);
      if (due_ns >= end_ns_) break;
      if (!clock_.WaitUntil(due_ns)) return DeviceDead();
      const std::int64_t start_ns = clock_.NowNs();
      if (!queue_->RunIteration(&error_)) return false;
      samples_.push_back({due_ns, start_ns, clock_.NowNs()});
      if (!options_.open_loop) due_ns = start_ns + clock_.MachineNs(period_ns);
    }
    stop_ns_ = end_ns_;
    return true;
  }

  bool ReplayBackToBack() {
    stop_ns_ = channel_.open() ? INT64_MAX : end_ns_;
    while (clock_.NowNs() < stop_ns_ && g_terminated == 0) {
      const std::int64_t start_ns = clock_.NowNs();
      if (!queue_->RunIteration(&error_)) return false;
      samples_.push_back({start_ns, start_ns, clock_.NowNs()});
      if (!PollForStop()) return false;
    }
    return true;
  }

  bool PollForStop() {
    if (!channel_.open()) return true;
    std::string line;
    switch (channel_.Receive(0, &line)) {
      case ChannelStatus::kTimeout:
        return true;
      case ChannelStatus::kClosed:
        return ParentGone();
      case ChannelStatus::kLine:
        break;
    }
    return ParseNumberAfter(line, "stop", &stop_ns_) || Unexpected(line);
  }

  bool Finish() {
    const ReplayCheck check = queue_->Check();
    if (!check.Passed()) {
      error_ = "packets were lost, repeated or reordered: " + check.Text();
      return false;
    }
    if (!WriteResult(check)) return false;
    if (!channel_.open()) return true;
    if (!channel_.Send("done")) return ParentGone();
    std::string line;
    return WaitForLine(&line) && (line == "exit" || Unexpected(line));
  }

  bool WriteResult(const ReplayCheck& check) {
    const std::string text = Result(check).dump() + "\n";
    if (options_.result_path.empty()) return std::fputs(text.c_str(), stdout) >= 0;
    std::ofstream file(options_.result_path, std::ios::trunc);
    if (file << text && file.flush()) return true;
    error_ = "can't write " + options_.result_path + ": " + std::strerror(errno);
    return false;
  }

  json Result(const ReplayCheck& check) const {
    json samples = json::array();
    for (const Sample& sample : samples_) {
      // Open loop: what a client sees counts from the arrival.
      const std::int64_t from_ns = options_.open_loop ? sample.due_ns : sample.start_ns;
      // An iteration that reaches over the origin counts, with all of its time; a request does not.
      if (high() ? from_ns < origin_ns_ : sample.end_ns <= origin_ns_ || sample.end_ns > stop_ns_) {
        continue;
      }
      samples.push_back({Rounded(clock_.DeviceMs(from_ns - origin_ns_)),
                         Rounded(clock_.DeviceMs(sample.end_ns - from_ns))});
    }
    return {{"model", model_.name},
            {"batch", model_.batch},
            {"role", high() ? "high" : "low"},
            {"rate_per_s", options_.spec.rate_per_s},
            {"pid", getpid()},
            {"samples", samples},  // [start_ms, duration_ms] since the origin, device time
            {"time_scale", clock_.scale()},
            {"warm_up_s", options_.warm_up_s},
            {"plan",
             {{"target_ms", plan_.target_ms},
              {"basis", plan_.basis},
              {"host_bound", plan_.host_bound},
              {"host_gap_us", plan_.host_gap_ns / 1e3},
              {"factor", plan_.factor},
              {"kernel_ms", plan_.kernel_ms},
              {"kernels", plan_.kernels.size()},
              {"workgroups", plan_.workgroups},
              {"traced_on", model_.gpu}}},
            {"device",
             {{"name", device_->name()},
              {"isa", device_->isa()},
              {"compute_units", device_->shape().compute_units},
              {"lds_bytes_per_cu", device_->shape().lds_bytes_per_cu}}},
            {"launch_lag",
             {{"launches", queue_->launch_lag().launches},
              {"late", queue_->launch_lag().late},
              {"max_us", clock_.DeviceMs(queue_->launch_lag().max_ns) * 1e3}}},
            {"check",
             {{"packets_submitted", check.packets_submitted},
              {"packets_completed", check.packets_completed},
              {"workgroups_expected", check.workgroups_expected},
              {"workgroups_done", check.workgroups_done},
              {"order_errors", check.order_errors},
              {"signal_errors", check.signal_errors}}}};
  }

  static double Rounded(double ms) { return double(std::llround(ms * 1e4)) / 1e4; }

  bool WaitForLine(std::string* line) {
    for (;;) {
      switch (channel_.Receive(-1, line)) {
        case ChannelStatus::kLine:
          return true;
        case ChannelStatus::kClosed:
          return ParentGone();
        case ChannelStatus::kTimeout:
          break;
      }
    }
  }

  bool ParentGone() {
    error_ = "`dual-model run` is gone";
    return false;
  }

  bool DeviceDead() {
    error_ = kDeadClock;
    return false;
  }

  bool Unexpected(const std::string& line) {
    error_ = "unexpected message from `dual-model run`: " + line;
    return false;
  }

  void Report() {
    const std::string text = options_.spec.model + ": " + error_;
    if (channel_.open() && channel_.Send("error " + text)) return;
    std::fprintf(stderr, "dual-model worker: %s\n", text.c_str());
  }

  const WorkerOptions& options_;
  ControlChannel channel_;
  ReplayClock clock_;
  TraceModel model_;
  std::unique_ptr<HsaDevice> device_;
  ReplayPlan plan_;
  std::unique_ptr<ReplayQueue> queue_;
  // All ran together since `begin`; since `origin` it counts.
  std::int64_t begin_ns_ = 0, origin_ns_ = 0, end_ns_ = 0, stop_ns_ = 0;
  std::vector<Sample> samples_;
  std::string error_;
  int exit_code_ = 1;
};

}  // namespace

int RunWorker(const WorkerOptions& options) {
  // The default timer slack of 50 us is more than two launches of the host-bound model.
  prctl(PR_SET_TIMERSLACK, 1000);
  // Where it is allowed: on two processors this one waits for others of the machine otherwise, and a
  // late launch is the load generator's fault, which looks like the scheduler's.
  constexpr int kHighNice = -5;
  if (options.spec.rate_per_s > 0) setpriority(PRIO_PROCESS, 0, kHighNice);
  struct sigaction action = {};
  action.sa_handler = [](int) { g_terminated = 1; };
  action.sa_flags = SA_RESETHAND;  // a second one ends the program at once
  sigaction(SIGTERM, &action, nullptr);
  return Worker(options).Run();
}

}  // namespace dual_model

#include "reaction.h"

#include <hsa/amd_hsa_queue.h>
#include <sched.h>
#include <xsched_hsa.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "child_process.h"
#include "distribution.h"
#include "install_paths.h"
#include "layer_session.h"
#include "plans.h"

namespace device_measurements {
namespace {

constexpr std::uint32_t kRingPackets = 1024;
constexpr std::int64_t kTimeoutNs = 60'000'000'000;
constexpr int kInsideTimeoutMs = 300'000;
constexpr int kHighPriority = 15;
// The plan holds for the first requests whatever it might do, to learn how long they take.
constexpr int kLearningRounds = 6;

struct Moved {
  double published_us = 0, device_us = 0;
  // Of the low queue: had it packets that could be held, and were they?
  bool could_hold = false, held = false;
};

// A low queue that always has work, and an urgent one.
class Rivals {
 public:
  Rivals(const Bench& bench, const dual_model::ReplayPlan& low, const dual_model::ReplayPlan& high)
      : bench_(bench), low_plan_(low), high_plan_(high) {}
  ~Rivals() { StopLow(); }

  bool Start(std::string* error) {
    for (auto [queue, plan] : {std::pair{&low_, &low_plan_}, {&high_, &high_plan_}}) {
      *queue = dual_model::ReplayQueue::Create(bench_.device, *plan, bench_.clock, kRingPackets,
                                               kTimeoutNs, error);
      if (*queue == nullptr) return false;
    }
    if (xsched_hsa_set_queue_priority(high_->handle(), kHighPriority) != XSCHED_HSA_OK) {
      *error = "the layer does not manage this program's queues; is XSCHED_HSA_GATE set?";
      return false;
    }
    feeder_ = std::thread([this] {
      while (!over_ && low_->RunIteration(&low_error_)) {
      }
    });
    return true;
  }

  // One request.
  bool React(Moved* moved, std::string* error) {
    std::atomic<std::int64_t> began_ns{0};
    std::atomic<bool> done{false};
    bool ran = false;
    const std::uint64_t holds = Holds();
    std::thread urgent([&] {
      began_ns = bench_.clock.NowNs();
      ran = high_->RunIteration(error);
      done = true;
    });
    const auto since_us = [&] {
      return bench_.clock.DeviceMs(bench_.clock.NowNs() - began_ns) * 1000;
    };
    std::uint64_t published = Published(), workgroups = Workgroups();
    *moved = {};
    while (!done) {
      const bool began = began_ns != 0;
      const std::uint64_t published_now = Published(), workgroups_now = Workgroups();
      if (began && published_now != published) moved->published_us = since_us();
      if (began && workgroups_now != workgroups) moved->device_us = since_us();
      moved->could_hold |= began && Submitted() > published_now;
      published = published_now;
      workgroups = workgroups_now;
      sched_yield();
    }
    urgent.join();
    moved->held = Holds() != holds;
    return ran;
  }

  bool Finish(const char* check, Record* record, std::string* error) {
    StopLow();
    *error = low_error_;
    record->Check(std::string(check) + ", low", low_->Check().Passed(), low_->Check().Text());
    record->Check(std::string(check) + ", high", high_->Check().Passed(), high_->Check().Text());
    return low_error_.empty();
  }

 private:
  // Where the packet processor may read up to; the API would tell what the program has reserved.
  std::uint64_t Published() const {
    const auto* queue = reinterpret_cast<const amd_queue_t*>(low_->handle());
    return __atomic_load_n(&queue->write_dispatch_id, __ATOMIC_ACQUIRE);
  }
  std::uint64_t Submitted() const { return hsa_queue_load_write_index_relaxed(low_->handle()); }
  std::uint64_t Workgroups() const { return low_->WorkgroupsDone(); }
  // Of all queues of this program; nobody holds the urgent one.
  static std::uint64_t Holds() {
    xsched_hsa_state state{};
    state.size_bytes = sizeof(state);
    return xsched_hsa_get_state(&state) == XSCHED_HSA_OK ? state.holds : 0;
  }
  void StopLow() {
    over_ = true;
    if (feeder_.joinable()) feeder_.join();
  }

  const Bench& bench_;
  const dual_model::ReplayPlan low_plan_, high_plan_;
  std::unique_ptr<dual_model::ReplayQueue> low_, high_;
  std::atomic<bool> over_{false};
  std::string low_error_;
  std::thread feeder_;  // last: it uses the others
};

struct Scene {
  const char* what;
  dual_model::ReplayPlan low, high;
  const char *published, *device;  // names in the record; null: not asked
};

bool Play(const Bench& bench, const Scene& scene, Record* record, std::string* error) {
  Rivals rivals(bench, scene.low, scene.high);
  if (!rivals.Start(error)) return false;
  std::vector<double> published, device;
  int held_in = 0, of = 0;
  for (int i = -kLearningRounds; i < bench.effort.reactions; ++i) {
    // Never in step with the low queue's kernels.
    const double pause_ms = 5 + 0.37 * ((i + kLearningRounds) % 7);
    bench.clock.WaitUntil(bench.clock.NowNs() + bench.clock.MachineNs(pause_ms * 1e6));
    Moved moved;
    if (!rivals.React(&moved, error)) return false;
    if (i < 0) continue;
    published.push_back(moved.published_us);
    device.push_back(moved.device_us);
    // Between two of its iterations the low queue has nothing to hold, for as long as the host takes.
    of += moved.could_hold ? 1 : 0;
    held_in += moved.could_hold && moved.held ? 1 : 0;
  }
  if (scene.published != nullptr) record->measured[scene.published] = Distribution(published);
  record->measured[scene.device] = Distribution(device);
  // A request may end while the low queue's packets are on their way to the gate.
  record->Check(std::string("an urgent doorbell closes the gate, ") + scene.what,
                of > 0 && held_in * 4 >= of * 3,
                "the low queue was held in " + std::to_string(held_in) + " of " +
                    std::to_string(of) + " requests in which it had packets to hold, of " +
                    std::to_string(bench.effort.reactions));
  return rivals.Finish(scene.what, record, error);
}

}  // namespace

bool ReactInside(const Bench& bench, Record* record, std::string* error) {
  // A request is a train of kernels: one alone counts as taken as soon as it begins. What is suspended
  // for has to feel what runs beside it.
  const Scene scenes[] = {
      {"short kernels", Filling(*bench.device, 20'000, 1, 64), Tiny(100'000, 40), "gate_closed_us",
       "device_left_us"},
      {"long kernels", Filling(*bench.device, 500'000, 8, 4), Filling(*bench.device, 50'000, 1, 60),
       nullptr, "device_left_long_kernels_us"}};
  for (const Scene& scene : scenes) {
    if (!Play(bench, scene, record, error)) return false;
  }
  return true;
}

bool MeasureReaction(const Bench& bench, Record* record, std::string* error) {
  dual_model::LayerSession session;
  // What does not squeeze, leaves.
  if (!session.Start({"--mechanisms", "suspend", "--delay-budget", "0"}, error)) return false;
  dual_model::ChildOptions options;
  options.command = session.Wrap(
      "low", {dual_model::InstallPaths().bin_folder + "/device-measurements", "--reaction-inside",
              std::to_string(bench.effort.reactions), "--gpu", std::to_string(bench.gpu)});
  std::string output;
  if (!dual_model::RunForOutput(options, false, kInsideTimeoutMs, &output, error)) return false;
  const auto inside = nlohmann::json::parse(output, nullptr, false);
  if (!inside.is_object()) return *error = "no result from under the layer", false;
  record->measured.update(inside["measured"]);
  for (const auto& check : inside["checks"]) record->checks.push_back(check);
  return true;
}

}  // namespace device_measurements

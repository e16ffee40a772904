#include "measurements.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <thread>

#include "distribution.h"
#include "plans.h"
#include "priority_probe.h"

namespace device_measurements {
namespace {

using dual_model::ReplayKernel;
using dual_model::ReplayPlan;

constexpr double kUs = 1000;  // in a millisecond
constexpr std::uint32_t kBytesPerVgpr = 64 * 4;

std::string Text(const char* format, double a, double b = 0, double c = 0) {
  char text[256];
  std::snprintf(text, sizeof(text), format, a, b, c);
  return text;
}

void Pause(const Bench& bench, double ms) {
  bench.clock.WaitUntil(bench.clock.NowNs() + bench.clock.MachineNs(ms * 1e6));
}

// A queue's kernels back to back in a thread of their own, until Stop.
class Busy {
 public:
  explicit Busy(dual_model::ReplayQueue* queue)
      : thread_([this, queue] {
          while (!stop_ && queue->RunIteration(&error_)) ++iterations_;
        }) {}
  ~Busy() { Join(); }
  bool Stop(std::string* error) {
    Join();
    *error = error_;
    return error_.empty();
  }

 private:
  void Join() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  std::atomic<bool> stop_{false};
  std::uint64_t iterations_ = 0;
  std::string error_;
  std::thread thread_;  // last: it uses the others
};

void CheckOnce(const char* name, const dual_model::ReplayQueue& queue, Record* record) {
  record->Check(name, queue.Check().Passed(), queue.Check().Text());
}

bool RunTimed(const Bench& bench, DrivenQueue* queue, int times, std::vector<double>* ms,
              std::string* error) {
  for (int i = 0; i < times; ++i) {
    const std::int64_t began_ns = bench.clock.NowNs();
    if (!queue->replay().RunIteration(error)) return false;
    ms->push_back(bench.clock.DeviceMs(bench.clock.NowNs() - began_ns));
  }
  return true;
}

std::vector<double> Scaled(std::vector<double> values, double factor) {
  for (double& value : values) value *= factor;
  return values;
}

}  // namespace

void Record::Check(const std::string& name, bool passed, const std::string& text) {
  checks.push_back({{"name", name}, {"passed", passed}, {"text", text}});
}

bool Record::AllPassed() const {
  for (const auto& check : checks) {
    if (!check["passed"]) return false;
  }
  return true;
}

bool MeasurePackets(const Bench& bench, Record* record, std::string* error) {
  constexpr std::size_t kKernels = 500;
  constexpr std::uint32_t kWorkgroupNs = 1000;
  const ReplayPlan plan = Tiny(kWorkgroupNs, kKernels);
  const auto queue = DrivenQueue::Create(bench.device, plan, bench.clock, bench.node, error);
  if (queue == nullptr) return false;
  std::vector<double> ms;
  if (!RunTimed(bench, queue.get(), bench.effort.iterations, &ms, error)) return false;
  const std::vector<double> us = Scaled(ms, kUs / kKernels);
  record->measured["dependent_packet_us"] = Distribution(us);
  const double launch_ns = Median(us) * 1000 - kWorkgroupNs;
  record->params["packet_launch_ns"] = std::lround(std::max(launch_ns, 0.0));
  CheckOnce("short kernels", queue->replay(), record);
  return true;
}

bool MeasureCycle(const Bench& bench, Record* record, std::string* error) {
  const ReplayPlan none, shorts = Tiny(20'000, 250);
  const auto idle = DrivenQueue::Create(bench.device, none, bench.clock, bench.node, error);
  if (idle == nullptr) return false;
  std::vector<double> cycles;
  double ms = 0;
  for (int i = 0; i < bench.effort.cycles; ++i) {
    if (!idle->Resume(&ms, error)) return false;  // it never was suspended: an update of nothing
    cycles.push_back(ms);
  }
  record->measured["cycle_idle_us"] = Distribution(Scaled(cycles, kUs));
  record->params["runlist_cycle_ns"] = std::lround(Median(cycles) * 1e6);

  const auto neighbour = DrivenQueue::Create(bench.device, shorts, bench.clock, bench.node, error);
  if (neighbour == nullptr) return false;
  std::vector<double> undisturbed, disturbed;
  if (!RunTimed(bench, neighbour.get(), bench.effort.iterations, &undisturbed, error)) return false;
  int felt = 0;
  for (int i = 0; i < bench.effort.iterations; ++i) {
    std::vector<double> one;
    std::string failure;
    std::thread other([&] { RunTimed(bench, neighbour.get(), 1, &one, &failure); });
    Pause(bench, 1);
    const bool updated = idle->Resume(&ms, error);
    other.join();
    if (!updated) return false;
    if (one.empty()) return *error = failure, false;
    disturbed.push_back(one.front());
    ++felt;
  }
  const double us = (Median(disturbed) - Median(undisturbed)) * kUs;
  record->measured["cycle_felt_by_neighbour_us"] = us;
  record->measured["neighbour_iterations"] = felt;
  CheckOnce("a neighbour's kernels under cycles", neighbour->replay(), record);
  return true;
}

bool MeasureSuspend(const Bench& bench, Record* record, std::string* error) {
  const ReplayPlan plan = Filling(*bench.device, 500'000, 8, 4);
  const auto queue = DrivenQueue::Create(bench.device, plan, bench.clock, bench.node, error);
  if (queue == nullptr) return false;
  Busy busy(&queue->replay());
  std::vector<double> suspends, resumes;
  int moved = 0;
  for (int i = 0; i < bench.effort.suspends; ++i) {
    Pause(bench, 2 + 0.37 * (i % 5));  // not always in the same place of a kernel
    double ms = 0;
    if (!queue->Suspend(&ms, error)) return false;
    suspends.push_back(ms);
    const std::uint64_t read = queue->read_index();
    const std::uint64_t done = queue->replay().WorkgroupsDone();
    Pause(bench, 1);
    if (queue->read_index() != read || queue->replay().WorkgroupsDone() != done) ++moved;
    if (!queue->Resume(&ms, error)) return false;
    resumes.push_back(ms);
  }
  if (!busy.Stop(error)) return false;
  record->measured["suspend_us"] = Distribution(Scaled(suspends, kUs));
  record->measured["resume_us"] = Distribution(Scaled(resumes, kUs));
  record->Check("suspended means suspended", moved == 0,
                Text("read index or finished workgroups moved in %.0f of %.0f suspensions", moved,
                     bench.effort.suspends));
  CheckOnce("kernels that were suspended", queue->replay(), record);

  // The registers alone; a wave's other state is small beside them.
  const ReplayKernel& kernel = plan.kernels.front();
  const double bytes = double(bench.device->shape().compute_units) *
                       WorkgroupsPerCu(kernel, bench.device->shape()) * kWaves * kVgprs *
                       kBytesPerVgpr;
  record->measured["waves_saved_bytes"] = bytes;
  const double cycle_ns = record->params.value("runlist_cycle_ns", 0.0);
  const double extra_ns = Median(suspends) * 1e6 - cycle_ns;
  if (cycle_ns > 0 && extra_ns > 0) record->params["cwsr_bytes_per_ns"] = bytes / extra_ns;
  return true;
}

bool MeasureMask(const Bench& bench, Record* record, std::string* error) {
  const ReplayPlan plan = Filling(*bench.device, 100'000, 8, 8);
  const auto queue = DrivenQueue::Create(bench.device, plan, bench.clock, bench.node, error);
  if (queue == nullptr) return false;
  const std::uint32_t units = bench.node.compute_units;
  // The largest half that is the same in every shader array.
  const std::uint32_t half = units / 2 / bench.node.shader_arrays * bench.node.shader_arrays;
  if (half == 0) return *error = "fewer than two compute units a shader array", false;
  std::vector<double> full_ms, half_ms, calls;
  double ms = 0;
  if (!RunTimed(bench, queue.get(), bench.effort.iterations, &full_ms, error)) return false;
  if (!queue->UseUnits(half, &ms, error)) return false;
  calls.push_back(ms);
  if (!RunTimed(bench, queue.get(), bench.effort.iterations, &half_ms, error)) return false;
  for (int i = 0; i < bench.effort.suspends; ++i) {
    if (!queue->UseUnits(i % 2 == 0 ? units : half, &ms, error)) return false;
    calls.push_back(ms);
  }
  const double slower = Median(half_ms) / Median(full_ms);
  const double expected = double(units) / half;
  record->measured["mask_us"] = Distribution(Scaled(calls, kUs));
  record->measured["slower_on_fewer_units"] = {{"units", half}, {"of", units}, {"times", slower}};
  record->Check("a CU mask takes compute units away",
                slower > 1 + (expected - 1) / 2 && slower < 2 * expected,
                Text("%.0f of %.0f units: %.2f times as long", half, units, slower));
  CheckOnce("kernels under changing masks", queue->replay(), record);
  return true;
}

bool MeasurePriority(const Bench& bench, Record* record, std::string* error) {
  dual_model::PriorityShares shares;
  if (!dual_model::MeasurePriority(bench.device, bench.clock, bench.effort.priority_s, &shares,
                                   error))
    return false;
  record->measured["priority_share"] = {{"alike", shares.alike}, {"preferred", shares.preferred}};
  record->params["pipe_priority_effective"] = shares.effective();
  return true;
}

bool Endure(const Bench& bench, Record* record, std::string* error) {
  constexpr double kPeriodMs = 100, kRestrictedMs = 20;
  const ReplayPlan plan = Filling(*bench.device, 300'000, 4, 16);
  const auto queue = DrivenQueue::Create(bench.device, plan, bench.clock, bench.node, error);
  if (queue == nullptr) return false;
  const std::uint32_t units = bench.node.compute_units, arrays = bench.node.shader_arrays;
  Busy busy(&queue->replay());
  int preemptions = 0;
  double ms = 0;
  const int rounds = static_cast<int>(bench.effort.endurance_s * 1000 / kPeriodMs);
  for (; preemptions < rounds; ++preemptions) {
    const bool squeeze = preemptions % 2 != 0;
    if (!(squeeze ? queue->UseUnits(arrays, &ms, error) : queue->Suspend(&ms, error))) return false;
    Pause(bench, kRestrictedMs);
    if (!(squeeze ? queue->UseUnits(units, &ms, error) : queue->Resume(&ms, error))) return false;
    Pause(bench, kPeriodMs - kRestrictedMs);
  }
  if (!busy.Stop(error)) return false;
  record->measured["endurance"] = {{"seconds", bench.effort.endurance_s},
                                   {"preemptions", preemptions}};
  CheckOnce("endurance", queue->replay(), record);
  return true;
}

}  // namespace device_measurements

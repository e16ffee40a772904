#include "simulation.h"

#include <algorithm>
#include <stdexcept>

#include "controller.h"

namespace ablation {
namespace {

constexpr xsched_hsa::GpuKey kGpu = 0x0301;
constexpr TimeNs kDrainMaxNs = 60'000'000'000;
constexpr TimeNs kSettleNs = 50'000'000;  // after a queue was made: orders given and followed

TimeNs Ns(double seconds) { return static_cast<TimeNs>(seconds * 1e9); }

// Decisions live in a ring of the page; a copy is taken when a later one has been made.
class DecisionLog {
 public:
  void Look(const xsched_hsa::ProcessPage& page) {
    const std::uint64_t made = page.decisions_made.load();
    while (next_ + 1 < made) Copy(page, next_++);
  }
  void Finish(const xsched_hsa::ProcessPage& page) {
    while (next_ < page.decisions_made.load()) Copy(page, next_++);
  }
  std::vector<DecisionRecord> records;

 private:
  void Copy(const xsched_hsa::ProcessPage& page, std::uint64_t number) {
    const xsched_hsa::Decision& d = page.decisions[number % xsched_hsa::kDecisionsMax];
    if (d.sequence.load() != number + 1) return;
    records.push_back({number, d.at_us, d.mechanism, d.reason, d.units_left, d.error, d.rest_ns,
                       d.cycle_ns, d.request_ns, d.predicted_delay_ns, d.predicted_cost_ns,
                       d.took_ns, d.measured_ns});
  }
  std::uint64_t next_ = 0;
};

// A batch program and all that is measured of it.
struct Low {
  std::unique_ptr<Program> program;
  std::unique_ptr<SimLayer> layer;  // null: native
  DecisionLog log;
  // At the end of the warm-up.
  double progress = 0;
  TimeNs starved_ns = 0;
  std::uint64_t device_us = 0;
  LayerCounts counts;
};

LayerCounts CountsOf(const SimLayer& layer) {
  LayerCounts counts;
  const xsched_hsa::QueueSlot& slot = layer.slot();
  counts.holds = slot.holds.load();
  counts.packets_held = slot.packets_held.load();
  counts.squeezes = slot.squeezes.load();
  counts.suspends = slot.suspends.load();
  counts.held_ms = double(slot.held_us.load()) / 1e3;
  counts.restricted_ms = double(slot.restricted_us.load()) / 1e3;
  return counts;
}

// What came since `before`, and what the layer has learnt by now.
LayerCounts Since(const LayerCounts& before, const SimLayer& layer) {
  LayerCounts now = CountsOf(layer);
  now.holds -= before.holds;
  now.packets_held -= before.packets_held;
  now.squeezes -= before.squeezes;
  now.suspends -= before.suspends;
  now.held_ms -= before.held_ms;
  now.restricted_ms -= before.restricted_ms;
  const xsched_hsa::PlanModel& model = layer.model();
  now.cycle_ns = model.cycle_samples() != 0 ? model.CycleNs() : 0;
  now.request_ns = model.RequestNs();
  now.slack_ns = model.SlackNs();
  now.co_run = model.co_run();
  for (std::uint32_t eighth = 1; eighth < 8; ++eighth) {
    now.sharing.push_back(model.SharingOf(eighth / 8.0));
  }
  return now;
}

class Simulation {
 public:
  explicit Simulation(const RunSetup& setup)
      : setup_(setup), world_(DeviceOf(setup), setup.host, setup.seed), driver_(&world_) {
    xsched_hsa::g_hold_is_enough = setup.mechanisms.hold_is_enough;
    std::uint64_t serial = 1;
    if (setup.high)
      high_ =
          std::make_unique<Program>(&world_, *setup.high, setup.rate_per_s, setup.jitter, serial);
    lows_.resize(setup.lows.size());
    for (std::size_t i = 0; i < lows_.size(); ++i) {
      lows_[i].program = std::make_unique<Program>(&world_, setup.lows[i].plan, 0, 0, ++serial);
    }
  }
  ~Simulation() { xsched_hsa::g_hold_is_enough = true; }

  RunResult Run() {
    MakePrograms();
    const TimeNs start = world_.now();
    begin_ = start + Ns(setup_.warm_up_s);
    end_ = begin_ + Ns(setup_.seconds);
    for (Low& low : lows_) low.program->Start(start);
    // Another phase for each seed.
    const double phase = (world_.DrawUniform() + 1) / 2 / setup_.rate_per_s;
    if (high_) high_->Start(start + Ns(phase));
    RunTo(begin_);
    for (Low& low : lows_) BeginMeasuring(&low);
    RunTo(end_);
    RunResult result;
    for (Low& low : lows_) result.lows.push_back(EndMeasuring(low));
    Drain();
    for (std::size_t i = 0; i < lows_.size(); ++i) {
      if (lows_[i].layer) result.lows[i].layer.decisions = DecisionsOf(&lows_[i]);
    }
    Collect(&result);
    return result;
  }

 private:
  static virtual_gpu::DeviceParams DeviceOf(const RunSetup& setup) {
    virtual_gpu::DeviceParams params = setup.device;
    params.seed += setup.seed;
    return params;
  }

  // One program after the other, as people start them.
  void MakePrograms() {
    const Mechanisms& m = setup_.mechanisms;
    if (m.layer) {
      controller_ = std::make_unique<Controller>(&world_, m);
      controller_->Know(kGpu, setup_.device);
    }
    std::uint64_t process = 1;
    for (std::size_t i = 0; i < lows_.size(); ++i) {
      Low* low = &lows_[i];
      MakeQueue(low->program.get(), ++process, m.low_priority, m.reserved_units);
      if (m.layer) {
        xsched_hsa::ProgramClass ordered;
        ordered.weight = setup_.lows[i].weight;
        if (m.high_share_permille != 0) {
          ordered.share_permille =
              static_cast<std::uint32_t>((1000 - m.high_share_permille) / lows_.size());
        }
        low->layer = MakeLayer(low->program.get(), xsched_hsa::kPriorityLow, ordered);
        world_.AfterEach([low] { low->log.Look(*low->layer->page()); });
      }
      RunTo(world_.now() + kSettleNs);
    }
    if (!high_) return;
    MakeQueue(high_.get(), 1, m.high_priority, 0);
    if (m.layer) {
      xsched_hsa::ProgramClass ordered;
      if (m.latency_target_us != 0) ordered.latency_target_us = m.latency_target_us;
      if (m.high_share_permille != 0) ordered.share_permille = m.high_share_permille;
      high_layer_ = MakeLayer(high_.get(), xsched_hsa::kPriorityHigh, ordered);
    }
    RunTo(world_.now() + kSettleNs);
  }

  void MakeQueue(Program* program, std::uint64_t process, std::uint32_t priority,
                 std::uint32_t reserved_units) {
    Ring* ring = program->ring();
    ring->Connect(driver_.Create(ring, process, priority));
    if (reserved_units == 0) return;
    const std::uint32_t units = Units(setup_.device);
    // A dispatch with a workgroup for an XCC without compute units never ends.
    if (reserved_units + setup_.device.xccs * setup_.device.ses_per_xcc > units) {
      throw std::runtime_error("a reserve of " + std::to_string(reserved_units) +
                               " compute units leaves some shader engine with none");
    }
    std::vector<std::uint32_t> mask((units + 31) / 32);
    for (std::uint32_t i = 0; i + reserved_units < units; ++i) mask[i / 32] |= 1u << (i % 32);
    TimeNs returns_at = 0;
    world_.device().SetCuMask(world_.now(), ring->device_id(), mask, &returns_at);
  }

  std::unique_ptr<SimLayer> MakeLayer(Program* program, int priority,
                                      const xsched_hsa::ProgramClass& ordered) {
    auto layer = std::make_unique<SimLayer>(&world_, &driver_, priority);
    layer->Manage(program->ring(), setup_.device, kGpu);
    controller_->Join(layer.get(), priority, ordered);
    program->Use(layer.get());
    return layer;
  }

  void RunTo(TimeNs when) {
    world_.Run(when, [] { return false; });
  }

  static void BeginMeasuring(Low* low) {
    low->progress = low->program->Progress();
    low->starved_ns = low->program->ring()->starved_ns();
    if (!low->layer) return;
    low->device_us = low->layer->slot().device_us.load();
    low->counts = CountsOf(*low->layer);
  }

  LowResult EndMeasuring(const Low& low) const {
    LowResult result;
    result.per_s = (low.program->Progress() - low.progress) / setup_.seconds;
    result.starved_ms = double(low.program->ring()->starved_ns() - low.starved_ns) / 1e6;
    if (!low.layer) return result;
    result.device_ms = double(low.layer->slot().device_us.load() - low.device_us) / 1e3;
    result.layer = Since(low.counts, *low.layer);
    return result;
  }

  std::vector<DecisionRecord> DecisionsOf(Low* low) const {
    low->log.Finish(*low->layer->page());
    std::vector<DecisionRecord> records = std::move(low->log.records);
    std::erase_if(records, [this](const DecisionRecord& record) {
      const TimeNs at = static_cast<TimeNs>(record.at_us * 1000);
      return at < begin_ || at >= end_;
    });
    return records;
  }

  static bool IsQuiet(const Program& program, const SimLayer* layer) {
    return program.idle() && (layer == nullptr || !(layer->preempting() || layer->restricted()));
  }
  bool IsQuiet() const {
    if (high_ && !IsQuiet(*high_, high_layer_.get())) return false;
    return std::all_of(lows_.begin(), lows_.end(),
                       [](const Low& low) { return IsQuiet(*low.program, low.layer.get()); });
  }

  void Drain() {
    if (high_) high_->Stop();
    for (Low& low : lows_) low.program->Stop();
    if (world_.Run(world_.now() + kDrainMaxNs, [this] { return IsQuiet(); })) return;
    faults_.push_back("not everything completed within " +
                      std::to_string(kDrainMaxNs / 1'000'000'000) + " s after the end");
  }

  void Count(const std::string& name, Program* program, RunResult* result) {
    const Ring& ring = *program->ring();
    if (ring.Faults() != 0) {
      faults_.push_back(name + ": " + std::to_string(ring.Faults()) +
                        " packets out of order or not once");
    }
    if (ring.written() != ring.completed() || ring.workgroups() != ring.workgroups_written()) {
      faults_.push_back(name + ": packets written " + std::to_string(ring.written()) +
                        ", completed " + std::to_string(ring.completed()) +
                        "; workgroups written " + std::to_string(ring.workgroups_written()) +
                        ", done " + std::to_string(ring.workgroups()));
    }
    result->packets += ring.completed();
    result->workgroups += ring.workgroups();
  }

  void Collect(RunResult* result) {
    if (high_) Count("high", high_.get(), result);
    for (std::size_t i = 0; i < lows_.size(); ++i) {
      Count(lows_.size() == 1 ? "low" : "low " + std::to_string(i + 1), lows_[i].program.get(),
            result);
    }
    for (const Sample& sample : high_ ? high_->samples() : std::vector<Sample>()) {
      if (sample.start_ns >= begin_ && sample.start_ns < end_) result->requests.push_back(sample);
    }
    const virtual_gpu::DeviceStats device = world_.device().GetStats();
    result->runlist_cycles = device.runlist_cycles;
    result->device_events = device.events;
    result->driver_calls = driver_.calls();
    result->faults = faults_;
  }

  const RunSetup& setup_;
  World world_;
  DeviceDriver driver_;
  std::unique_ptr<Program> high_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<SimLayer> high_layer_;  // layers go before the controller, whose pages they use
  std::vector<Low> lows_;
  TimeNs begin_ = 0, end_ = 0;
  std::vector<std::string> faults_;
};

}  // namespace

RunResult Simulate(const RunSetup& setup) { return Simulation(setup).Run(); }

}  // namespace ablation

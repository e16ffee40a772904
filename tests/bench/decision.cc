// decision-bench: what one decision takes, for 1 to 2048 queues. Google Benchmark; host time, real.
//
// Why        The controller's own code over plain memory, with nobody asleep on it: what it takes to wake
//            programs is measured where they sleep (reaction.cc). Machines are PROGRAMS/QUEUES, one urgent.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "core.h"
#include "fake_layer.h"
#include "manual_clock.h"
#include "page_waker.h"
#include "policies/registry.h"

namespace xsched_hsa {
namespace {

void DecidePolicy(benchmark::State& state, const char* name) {
  const auto queues = static_cast<std::size_t>(state.range(0));
  std::vector<QueueView> views(queues);
  for (std::size_t i = 0; i < queues; ++i) {
    views[i].queue = i;
    views[i].session = static_cast<std::uint32_t>(i / 32);
    views[i].priority = i < queues / 2 ? kPriorityHigh : kPriorityLow;
    views[i].active = views[i].exposed = true;
    views[i].pending_packets = 1;
  }
  Snapshot snapshot;
  snapshot.now_us = 1'000'000;
  snapshot.elapsed_us = 1000;
  snapshot.queues = views;
  const std::unique_ptr<Policy> policy = MakePolicy(name, {});
  Answer answer;
  for (auto _ : state) {
    policy->Decide(snapshot, &answer);
    benchmark::DoNotOptimize(answer.queues.data());
  }
}

class Machine {
 public:
  Machine(std::int64_t sessions, std::int64_t queues)
      : core_({}, &clock_, MakePolicy("strict-priority", {}), &waker_) {
    Core::InitUserPage(user_.get(), 0);
    for (std::int64_t i = 0; i < sessions; ++i) Join(i == 0, queues);
  }
  void Event(bool active) {
    active ? layers_[0]->BecomeActive(0) : layers_[0]->BecomeIdle(0);
    core_.OnLayerEvent(ids_[0]);
  }
  void RaiseAgain() {
    layers_[0]->RaiseWord(0);
    core_.OnLayerEvent(ids_[0]);
  }
  void Renew() {
    clock_.Advance(kLeaseRenewUs);
    core_.OnTimer();
  }

 private:
  void Join(bool high, std::int64_t queues) {
    pages_.push_back(std::make_unique<ProcessPage>());
    LayerInfo info;
    info.pid = static_cast<std::int32_t>(100 + ids_.size());
    info.gate = GateKind::kWindow;
    ids_.push_back(core_.AddSession(info, pages_.back().get(), user_.get()));
    layers_.push_back(std::make_unique<testing::FakeLayer>(pages_.back().get(), user_.get(),
                                                           [this] { return clock_.NowUs(); }));
    for (std::int64_t i = 0; i < queues; ++i) {
      layers_.back()->MakeQueue(static_cast<std::uint32_t>(i), ++serial_,
                                high ? kPriorityHigh : kPriorityLow);
    }
    core_.OnLayerEvent(ids_.back());
  }

  testing::ManualClock clock_{10'000'000};
  testing::PageWaker waker_;
  std::unique_ptr<UserPage> user_ = std::make_unique<UserPage>();
  std::vector<std::unique_ptr<ProcessPage>> pages_;
  std::vector<std::unique_ptr<testing::FakeLayer>> layers_;
  std::vector<std::uint32_t> ids_;
  std::uint32_t serial_ = 0;
  Core core_;
};

// One raise and its end, each an event: the time of the two halved is an event's.
void RaiseAndEnd(benchmark::State& state) {
  Machine machine(state.range(0), state.range(1));
  for (auto _ : state) {
    machine.Event(true);
    machine.Event(false);
  }
}

// The raise alone is what a request waits for where users compete.
void Raise(benchmark::State& state) {
  Machine machine(state.range(0), state.range(1));
  machine.Event(true);
  for (auto _ : state) machine.RaiseAgain();
}

// With everybody's leases, and the policy asked again, every 15 ms while something is urgent.
void Renew(benchmark::State& state) {
  Machine machine(state.range(0), state.range(1));
  machine.Event(true);
  for (auto _ : state) machine.Renew();
}

BENCHMARK_CAPTURE(DecidePolicy, strict_priority, "strict-priority")
    ->RangeMultiplier(8)
    ->Range(1, 512)
    ->Arg(2048);
BENCHMARK_CAPTURE(DecidePolicy, weighted_fair, "weighted-fair")
    ->RangeMultiplier(8)
    ->Range(1, 512)
    ->Arg(2048);
BENCHMARK_CAPTURE(DecidePolicy, earliest_deadline, "earliest-deadline")
    ->RangeMultiplier(8)
    ->Range(1, 512)
    ->Arg(2048);
const std::vector<std::vector<std::int64_t>> kMachines = {
    {2, 1}, {8, 8}, {64, 1}, {64, 8}, {64, 32}};
void Sizes(benchmark::internal::Benchmark* benchmark) {
  for (const auto& size : kMachines) benchmark->Args(size);
}
BENCHMARK(Raise)->Apply(Sizes);
BENCHMARK(RaiseAndEnd)->Apply(Sizes);
BENCHMARK(Renew)->Apply(Sizes);

}  // namespace
}  // namespace xsched_hsa

BENCHMARK_MAIN();

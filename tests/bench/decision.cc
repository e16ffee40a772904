// decision-bench: what one decision takes, for 1 to 2048 queues. Google Benchmark; host time, real.
//
// Why        The controller's own code over plain memory, with nobody asleep on it: what it takes to wake
//            programs is measured where they sleep (reaction.cc). Machines are PROGRAMS/QUEUES, one urgent.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "test_machine.h"

namespace xsched_hsa {
namespace {

void DecidePolicy(benchmark::State& state, const char* name) {
  const auto views = testing::BusyQueues(static_cast<std::size_t>(state.range(0)));
  const Snapshot snapshot = testing::SnapshotOf(views);
  const std::unique_ptr<Policy> policy = MakePolicy(name, {});
  Answer answer;
  for (auto _ : state) {
    policy->Decide(snapshot, &answer);
    benchmark::DoNotOptimize(answer.queues.data());
  }
}

testing::TestMachine MakeMachine(const benchmark::State& state) {
  return {static_cast<std::uint32_t>(state.range(0)), static_cast<std::uint32_t>(state.range(1))};
}

void Event(testing::TestMachine* machine, bool active) {
  active ? machine->urgent().BecomeActive(0) : machine->urgent().BecomeIdle(0);
  machine->Tell();
}

// One raise and its end, each an event: the time of the two halved is an event's. Nobody had work to keep back.
void RaiseAndEnd(benchmark::State& state) {
  testing::TestMachine machine = MakeMachine(state);
  for (auto _ : state) {
    Event(&machine, true);
    Event(&machine, false);
  }
}
// Everybody had.
void RaiseAndEndAllHeld(benchmark::State& state) {
  testing::TestMachine machine = MakeMachine(state);
  for (auto _ : state) {
    Event(&machine, true);
    machine.CloseGates();
    Event(&machine, false);
  }
}

// The raise alone is what a request waits for where users compete.
void Raise(benchmark::State& state) {
  testing::TestMachine machine = MakeMachine(state);
  Event(&machine, true);
  for (auto _ : state) {
    machine.urgent().RaiseWord(0);
    machine.Tell();
  }
}

// With everybody's leases, and the policy asked again, every 12 ms while something is urgent.
void Renew(benchmark::State& state) {
  testing::TestMachine machine = MakeMachine(state);
  Event(&machine, true);
  for (auto _ : state) {
    machine.PassALease();
    machine.Renew();
  }
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
BENCHMARK(RaiseAndEndAllHeld)->Apply(Sizes);
BENCHMARK(Renew)->Apply(Sizes);

}  // namespace
}  // namespace xsched_hsa

BENCHMARK_MAIN();

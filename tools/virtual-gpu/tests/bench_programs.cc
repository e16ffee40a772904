// bench_programs.cc: load for tests/bench/virtual-gpu: how fast and how idle the device process is.
//
// Units      VIRTUAL_GPU_BENCH_QUEUES, VIRTUAL_GPU_BENCH_MS from the environment; output in host
//            time, real.

#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "hsa_harness.h"
#include "programs.h"

namespace virtual_gpu::test {
namespace {

constexpr hsa_signal_t kNoSignal = {0};

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

double Seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

std::vector<std::unique_ptr<Queue>> Queues(const Runtime& runtime) {
  std::vector<std::unique_ptr<Queue>> queues;
  const int count = FromEnvironment("VIRTUAL_GPU_BENCH_QUEUES", 1);
  for (int i = 0; i < count; ++i) queues.push_back(std::make_unique<Queue>(runtime, 1024));
  return queues;
}

// Bursts of empty packets, the last of which is waited for, on each queue in turn.
void Packets() {
  constexpr int kBurst = 512;
  const Runtime runtime;
  const auto queues = Queues(runtime);
  const hsa_signal_t done = runtime.Signal(1);
  const double until =
      Seconds(CLOCK_MONOTONIC) + FromEnvironment("VIRTUAL_GPU_BENCH_MS", 2000) / 1000.0;
  const double start = Seconds(CLOCK_MONOTONIC);
  long long packets = 0;
  while (Seconds(CLOCK_MONOTONIC) < until) {
    Queue& queue = *queues[static_cast<std::size_t>(packets / kBurst) % queues.size()];
    hsa_signal_store_relaxed(done, 1);
    for (int i = 1; i < kBurst; ++i) queue.SubmitBarrierAnd(kNoSignal, kNoSignal);
    queue.SubmitBarrierAnd(kNoSignal, done);
    EXPECT_THAT(WaitZero(done));
    packets += kBurst;
  }
  std::printf("packets_per_s %.0f\n",
              static_cast<double>(packets) / (Seconds(CLOCK_MONOTONIC) - start));
}

// Open queues and nothing to do.
void Idle() {
  const Runtime runtime;
  const auto queues = Queues(runtime);
  SleepMs(500);  // what the start leaves behind
  const double before = Seconds(CLOCK_PROCESS_CPUTIME_ID);
  const double start = Seconds(CLOCK_MONOTONIC);
  std::printf("idle\n");
  std::fflush(stdout);
  SleepMs(FromEnvironment("VIRTUAL_GPU_BENCH_MS", 2000));
  std::printf("client_cpu_percent %.2f\n", 100 * (Seconds(CLOCK_PROCESS_CPUTIME_ID) - before) /
                                               (Seconds(CLOCK_MONOTONIC) - start));
}

}  // namespace

void AddBenchPrograms(Programs* programs) {
  programs->insert({{"bench-packets", Packets}, {"bench-idle", Idle}});
}

}  // namespace virtual_gpu::test

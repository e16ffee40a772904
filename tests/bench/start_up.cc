// start-up-bench: what a program's start and its queues cost, in the process that it runs in.
//
// Why        tests/bench/run alternates it bare and with the layer; the difference is what the layer adds.
// Output     one JSON line: milliseconds of hsa_init and hsa_shut_down, microseconds of one
//            hsa_queue_create and hsa_queue_destroy (medians of kQueues). Host time, real.
#include <hsa/hsa.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "programs/hsa_program.h"

namespace {

using namespace hsa_program;

constexpr int kQueues = 16;

template <typename Function>
double TookUs(Function function) {
  const std::uint64_t began = NowNs();
  function();
  return static_cast<double>(NowNs() - began) / 1e3;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main() {
  const double init_us = TookUs([] { Check(hsa_init(), "hsa_init"); });
  const hsa_agent_t gpu = FindGpu();
  std::vector<double> create_us, destroy_us;
  std::vector<hsa_queue_t*> queues(kQueues, nullptr);
  for (hsa_queue_t*& queue : queues) {
    create_us.push_back(TookUs([&] { queue = MakeQueue(gpu, 1024); }));
  }
  for (hsa_queue_t* queue : queues) destroy_us.push_back(TookUs([&] { hsa_queue_destroy(queue); }));
  const double shut_down_us = TookUs([] { hsa_shut_down(); });
  std::printf(
      "{\"init_ms\": %.3f, \"create_us\": %.1f, \"destroy_us\": %.1f, \"shut_down_ms\": %.3f}\n",
      init_us / 1e3, Median(create_us), Median(destroy_us), shut_down_us / 1e3);
  return 0;
}

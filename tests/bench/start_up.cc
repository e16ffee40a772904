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

namespace {

constexpr int kQueues = 16;

void Check(hsa_status_t status, const char* what) {
  if (status == HSA_STATUS_SUCCESS) return;
  std::fprintf(stderr, "start-up-bench: %s failed with status 0x%x\n", what, status);
  std::exit(1);
}

double NowUs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

template <typename Function>
double TookUs(Function function) {
  const double began = NowUs();
  function();
  return NowUs() - began;
}

hsa_status_t TakeGpu(hsa_agent_t agent, void* data) {
  hsa_device_type_t type;
  hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type);
  if (type != HSA_DEVICE_TYPE_GPU) return HSA_STATUS_SUCCESS;
  *static_cast<hsa_agent_t*>(data) = agent;
  return HSA_STATUS_INFO_BREAK;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main() {
  const double init_us = TookUs([] { Check(hsa_init(), "hsa_init"); });
  hsa_agent_t gpu{0};
  hsa_iterate_agents(TakeGpu, &gpu);
  std::vector<double> create_us, destroy_us;
  std::vector<hsa_queue_t*> queues(kQueues, nullptr);
  for (hsa_queue_t*& queue : queues) {
    create_us.push_back(TookUs([&] {
      Check(hsa_queue_create(gpu, 1024, HSA_QUEUE_TYPE_MULTI, nullptr, nullptr, UINT32_MAX,
                             UINT32_MAX, &queue),
            "hsa_queue_create");
    }));
  }
  for (hsa_queue_t* queue : queues) destroy_us.push_back(TookUs([&] { hsa_queue_destroy(queue); }));
  const double shut_down_us = TookUs([] { hsa_shut_down(); });
  std::printf(
      "{\"init_ms\": %.3f, \"create_us\": %.1f, \"destroy_us\": %.1f, \"shut_down_ms\": %.3f}\n",
      init_us / 1e3, Median(create_us), Median(destroy_us), shut_down_us / 1e3);
  return 0;
}

// packet-path-bench: what one dispatch costs its producer, in the process that it runs in.
//
// Why        The same binary runs bare and with the layer loaded; tests/bench/run alternates the
// two and
//            compares. Bursts of barrier packets on one queue, each burst timed as a whole:
//            reserve, write, ring. The ring has room for a burst, so no producer waits for the
//            device.
// Output     one JSON line: nanoseconds per packet of each burst, as percentiles. Host time, real.
#include <hsa/hsa.h>
#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

namespace {

constexpr std::uint64_t kBurst = 500;
constexpr std::uint32_t kRing = 1024;

void Check(hsa_status_t status, const char* what) {
  if (status == HSA_STATUS_SUCCESS) return;
  std::fprintf(stderr, "packet-path-bench: %s failed with status 0x%x\n", what, status);
  std::exit(1);
}

std::uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}

hsa_status_t TakeGpu(hsa_agent_t agent, void* data) {
  hsa_device_type_t type;
  hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type);
  if (type != HSA_DEVICE_TYPE_GPU) return HSA_STATUS_SUCCESS;
  *static_cast<hsa_agent_t*>(data) = agent;
  return HSA_STATUS_INFO_BREAK;
}

void SubmitOne(hsa_queue_t* queue, hsa_signal_t done) {
  const std::uint64_t index = hsa_queue_add_write_index_screlease(queue, 1);
  auto* packet =
      static_cast<hsa_barrier_and_packet_t*>(queue->base_address) + (index & (kRing - 1));
  std::memset(reinterpret_cast<char*>(packet) + 2, 0, sizeof(*packet) - 2);
  packet->completion_signal = done;
  const std::uint16_t header = HSA_PACKET_TYPE_BARRIER_AND | 1 << HSA_PACKET_HEADER_BARRIER;
  __atomic_store_n(&packet->header, header, __ATOMIC_RELEASE);
  hsa_signal_store_screlease(queue->doorbell_signal, static_cast<hsa_signal_value_t>(index));
}

// The last packet completes `done`: an intercept queue's read index would not tell that they ran.
double Burst(hsa_queue_t* queue, hsa_signal_t done) {
  hsa_signal_store_relaxed(done, 1);
  const std::uint64_t began = NowNs();
  for (std::uint64_t i = 0; i < kBurst; ++i) SubmitOne(queue, {i + 1 == kBurst ? done.handle : 0});
  const double ns = static_cast<double>(NowNs() - began) / static_cast<double>(kBurst);
  while (hsa_signal_load_scacquire(done) > 0) sched_yield();
  return ns;
}

}  // namespace

int main(int argc, char** argv) {
  const int bursts = argc > 1 ? std::atoi(argv[1]) : 300;
  hsa_agent_t gpu{0};
  Check(hsa_init(), "hsa_init");
  hsa_iterate_agents(TakeGpu, &gpu);
  hsa_queue_t* queue = nullptr;
  Check(hsa_queue_create(gpu, kRing, HSA_QUEUE_TYPE_MULTI, nullptr, nullptr, UINT32_MAX, UINT32_MAX,
                         &queue),
        "hsa_queue_create");
  hsa_signal_t done;
  Check(hsa_signal_create(0, 0, nullptr, &done), "hsa_signal_create");
  std::vector<double> ns;
  for (int i = 0; i < bursts; ++i) ns.push_back(Burst(queue, done));
  std::sort(ns.begin(), ns.end());
  const auto at = [&](double q) {
    return ns[static_cast<std::size_t>(q * static_cast<double>(ns.size() - 1))];
  };
  std::printf("{\"bursts\": %d, \"p10\": %.2f, \"p25\": %.2f, \"p50\": %.2f, \"p75\": %.2f}\n",
              bursts, at(0.1), at(0.25), at(0.5), at(0.75));
  hsa_queue_destroy(queue);
  hsa_signal_destroy(done);
  hsa_shut_down();
  return 0;
}

// scaling-bench: one of many programs on a device, urgent or not.
//
// Usage      scaling-bench high|low GPU SECONDS. Says "ready" when it has its queue, waits for a line.
//            low keeps a ring of barrier packets full; high sends kPackets of them every kPauseUs and waits.
// Output     one JSON line: {"request_us": [...]} or {"packets": N}. Host time, real; the device is virtual.
#include <hsa/hsa.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace {

constexpr std::uint32_t kRing = 256;
constexpr std::uint64_t kPackets = 32, kLowBatch = 64;
constexpr unsigned kPauseUs = 10'000, kLowPauseUs = 500;

void Check(hsa_status_t status, const char* what) {
  if (status == HSA_STATUS_SUCCESS) return;
  std::fprintf(stderr, "scaling-bench: %s failed with status 0x%x\n", what, status);
  std::exit(1);
}

std::uint64_t NowUs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec) / 1000;
}

hsa_status_t AddGpu(hsa_agent_t agent, void* data) {
  hsa_device_type_t type;
  hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type);
  if (type == HSA_DEVICE_TYPE_GPU) static_cast<std::vector<hsa_agent_t>*>(data)->push_back(agent);
  return HSA_STATUS_SUCCESS;
}

// Sends `count` packets and waits for the last; nobody spins, there are more programs than processors.
void SendAndWait(hsa_queue_t* queue, std::uint64_t count, hsa_signal_t done) {
  hsa_signal_store_relaxed(done, 1);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t index = hsa_queue_add_write_index_screlease(queue, 1);
    auto* packet =
        static_cast<hsa_barrier_and_packet_t*>(queue->base_address) + (index & (kRing - 1));
    std::memset(reinterpret_cast<char*>(packet) + 2, 0, sizeof(*packet) - 2);
    if (i + 1 == count) packet->completion_signal = done;
    const std::uint16_t header = HSA_PACKET_TYPE_BARRIER_AND | 1 << HSA_PACKET_HEADER_BARRIER;
    __atomic_store_n(&packet->header, header, __ATOMIC_RELEASE);
    hsa_signal_store_screlease(queue->doorbell_signal, static_cast<hsa_signal_value_t>(index));
  }
  while (hsa_signal_wait_scacquire(done, HSA_SIGNAL_CONDITION_LT, 1, UINT64_MAX,
                                   HSA_WAIT_STATE_BLOCKED) > 0) {
  }
}

void RunHigh(hsa_queue_t* queue, hsa_signal_t done, std::uint64_t end_us) {
  std::string list;
  while (NowUs() < end_us) {
    usleep(kPauseUs);
    const std::uint64_t began = NowUs();
    SendAndWait(queue, kPackets, done);
    list += (list.empty() ? "" : ", ") + std::to_string(NowUs() - began);
  }
  std::printf("{\"request_us\": [%s]}\n", list.c_str());
}

void RunLow(hsa_queue_t* queue, hsa_signal_t done, std::uint64_t end_us) {
  std::uint64_t packets = 0;
  for (; NowUs() < end_us; packets += kLowBatch) {
    SendAndWait(queue, kLowBatch, done);
    usleep(kLowPauseUs);
  }
  std::printf("{\"packets\": %lu}\n", static_cast<unsigned long>(packets));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "scaling-bench: usage: high|low GPU SECONDS\n");
    return 2;
  }
  std::vector<hsa_agent_t> gpus;
  Check(hsa_init(), "hsa_init");
  hsa_iterate_agents(AddGpu, &gpus);
  const auto number = static_cast<std::size_t>(std::atoi(argv[2]));
  if (number >= gpus.size()) {
    std::fprintf(stderr, "scaling-bench: there is no GPU %zu, only %zu\n", number, gpus.size());
    return 2;
  }
  hsa_queue_t* queue = nullptr;
  Check(hsa_queue_create(gpus[number], kRing, HSA_QUEUE_TYPE_MULTI, nullptr, nullptr, UINT32_MAX,
                         UINT32_MAX, &queue),
        "hsa_queue_create");
  hsa_signal_t done;
  Check(hsa_signal_create(0, 0, nullptr, &done), "hsa_signal_create");
  std::printf("ready\n");
  std::fflush(stdout);
  char line[8];
  if (std::fgets(line, sizeof(line), stdin) == nullptr) return 1;
  const std::uint64_t end_us = NowUs() + static_cast<std::uint64_t>(std::atoi(argv[3])) * 1'000'000;
  if (std::strcmp(argv[1], "high") == 0) {
    RunHigh(queue, done, end_us);
  } else {
    RunLow(queue, done, end_us);
  }
  hsa_queue_destroy(queue);
  hsa_signal_destroy(done);
  hsa_shut_down();
  return 0;
}

// hsa_program.h: what the small HSA programs of tests and benchmarks have in common.
//
// Why        They are ordinary users of the runtime and know nothing of xsched-hsa; so they share no code
//            with it, and nothing here hides a call of the runtime that a test is about.
// Threads    any; no state.
// Errors     one line on stderr with the program's name, exit 1; no GPU agent: exit 77.
#pragma once

#include <errno.h>
#include <hsa/hsa.h>
#include <sched.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace hsa_program {

inline void Check(hsa_status_t status, const char* what) {
  if (status == HSA_STATUS_SUCCESS) return;
  std::fprintf(stderr, "%s: %s failed with status 0x%x\n", program_invocation_short_name, what,
               status);
  std::exit(1);
}

inline void Say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

// Until a line comes, or nobody is left to send one: then false.
inline bool Pause() {
  char line[64];
  return std::fgets(line, sizeof(line), stdin) != nullptr;
}

inline std::uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}

inline std::vector<hsa_agent_t> FindGpus() {
  std::vector<hsa_agent_t> gpus;
  hsa_iterate_agents(
      [](hsa_agent_t agent, void* data) {
        hsa_device_type_t type;
        hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type);
        if (type == HSA_DEVICE_TYPE_GPU)
          static_cast<std::vector<hsa_agent_t>*>(data)->push_back(agent);
        return HSA_STATUS_SUCCESS;
      },
      &gpus);
  return gpus;
}

inline hsa_agent_t FindGpu() {
  const std::vector<hsa_agent_t> gpus = FindGpus();
  if (!gpus.empty()) return gpus[0];
  std::fprintf(stderr, "%s: no GPU agent\n", program_invocation_short_name);
  std::exit(77);
}

inline hsa_queue_t* MakeQueue(hsa_agent_t gpu, std::uint32_t packets) {
  hsa_queue_t* queue = nullptr;
  Check(hsa_queue_create(gpu, packets, HSA_QUEUE_TYPE_MULTI, nullptr, nullptr, UINT32_MAX,
                         UINT32_MAX, &queue),
        "hsa_queue_create");
  return queue;
}

inline hsa_signal_t MakeSignal(hsa_signal_value_t value) {
  hsa_signal_t signal;
  Check(hsa_signal_create(value, 0, nullptr, &signal), "hsa_signal_create");
  return signal;
}

// Writes a barrier-AND packet to a slot that has been reserved. No lock, no allocation, no wait.
inline void WriteBarrier(hsa_queue_t* queue, std::uint64_t index, hsa_signal_t done,
                         hsa_signal_t dependency = {0}) {
  auto* packet =
      static_cast<hsa_barrier_and_packet_t*>(queue->base_address) + (index & (queue->size - 1));
  std::memset(reinterpret_cast<char*>(packet) + 2, 0, sizeof(*packet) - 2);
  packet->dep_signal[0] = dependency;
  packet->completion_signal = done;
  const std::uint16_t header = HSA_PACKET_TYPE_BARRIER_AND << HSA_PACKET_HEADER_TYPE |
                               1 << HSA_PACKET_HEADER_BARRIER |
                               HSA_FENCE_SCOPE_SYSTEM << HSA_PACKET_HEADER_SCACQUIRE_FENCE_SCOPE |
                               HSA_FENCE_SCOPE_SYSTEM << HSA_PACKET_HEADER_SCRELEASE_FENCE_SCOPE;
  __atomic_store_n(&packet->header, header, __ATOMIC_RELEASE);
}

inline void RingDoorbell(hsa_queue_t* queue, std::uint64_t index) {
  hsa_signal_store_screlease(queue->doorbell_signal, static_cast<hsa_signal_value_t>(index));
}

// Reserves `count` slots and waits until the ring has room for them.
inline std::uint64_t Reserve(hsa_queue_t* queue, std::uint64_t count) {
  const std::uint64_t first = hsa_queue_add_write_index_scacq_screl(queue, count);
  while (first + count - hsa_queue_load_read_index_scacquire(queue) > queue->size) sched_yield();
  return first;
}

// For who knows that the ring has room, or wants the price of a packet and nothing else.
inline void SubmitBarrier(hsa_queue_t* queue, hsa_signal_t done) {
  const std::uint64_t index = hsa_queue_add_write_index_screlease(queue, 1);
  WriteBarrier(queue, index, done);
  RingDoorbell(queue, index);
}

}  // namespace hsa_program

#include "storm_graphs.h"

#include <hsa/hsa.h>
#include <sched.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "storm_queue.h"

namespace soak {
namespace {

constexpr std::uint32_t kRing = 64;

hsa_queue_t* MakeQueue(dual_model::HsaDevice* device) {
  hsa_queue_t* queue = nullptr;
  if (hsa_queue_create(device->agent(), kRing, HSA_QUEUE_TYPE_MULTI, nullptr, nullptr, UINT32_MAX,
                       UINT32_MAX, &queue) != HSA_STATUS_SUCCESS) {
    Fail("hsa_queue_create failed", 0);
  }
  return queue;
}

hsa_signal_t MakeSignal() {
  hsa_signal_t signal;
  if (hsa_signal_create(0, 0, nullptr, &signal) != HSA_STATUS_SUCCESS) {
    Fail("hsa_signal_create failed", 0);
  }
  return signal;
}

void SubmitBarrier(hsa_queue_t* queue, hsa_signal_t a, hsa_signal_t b, hsa_signal_t done) {
  const std::uint64_t index = hsa_queue_add_write_index_scacq_screl(queue, 1);
  while (index - hsa_queue_load_read_index_scacquire(queue) >= queue->size) sched_yield();
  hsa_barrier_and_packet_t packet{};
  packet.dep_signal[0] = a;
  packet.dep_signal[1] = b;
  packet.completion_signal = done;
  auto* slot = static_cast<unsigned char*>(queue->base_address) + (index & (kRing - 1)) * 64;
  std::memcpy(slot + 2, reinterpret_cast<unsigned char*>(&packet) + 2, 62);
  const std::uint16_t header =
      HSA_PACKET_TYPE_BARRIER_AND << HSA_PACKET_HEADER_TYPE | 1 << HSA_PACKET_HEADER_BARRIER;
  __atomic_store_n(reinterpret_cast<std::uint16_t*>(slot), header, __ATOMIC_RELEASE);
  hsa_signal_store_screlease(queue->doorbell_signal, static_cast<hsa_signal_value_t>(index));
}

bool WaitZero(hsa_signal_t signal) {
  std::uint64_t hz = 0;
  hsa_system_get_info(HSA_SYSTEM_INFO_TIMESTAMP_FREQUENCY, &hz);
  return hsa_signal_wait_scacquire(signal, HSA_SIGNAL_CONDITION_LT, 1, 60 * hz,
                                   HSA_WAIT_STATE_BLOCKED) == 0;
}

struct Edge {
  int from, to;
};

}  // namespace

// The last node is submitted first: everything waits when the first one comes. A later node's signal
// is read before an earlier one's: fired, with the earlier one not, is a node that ran too early.
int RunGraph(dual_model::HsaDevice* device, bool diamond, std::uint64_t times) {
  constexpr int kNodes = 4;
  const std::vector<Edge> edges = diamond ? std::vector<Edge>{{0, 1}, {0, 2}, {1, 3}, {2, 3}}
                                          : std::vector<Edge>{{0, 1}, {1, 2}, {2, 3}};
  std::vector<hsa_queue_t*> queues;
  std::vector<hsa_signal_t> done;
  for (int i = 0; i < kNodes; ++i) {
    queues.push_back(MakeQueue(device));
    done.push_back(MakeSignal());
  }
  std::puts("ready");
  std::fflush(stdout);
  std::getchar();
  std::uint64_t early = 0, wrong = 0;
  for (std::uint64_t time = 0; time < times; ++time) {
    for (const hsa_signal_t signal : done) hsa_signal_store_screlease(signal, 1);
    for (int node = kNodes - 1; node >= 0; --node) {
      hsa_signal_t waits_for[2] = {{0}, {0}};
      int count = 0;
      for (const Edge& edge : edges) {
        if (edge.to == node) waits_for[count++] = done[static_cast<std::size_t>(edge.from)];
      }
      const auto at = static_cast<std::size_t>(node);
      SubmitBarrier(queues[at], waits_for[0], waits_for[1], done[at]);
      for (const Edge& edge : edges) {
        const bool ran = hsa_signal_load_scacquire(done[static_cast<std::size_t>(edge.to)]) < 1;
        if (ran && hsa_signal_load_scacquire(done[static_cast<std::size_t>(edge.from)]) > 0)
          ++early;
      }
    }
    if (!WaitZero(done[kNodes - 1])) Fail("a graph did not end within a minute", time);
    for (const hsa_signal_t signal : done) wrong += hsa_signal_load_scacquire(signal) != 0 ? 1 : 0;
  }
  for (hsa_queue_t* queue : queues) hsa_queue_destroy(queue);
  std::printf("{\"graphs\": %lu, \"nodes\": %lu, \"early\": %lu, \"wrong\": %lu}\n", times,
              times * kNodes, early, wrong);
  std::fflush(stdout);
  return early + wrong == 0 ? 0 : 1;
}

int RunRelay(dual_model::HsaDevice* device, bool first, std::uint64_t times) {
  hsa_queue_t* queue = MakeQueue(device);
  const hsa_signal_t latch = MakeSignal(), done = MakeSignal();
  std::fputs("ready\n", stderr);
  std::uint64_t wrong = 0;
  for (std::uint64_t time = 0; time < times; ++time) {
    hsa_signal_store_screlease(latch, 1);
    hsa_signal_store_screlease(done, 1);
    SubmitBarrier(queue, latch, {0}, done);
    if (!(first && time == 0) && std::getchar() == EOF) Fail("the other end has gone", time);
    if (hsa_signal_load_scacquire(done) != 1) ++wrong;  // it ran before its turn
    hsa_signal_store_screlease(latch, 0);
    if (!WaitZero(done)) Fail("a relay did not get on for a minute", time);
    std::putchar('x');
    std::fflush(stdout);
  }
  hsa_queue_destroy(queue);
  std::fprintf(stderr, "{\"handovers\": %lu, \"wrong\": %lu}\n", times, wrong);
  return wrong == 0 ? 0 : 1;
}

}  // namespace soak

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

#include "programs/hsa_program.h"

namespace {

using namespace hsa_program;

constexpr std::uint32_t kRing = 256;
constexpr std::uint64_t kPackets = 32, kLowBatch = 64;
constexpr unsigned kPauseUs = 10'000, kLowPauseUs = 500;

// Sends `count` packets and waits for the last; nobody spins, there are more programs than processors.
void SendAndWait(hsa_queue_t* queue, std::uint64_t count, hsa_signal_t done) {
  hsa_signal_store_relaxed(done, 1);
  for (std::uint64_t i = 0; i < count; ++i)
    SubmitBarrier(queue, {i + 1 == count ? done.handle : 0});
  while (hsa_signal_wait_scacquire(done, HSA_SIGNAL_CONDITION_LT, 1, UINT64_MAX,
                                   HSA_WAIT_STATE_BLOCKED) > 0) {
  }
}

void RunHigh(hsa_queue_t* queue, hsa_signal_t done, std::uint64_t end_us) {
  std::string list;
  while (NowNs() / 1000 < end_us) {
    usleep(kPauseUs);
    const std::uint64_t began = NowNs() / 1000;
    SendAndWait(queue, kPackets, done);
    list += (list.empty() ? "" : ", ") + std::to_string(NowNs() / 1000 - began);
  }
  std::printf("{\"request_us\": [%s]}\n", list.c_str());
}

void RunLow(hsa_queue_t* queue, hsa_signal_t done, std::uint64_t end_us) {
  std::uint64_t packets = 0;
  for (; NowNs() / 1000 < end_us; packets += kLowBatch) {
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
  Check(hsa_init(), "hsa_init");
  const std::vector<hsa_agent_t> gpus = FindGpus();
  const auto number = static_cast<std::size_t>(std::atoi(argv[2]));
  if (number >= gpus.size()) {
    std::fprintf(stderr, "scaling-bench: there is no GPU %zu, only %zu\n", number, gpus.size());
    return 2;
  }
  hsa_queue_t* queue = MakeQueue(gpus[number], kRing);
  const hsa_signal_t done = MakeSignal(0);
  Say("ready");
  if (!Pause()) return 1;
  const std::uint64_t end_us =
      NowNs() / 1000 + static_cast<std::uint64_t>(std::atoi(argv[3])) * 1'000'000;
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

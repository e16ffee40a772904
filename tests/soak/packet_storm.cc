// packet-storm: an ordinary HSA program that submits packets in every way there is, and knows
// whether each ran once and in order.
//
//   packet-storm storm PACKETS SEED      queues of all sizes and styles, created and destroyed
//   packet-storm pulse SEED              short kernels at random moments, until standard input ends
//   packet-storm steady SEED             short lives of queues, until standard input ends; a queue that
//                                        is refused is asked for again
//   packet-storm rings SEED              one queue of each size that the device has, each ring twice around
//   packet-storm crowd QUEUES PACKETS    that many queues at once; at a line each gets its packets, at the
//                                        end of standard input they go
//   packet-storm chain|diamond TIMES     a graph over queues of one process, by barrier packets
//   packet-storm relay first|second TIMES
//                                        two processes that wait for each other: a packet waits for a
//                                        signal that the host sets when the other's line has come
//
// Output     "ready", then one JSON line. Errors: one line on stderr, exit 1; no GPU: exit 77.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "storm_graphs.h"
#include "storm_queue.h"

namespace soak {
namespace {

std::unique_ptr<dual_model::HsaDevice> OpenDevice() {
  std::unique_ptr<dual_model::HsaDevice> device;
  std::string error;
  const dual_model::HsaStatus status = dual_model::HsaDevice::Open(0, &device, &error);
  if (status == dual_model::HsaStatus::kOk && device->LoadKernels(&error) == status) return device;
  std::fprintf(stderr, "packet-storm: %s\n", error.c_str());
  std::exit(status == dual_model::HsaStatus::kNoDevice ? 77 : 1);
}

void Say(const Tally& t) {
  std::printf(
      "{\"submitted\": %lu, \"completed\": %lu, \"abandoned\": %lu, \"lost\": %lu, \"repeated\": "
      "%lu, "
      "\"reordered\": %lu, \"rounds\": %lu, \"refused\": %lu}\n",
      t.submitted, t.completed, t.abandoned, t.lost, t.repeated, t.reordered, t.rounds, t.refused);
  std::fflush(stdout);
}

// One queue's life. Every eighth has long kernels, so that there is something to take off the device;
// every eighth is destroyed with work on it. Nothing where the queue is refused.
std::optional<Tally> Round(dual_model::HsaDevice* device, std::uint64_t most,
                           std::mt19937_64* random) {
  constexpr std::uint32_t kSizes[] = {64, 128, 256, 1024};
  const bool heavy = (*random)() % 8 == 0;
  const bool abandon = (*random)() % 8 == 0;
  const auto style = static_cast<Style>((*random)() % static_cast<int>(Style::kCount));
  const bool single = style == Style::kStore || (*random)() % 2 == 0;
  const std::uint64_t producers = single ? 1 : 1 + (*random)() % 4;
  const std::uint64_t count = heavy ? 200 + (*random)() % 400 : 500 + (*random)() % 60'000;
  StormQueue queue(device, kSizes[(*random)() % 4], single, heavy ? 4'000'000 : 2'000);
  if (queue.queue() == nullptr) return std::nullopt;
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < producers; ++i) {
    threads.emplace_back(
        [&queue, style, each = std::min(count, most) / producers + 1,
         own = std::mt19937_64((*random)())]() mutable { queue.Submit(each, style, &own); });
  }
  for (std::thread& thread : threads) thread.join();
  Tally tally;
  if (abandon) {
    queue.DestroyAndJudge(&tally);
  } else {
    queue.Drain(&tally);
  }
  return tally;
}

int Storm(std::uint64_t packets, std::uint64_t seed) {
  const auto device = OpenDevice();
  std::mt19937_64 random(seed);
  std::puts("ready");
  std::fflush(stdout);
  Tally tally;
  while (tally.submitted < packets) {
    const auto round = Round(device.get(), packets - tally.submitted, &random);
    if (!round) Fail("hsa_queue_create failed", tally.rounds);
    tally += *round;
  }
  Say(tally);
  return tally.lost + tally.repeated + tally.reordered == 0 ? 0 : 1;
}

// Says "ready" and waits for the end of standard input on a thread of its own.
class UntilInputEnds {
 public:
  UntilInputEnds() {
    std::puts("ready");
    std::fflush(stdout);
    reader_ = std::thread([this] {
      while (std::getchar() != EOF) {
      }
      over_ = true;
    });
  }
  ~UntilInputEnds() { reader_.join(); }
  bool over() const { return over_; }

 private:
  std::atomic<bool> over_{false};
  std::thread reader_;
};

int Steady(std::uint64_t seed) {
  constexpr std::uint64_t kPacketsARound = 4000;
  const auto device = OpenDevice();
  std::mt19937_64 random(seed);
  Tally tally;
  {
    UntilInputEnds input;
    while (!input.over()) {
      const auto round = Round(device.get(), 1 + random() % kPacketsARound, &random);
      if (round) {
        tally += *round;
      } else {
        ++tally.refused;
        usleep(2000);
      }
    }
  }
  Say(tally);
  return tally.lost + tally.repeated + tally.reordered == 0 ? 0 : 1;
}

int Pulse(std::uint64_t seed) {
  const auto device = OpenDevice();
  std::mt19937_64 random(seed);
  Tally tally;
  {
    StormQueue queue(device.get(), 64, true, 20'000);
    if (queue.queue() == nullptr) Fail("hsa_queue_create failed", 0);
    UntilInputEnds input;
    while (!input.over()) {
      queue.Submit(16 + random() % 48, Style::kOne, &random);
      // Shorter and longer than the controller's linger.
      usleep(static_cast<useconds_t>(random() % 3000));
    }
    queue.Drain(&tally);
  }
  Say(tally);
  return tally.lost + tally.repeated + tally.reordered == 0 ? 0 : 1;
}

std::uint32_t LargestRing(hsa_agent_t agent) {
  std::uint32_t packets = 0;
  if (hsa_agent_get_info(agent, HSA_AGENT_INFO_QUEUE_MAX_SIZE, &packets) != HSA_STATUS_SUCCESS)
    Fail("the largest queue is not known", 0);
  return packets;
}

// Twice around and a packet more, in each style of each size in turn.
int Rings(std::uint64_t seed) {
  constexpr std::uint32_t kSmallest = 64;
  const auto device = OpenDevice();
  const std::uint32_t largest = LargestRing(device->agent());
  std::mt19937_64 random(seed);
  Tally tally;
  UntilInputEnds ready;
  for (std::uint32_t packets = kSmallest; packets <= largest; packets *= 2) {
    StormQueue queue(device.get(), packets, true, 2'000);
    if (queue.queue() == nullptr) Fail("hsa_queue_create failed", packets);
    const auto style = static_cast<Style>(tally.rounds % static_cast<int>(Style::kCount));
    queue.Submit(2 * std::uint64_t{packets} + 1, style, &random);
    queue.Drain(&tally);
  }
  Say(tally);
  return tally.lost + tally.repeated + tally.reordered == 0 ? 0 : 1;
}

int Crowd(std::uint64_t count, std::uint64_t packets) {
  SetPatience(std::chrono::hours(1));
  const auto device = OpenDevice();
  std::mt19937_64 random(count);
  std::vector<std::unique_ptr<StormQueue>> queues;
  for (std::uint64_t i = 0; i < count; ++i) {
    queues.push_back(std::make_unique<StormQueue>(device.get(), 64, true, 2'000));
    if (queues.back()->queue() == nullptr) Fail("hsa_queue_create failed", i);
  }
  std::puts("ready");
  std::fflush(stdout);
  Tally tally;
  while (std::getchar() != EOF) {
    for (const auto& queue : queues) queue->Submit(packets, Style::kOne, &random);
  }
  for (const auto& queue : queues) queue->Drain(&tally);
  Say(tally);
  return tally.lost + tally.repeated + tally.reordered == 0 ? 0 : 1;
}

}  // namespace
}  // namespace soak

int main(int argc, char** argv) {
  using namespace soak;
  const std::string verb = argc > 1 ? argv[1] : "";
  const auto number = [&](int at) { return argc > at ? std::strtoull(argv[at], nullptr, 10) : 1; };
  if (verb == "storm" && argc == 4) return Storm(number(2), number(3));
  if (verb == "steady" && argc == 3) return Steady(number(2));
  if (verb == "pulse" && argc == 3) return Pulse(number(2));
  if (verb == "rings" && argc == 3) return Rings(number(2));
  if (verb == "crowd" && argc == 4) return Crowd(number(2), number(3));
  if ((verb == "chain" || verb == "diamond") && argc == 3) {
    return RunGraph(OpenDevice().get(), verb == "diamond", number(2));
  }
  if (verb == "relay" && argc == 4) {
    return RunRelay(OpenDevice().get(), std::string(argv[2]) == "first", number(3));
  }
  std::fprintf(stderr,
               "packet-storm: use storm PACKETS SEED | pulse SEED | steady SEED | rings SEED | "
               "crowd QUEUES PACKETS | chain TIMES | diamond TIMES | "
               "relay first|second TIMES\n");
  return 2;
}

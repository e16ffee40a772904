// packet-path-bench: what one dispatch costs its producer, in the process that it runs in.
//
// Why        The same binary runs bare and with the layer loaded; tests/bench/run alternates the two
//            and compares. Bursts of barrier packets on one queue, each burst timed as a whole:
//            reserve, write, ring. The ring has room for a burst, so no producer waits for the device.
// Usage      packet-path-bench BURSTS [THREADS [held]]. THREADS share the queue and the burst. `held`:
//            says "ready", waits for a line, and then for no packet; the ring has room for all.
// Output     one JSON line: nanoseconds of a producer per packet, percentiles over the bursts. Host time,
//            real. After it, if held, another line is waited for.
#include <hsa/hsa.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

#include "programs/hsa_program.h"

namespace {

using namespace hsa_program;

constexpr std::uint64_t kBurst = 480;  // divides by the numbers of threads
constexpr std::uint32_t kRing = 1024, kHeldRing = 16384;

double SubmitSome(hsa_queue_t* queue, std::uint64_t packets) {
  const std::uint64_t began = NowNs();
  for (std::uint64_t i = 0; i < packets; ++i) SubmitBarrier(queue, {0});
  return static_cast<double>(NowNs() - began) / static_cast<double>(packets);
}

void PinTo(unsigned number) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(number % static_cast<unsigned>(sysconf(_SC_NPROCESSORS_ONLN)), &set);
  sched_setaffinity(0, sizeof(set), &set);  // where it is not allowed, the scheduler chooses
}

// Producers that live as long as the measurement and begin each burst together.
class Producers {
 public:
  Producers(hsa_queue_t* queue, unsigned threads) : queue_(queue), took_(threads) {
    if (threads > 1) PinTo(0);  // else where they meet is chance, and with it the figure
    for (unsigned i = 1; i < threads; ++i) threads_.emplace_back([this, i] { Serve(i); });
  }
  ~Producers() {
    over_.store(true);
    burst_.fetch_add(1);
    for (std::thread& thread : threads_) thread.join();
  }
  // Nanoseconds per packet, the mean over the producers.
  double Burst() {
    left_.store(static_cast<int>(threads_.size()));
    burst_.fetch_add(1);
    took_[0] = SubmitSome(queue_, kBurst / took_.size());
    while (left_.load(std::memory_order_acquire) > 0) sched_yield();
    double sum = 0;
    for (const double ns : took_) sum += ns;
    return sum / static_cast<double>(took_.size());
  }

 private:
  void Serve(unsigned number) {
    PinTo(number);
    for (int seen = 0; true;) {
      while (burst_.load(std::memory_order_acquire) == seen) {
        if (took_.size() > 2)
          sched_yield();  // more threads than most of these machines have processors
      }
      ++seen;
      if (over_.load()) return;
      took_[number] = SubmitSome(queue_, kBurst / took_.size());
      left_.fetch_sub(1);
    }
  }

  hsa_queue_t* queue_;
  std::vector<double> took_;
  std::vector<std::thread> threads_;
  std::atomic<int> burst_{0}, left_{0};
  std::atomic<bool> over_{false};
};

// Until all before it has run; an intercept queue's read index would not tell.
void Drain(hsa_queue_t* queue, hsa_signal_t done) {
  hsa_signal_store_relaxed(done, 1);
  SubmitBarrier(queue, done);
  while (hsa_signal_load_scacquire(done) > 0) sched_yield();
}

void Print(std::vector<double> ns) {
  std::sort(ns.begin(), ns.end());
  const auto at = [&](double q) {
    return ns[static_cast<std::size_t>(q * static_cast<double>(ns.size() - 1))];
  };
  std::printf("{\"bursts\": %zu, \"p10\": %.2f, \"p25\": %.2f, \"p50\": %.2f, \"p75\": %.2f}\n",
              ns.size(), at(0.1), at(0.25), at(0.5), at(0.75));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const int bursts = argc > 1 ? std::atoi(argv[1]) : 300;
  const unsigned threads = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1;
  const bool held = argc > 3 && std::strcmp(argv[3], "held") == 0;
  if (bursts < 1 || threads < 1 || threads > 8 || kBurst % threads != 0 ||
      (held && static_cast<std::uint64_t>(bursts) * kBurst >= kHeldRing)) {
    std::fprintf(stderr,
                 "packet-path-bench: usage: BURSTS [1|2|4|8 [held]]; held: at most %lu bursts\n",
                 static_cast<unsigned long>(kHeldRing / kBurst));
    return 2;
  }
  Check(hsa_init(), "hsa_init");
  hsa_queue_t* queue = MakeQueue(FindGpu(), held ? kHeldRing : kRing);
  const hsa_signal_t done = MakeSignal(0);
  if (held) {
    Say("ready " + std::to_string(getpid()));
    if (!Pause()) return 1;
  }
  {
    Producers producers(queue, threads);
    std::vector<double> ns;
    for (int i = 0; i < bursts; ++i) {
      ns.push_back(producers.Burst());
      if (!held) Drain(queue, done);
    }
    Print(ns);
  }
  if (held && !Pause()) return 1;
  Drain(queue, done);
  hsa_queue_destroy(queue);
  hsa_signal_destroy(done);
  hsa_shut_down();
  return 0;
}

// reaction-bench: how soon a less urgent program stops for a more urgent one, and goes on after it.
//
// Usage      reaction-bench SOCKET ROUNDS LINGER_US [UID]. A controller listens at SOCKET; it must have been
//            started with that --linger-us, and with --cross-user for a UID, as which the low program runs.
// How        Two processes. The low one dispatches without pause; the high one rings once, and a
//            millisecond later its packet is taken. Stamped are: before the high doorbell; when the low
//            doorbell has kept its packet; the taking; and the low thread seeing it published.
// Output     one JSON line: percentiles of both ways, and of the machine's own ways, before and after (A/A).
//            Nanoseconds of the host, real. "released" is without the linger, which is a setting.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "primitives.h"
#include "reaction_roles.h"

namespace xsched_hsa::bench {
namespace {

constexpr int kRequestUs = 1000, kPauseUs = 2500;
constexpr std::int64_t kGiveUpNs = 50'000'000, kJoinNs = 10'000'000'000;

struct Stamps {
  std::atomic<std::uint32_t> ready;
  std::atomic<std::int64_t> closed_ns, opened_ns;
};

// Dispatches until the gate keeps a packet, and waits until that is published; for ever.
void RunLow(const std::string& socket, Stamps* stamps) {
  static Program low(socket, kPriorityLow);
  if (!low.WaitForMode(kModeArmed)) std::_Exit(1);
  PinTo(1);  // the two producers apart; pumps and the controller go where they like
  stamps->ready.store(1);
  while (true) {
    low.TakeAll();
    std::int64_t closed = 0;
    low.Write();
    if (low.Ring(&closed)) continue;
    if (closed == 0) closed = StampNs();  // the pump was awake
    while (low.HasBacklog()) {
    }
    const std::int64_t opened = StampNs();
    // The pump had the queue's lock just then: no gate was closed, and it is over at once.
    if (opened - closed < kRequestUs * 1000 / 4) continue;
    stamps->opened_ns.store(opened);
    stamps->closed_ns.store(closed);
  }
}

nlohmann::json Percentiles(std::vector<std::int64_t> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double q) {
    return values.empty()
               ? -1
               : values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
  };
  return {{"n", values.size()},
          {"p10", at(0.1)},
          {"p50", at(0.5)},
          {"p90", at(0.9)},
          {"p99", at(0.99)}};
}

nlohmann::json Primitives(int rounds) {
  return {{"cache_line", Percentiles(CacheLineTransfers(rounds / 10 + 1))},
          {"polled_store", Percentiles(PolledStores(rounds / 10 + 1))},
          {"futex_wake", Percentiles(FutexWakes(rounds))},
          {"wake_call_1", Percentiles(WakeCalls(rounds, 1))},
          {"nap", Percentiles(Naps(rounds))},
          {"wake_call_64", Percentiles(WakeCalls(rounds / 8 + 1, 64))},
          {"event_wake", Percentiles(EventWakes(rounds))},
          {"socket_round_trip", Percentiles(SocketRoundTrips(rounds))}};
}

struct Reactions {
  std::vector<std::int64_t> closed, released;
  int missed = 0;
};

// One request of the high program. The low one must have stopped for it, and gone on.
void Request(Program* high, Stamps* stamps, std::int64_t linger_ns, Reactions* found) {
  usleep(kPauseUs);
  stamps->closed_ns.store(0);
  high->Write();
  const std::int64_t rung = StampNs();
  high->Ring();
  usleep(kRequestUs);
  high->TakeAll();
  const std::int64_t done = StampNs();
  while (stamps->closed_ns.load() < rung && StampNs() - done < kGiveUpNs) usleep(100);
  const std::int64_t closed = stamps->closed_ns.load(), opened = stamps->opened_ns.load();
  if (closed < rung || opened < done) {
    ++found->missed;
    return;
  }
  found->closed.push_back(closed - rung);
  found->released.push_back(opened - done - linger_ns);
}

Reactions MeasureReactions(const std::string& socket, int rounds, std::int64_t linger_ns,
                           uid_t uid) {
  auto* stamps = static_cast<Stamps*>(
      mmap(nullptr, sizeof(Stamps), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const pid_t child = fork();
  if (child == 0) {
    if (uid != 0 && (setgid(uid) != 0 || setuid(uid) != 0)) std::_Exit(1);
    RunLow(socket, stamps);
  }
  static Program high(socket, kPriorityHigh);
  PinTo(0);
  Reactions found;
  const std::int64_t began = StampNs();
  while (stamps->ready.load() == 0 && StampNs() - began < kJoinNs) usleep(1000);
  if (stamps->ready.load() == 0 || !high.WaitForMode(kModeRaise)) {
    std::fprintf(
        stderr, "reaction-bench: the controller did not set the two programs against each other\n");
    kill(child, SIGKILL);
    std::_Exit(1);
  }
  for (int i = 0; i < rounds; ++i) Request(&high, stamps, linger_ns, &found);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return found;
}

}  // namespace
}  // namespace xsched_hsa::bench

int main(int argc, char** argv) {
  using namespace xsched_hsa::bench;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 0;
  if (argc < 4 || rounds < 1) {
    std::fprintf(stderr, "reaction-bench: usage: SOCKET ROUNDS LINGER_US [UID]\n");
    return 2;
  }
  const uid_t uid = argc > 4 ? static_cast<uid_t>(std::atoi(argv[4])) : 0;
  nlohmann::json result;
  result["before"] = Primitives(rounds);
  const Reactions found = MeasureReactions(argv[1], rounds, std::atol(argv[3]) * 1000, uid);
  result["closed"] = Percentiles(found.closed);
  result["released"] = Percentiles(found.released);
  result["missed"] = found.missed;
  result["after"] = Primitives(rounds);
  std::printf("%s\n", result.dump().c_str());
  std::fflush(stdout);
  std::_Exit(0);  // the pump's thread never ends
}

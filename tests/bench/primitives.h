// primitives.h: what the machine's own ways from one program to another take, for comparison.
//
// Why        A reaction can't be faster than the cheapest of them that it must use; measured in the same run.
// Units      nanoseconds, one way unless said otherwise.
#pragma once

#include <cstdint>
#include <ctime>
#include <vector>

namespace xsched_hsa::bench {

inline std::int64_t StampNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000L + now.tv_nsec;
}

// The calling thread only; where it is not allowed, the scheduler chooses.
void PinTo(int cpu);

// Of a line that two processors write in turn.
std::vector<std::int64_t> CacheLineTransfers(int rounds);
// From before the call that wakes until the woken process runs.
std::vector<std::int64_t> FutexWakes(int rounds);
// What the call takes that wakes so many processes at once: the caller's own time.
std::vector<std::int64_t> WakeCalls(int rounds, int sleepers);
// As FutexWakes, from a write to an eventfd until epoll_wait has returned.
std::vector<std::int64_t> EventWakes(int rounds);
// A byte to another process and back, by SOCK_SEQPACKET.
std::vector<std::int64_t> SocketRoundTrips(int rounds);
// What a sleep of kNapNs takes, as the layer's pump sleeps between two looks at an urgent queue.
inline constexpr std::int64_t kNapNs = 31'250;
std::vector<std::int64_t> Naps(int rounds);
// A store to a line that another processor polls, as a doorbell's.
std::vector<std::int64_t> PolledStores(int rounds);

}  // namespace xsched_hsa::bench

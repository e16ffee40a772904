#include "primitives.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace xsched_hsa::bench {
namespace {

constexpr int kBatch = 1000;        // transfers or stores that are timed as one
constexpr unsigned kPauseUs = 500;  // so that the other side is asleep again

struct Shared {
  alignas(64) std::atomic<std::uint32_t> word;
  alignas(64) std::atomic<std::int64_t> woken_ns;
};

Shared* MapShared() {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return static_cast<Shared*>(memory);
}

template <typename Child>
pid_t Fork(Child child) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  child();
  std::_Exit(0);
}

void End(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

// Each round: the other side sleeps, `wake` wakes it, and it says when it ran.
template <typename Wake>
std::vector<std::int64_t> Wakes(Shared* shared, int rounds, Wake wake) {
  std::vector<std::int64_t> found;
  for (int i = 0; i < rounds; ++i) {
    usleep(kPauseUs);
    shared->woken_ns.store(0);
    const std::int64_t began = StampNs();
    wake();
    while (shared->woken_ns.load() == 0) sched_yield();
    found.push_back(shared->woken_ns.load() - began);
  }
  return found;
}

}  // namespace

void PinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  [[maybe_unused]] const int ignored = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

std::vector<std::int64_t> CacheLineTransfers(int rounds) {
  alignas(64) std::atomic<int> line{0};
  std::thread other([&line, rounds] {
    PinTo(1);
    for (int i = 0; i < rounds * kBatch; ++i) {
      while (line.load(std::memory_order_acquire) != 2 * i + 1) {
      }
      line.store(2 * i + 2, std::memory_order_release);
    }
  });
  cpu_set_t before;
  pthread_getaffinity_np(pthread_self(), sizeof(before), &before);
  PinTo(0);
  std::vector<std::int64_t> found;
  for (int i = 0, at = 0; i < rounds; ++i) {
    const std::int64_t began = StampNs();
    for (int j = 0; j < kBatch; ++j, ++at) {
      line.store(2 * at + 1, std::memory_order_release);
      while (line.load(std::memory_order_acquire) != 2 * at + 2) {
      }
    }
    found.push_back((StampNs() - began) / (2 * kBatch));
  }
  other.join();
  pthread_setaffinity_np(pthread_self(), sizeof(before), &before);
  return found;
}

std::vector<std::int64_t> PolledStores(int rounds) {
  alignas(64) std::atomic<std::uint64_t> line{0};
  std::atomic<bool> over{false};
  std::thread other([&] {
    PinTo(1);
    while (!over.load(std::memory_order_relaxed))
      [[maybe_unused]] const std::uint64_t seen = line.load(std::memory_order_acquire);
  });
  std::vector<std::int64_t> found;
  for (int i = 0; i < rounds; ++i) {
    const std::int64_t began = StampNs();
    for (std::uint64_t j = 0; j < kBatch; ++j) line.store(j, std::memory_order_release);
    found.push_back((StampNs() - began) / kBatch);
  }
  over.store(true);
  other.join();
  return found;
}

std::vector<std::int64_t> FutexWakes(int rounds) {
  Shared* shared = MapShared();
  const pid_t child = Fork([shared] {
    for (std::uint32_t seen = 0; true;) {
      syscall(SYS_futex, &shared->word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
      if (shared->word.load() == seen) continue;
      shared->woken_ns.store(StampNs());
      seen = shared->word.load();
    }
  });
  auto found = Wakes(shared, rounds, [shared] {
    shared->word.fetch_add(1);
    syscall(SYS_futex, &shared->word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  });
  End(child);
  return found;
}

std::vector<std::int64_t> WakeCalls(int rounds, int sleepers) {
  Shared* shared = MapShared();
  std::vector<pid_t> children;
  for (int i = 0; i < sleepers; ++i) {
    children.push_back(Fork([shared] {
      while (true) {
        const std::uint32_t seen = shared->word.load();
        syscall(SYS_futex, &shared->word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
      }
    }));
  }
  std::vector<std::int64_t> found;
  for (int i = 0; i < rounds; ++i) {
    usleep(kPauseUs + static_cast<unsigned>(sleepers) * 50);  // all are asleep again
    shared->word.fetch_add(1);
    const std::int64_t began = StampNs();
    syscall(SYS_futex, &shared->word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
    found.push_back(StampNs() - began);
  }
  for (const pid_t child : children) End(child);
  return found;
}

std::vector<std::int64_t> EventWakes(int rounds) {
  Shared* shared = MapShared();
  const int event = eventfd(0, EFD_NONBLOCK);
  const pid_t child = Fork([=] {
    const int poll = epoll_create1(0);
    epoll_event interest{};
    interest.events = EPOLLIN | EPOLLET;
    epoll_ctl(poll, EPOLL_CTL_ADD, event, &interest);
    for (epoll_event got; epoll_wait(poll, &got, 1, -1) == 1;) shared->woken_ns.store(StampNs());
  });
  auto found = Wakes(shared, rounds, [event] {
    const std::uint64_t one = 1;
    if (write(event, &one, sizeof(one)) < 0) std::abort();
  });
  End(child);
  close(event);
  return found;
}

std::vector<std::int64_t> SocketRoundTrips(int rounds) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) std::abort();
  const pid_t child = Fork([&ends] {
    for (char byte; read(ends[1], &byte, 1) == 1;) {
      if (write(ends[1], &byte, 1) != 1) break;
    }
  });
  std::vector<std::int64_t> found;
  for (int i = 0; i < rounds; ++i) {
    usleep(kPauseUs);
    char byte = 1;
    const std::int64_t began = StampNs();
    if (write(ends[0], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1) std::abort();
    found.push_back(StampNs() - began);
  }
  End(child);
  close(ends[0]);
  close(ends[1]);
  return found;
}

std::vector<std::int64_t> Naps(int rounds) {
  prctl(PR_SET_TIMERSLACK, 1000);
  std::uint32_t word = 0;
  const timespec nap{0, kNapNs};
  std::vector<std::int64_t> found;
  for (int i = 0; i < rounds; ++i) {
    const std::int64_t began = StampNs();
    syscall(SYS_futex, &word, FUTEX_WAIT, 0, &nap, nullptr, 0);
    found.push_back(StampNs() - began);
  }
  return found;
}

}  // namespace xsched_hsa::bench

// explored_sources.h: the packet plane, the pump, the preemptor and the controller's urgency, compiled so that each
// access to an atomic is a point of choice. To be included once, before any of their headers.
#pragma once

// Whatever these sources include of the system has to be here, unchanged, first.
#include <fcntl.h>
#include <hsa/amd_hsa_queue.h>
#include <hsa/amd_hsa_signal.h>
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "explorer.h"

// Sources are included on purpose, names replaced, and values of an atomic may be pointers.
// NOLINTBEGIN(bugprone-suspicious-include,bugprone-reserved-identifier,bugprone-sizeof-expression)
// NOLINTBEGIN(bugprone-multi-level-implicit-pointer-conversion)

namespace explore {

inline void Fence() {
  if (Explorer::active != nullptr) Explorer::active->Barrier();
}

// Of the size and alignment of what it stands for.
template <typename T>
struct alignas(sizeof(T)) Atomic {
  constexpr Atomic() noexcept = default;
  constexpr Atomic(T value) noexcept : value_(value) {}
  Atomic(const Atomic&) = delete;
  static constexpr bool is_always_lock_free = true;

  T load(std::memory_order = std::memory_order_seq_cst) const {
    Explorer::Point();
    std::uint64_t own = 0;
    if (Explorer::active != nullptr && Explorer::active->FromBuffer(this, &own)) {
      T value;
      std::memcpy(&value, &own, sizeof(T));
      return value;
    }
    return value_;
  }
  void store(T value, std::memory_order order = std::memory_order_seq_cst) {
    Explorer::Point();
    if (order != std::memory_order_seq_cst && Explorer::active != nullptr &&
        Explorer::active->Buffers()) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, &value, sizeof(T));
      return Explorer::active->Buffer(this, bits, sizeof(T));
    }
    Fence();
    value_ = value;
  }
  T exchange(T value, std::memory_order = std::memory_order_seq_cst) {
    return Change([&](T) { return value; });
  }
  bool compare_exchange_strong(T& expected, T value,
                               std::memory_order = std::memory_order_seq_cst) {
    Explorer::Point();
    Fence();
    if (value_ == expected) {
      value_ = value;
      return true;
    }
    expected = value_;
    return false;
  }
  bool compare_exchange_weak(T& expected, T value, std::memory_order = std::memory_order_seq_cst) {
    return compare_exchange_strong(expected, value);
  }
  T fetch_add(T value, std::memory_order = std::memory_order_seq_cst) {
    return Change([&](T old) { return static_cast<T>(old + value); });
  }
  T fetch_sub(T value, std::memory_order = std::memory_order_seq_cst) {
    return Change([&](T old) { return static_cast<T>(old - value); });
  }
  T fetch_and(T value, std::memory_order = std::memory_order_seq_cst) {
    return Change([&](T old) { return static_cast<T>(old & value); });
  }
  T fetch_or(T value, std::memory_order = std::memory_order_seq_cst) {
    return Change([&](T old) { return static_cast<T>(old | value); });
  }
  operator T() const { return load(); }
  T operator=(T value) {
    store(value);
    return value;
  }

 private:
  template <typename New>
  T Change(const New& next) {
    Explorer::Point();
    Fence();
    const T old = value_;
    value_ = next(old);
    return old;
  }

  T value_{};
};

template <typename T>
T LoadPlain(const T* address) {
  Explorer::Point();
  std::uint64_t own = 0;
  if (Explorer::active != nullptr && Explorer::active->FromBuffer(address, &own)) {
    T value;
    std::memcpy(&value, &own, sizeof(T));
    return value;
  }
  return *address;
}
template <typename T, typename V>
void StorePlain(T* address, V value) {
  Explorer::Point();
  const auto stored = static_cast<T>(value);
  if (Explorer::active != nullptr && Explorer::active->Buffers()) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &stored, sizeof(T));
    return Explorer::active->Buffer(address, bits, sizeof(T));
  }
  *address = stored;
}

}  // namespace explore

namespace std {
template <typename T>
using explored_atomic = explore::Atomic<T>;
inline void explored_fence(std::memory_order) { explore::Fence(); }
}  // namespace std

#define atomic explored_atomic
#define atomic_thread_fence explored_fence
#define __atomic_load_n(address, order) explore::LoadPlain(address)
#define __atomic_store_n(address, value, order) explore::StorePlain(address, value)

#include "../clock.h"

namespace explore {

// A sleep ends by a wake of that word, by the word having changed at its beginning, or by the time.
inline std::map<const void*, std::uint64_t> g_wakes;

inline void Wait(Atomic<std::uint32_t>* word, std::uint32_t seen, std::uint64_t timeout_ns) {
  Explorer* const explorer = Explorer::active;
  explorer->Barrier();
  if (word->load() != seen) return;
  // From the look on the kernel has its lock: a wake that comes later finds the sleeper.
  const std::uint64_t before = g_wakes[word];
  explorer->WaitUntil([&] { return g_wakes[word] != before; }, timeout_ns);
}
inline void Wake(Atomic<std::uint32_t>* word) {
  Explorer::Point();
  ++g_wakes[word];
}

}  // namespace explore

namespace explore {

// One for all executions: what is written into it is read at once, and nobody closes it.
inline int Pipe(int* ends, int flags) {
  static int shared[2] = {-1, -1};
  if (shared[0] < 0 && pipe2(shared, flags) != 0) return -1;
  std::copy(shared, shared + 2, ends);
  return 0;
}

}  // namespace explore

namespace explore {

// All threads are contexts of one, which a real mutex would let in again. Before each execution: none is held.
struct HeldMutex {
  int by = -1, depth = 0;
};
inline std::map<const void*, HeldMutex> g_mutexes;

inline int Lock(pthread_mutex_t* mutex) {
  Explorer* const explorer = Explorer::active;
  if (explorer == nullptr || explorer->current() < 0) return 0;
  HeldMutex& held = g_mutexes[mutex];
  while (held.depth != 0 && held.by != explorer->current()) {
    explorer->WaitUntil([&held] { return held.depth == 0; });
  }
  explorer->Barrier();
  held.by = explorer->current();
  ++held.depth;
  return 0;
}
inline int Unlock(pthread_mutex_t* mutex) {
  Explorer* const explorer = Explorer::active;
  if (explorer == nullptr || explorer->current() < 0) return 0;
  explorer->Barrier();
  --g_mutexes[mutex].depth;
  Explorer::Point();
  return 0;
}

// Whoever looks again and again lets the others go on.
inline int Yield() {
  Explorer* const explorer = Explorer::active;
  if (explorer != nullptr && explorer->current() >= 0) {
    explorer->WaitUntil([] { return false; }, 1000);
  }
  return 0;
}
inline int Sleep(const timespec*, timespec*) { return Yield(); }

}  // namespace explore

#define FutexWait explore::Wait
#define FutexWake explore::Wake
#define pipe2 explore::Pipe
#define pthread_mutex_lock explore::Lock
#define pthread_mutex_unlock explore::Unlock
#define sched_yield explore::Yield
#define nanosleep explore::Sleep

namespace xsched_hsa {
// Threads are the scenario's; whoever starts one may have it (explored_layer.h).
inline bool (*g_start_thread)(void* (*)(void*), void*) = nullptr;
}  // namespace xsched_hsa

#include "../../queue-ctl/src/gpu_key.cc"
#include "../../queue-ctl/src/urgency.cc"
#include "../dependency.cc"
#include "../intercept_gate.cc"
#include "../kernel_times.cc"
#include "../log.cc"
#include "../preemption_plan.cc"
#include "../preemptor.cc"
#include "../preemptor_apply.cc"
#include "../preemptor_batch.cc"
#include "../preemptor_listen.cc"
#include "../preemptor_orders.cc"
#include "../pump.cc"
#include "../pump_dependencies.cc"
#include "../pump_usage.cc"
#include "../queue_end.h"
#include "../queue_errors.h"
#include "../queue_registry.cc"
#include "../test_ring.h"
#include "../thread.h"
#include "../trace.cc"
#include "../urgency.cc"
#include "../window_gate.cc"
#include "../window_size.cc"

namespace xsched_hsa {
bool StartDetachedThread(void* (*main)(void*), void* argument) {
  return g_start_thread != nullptr && g_start_thread(main, argument);
}
}  // namespace xsched_hsa

// NOLINTEND(bugprone-multi-level-implicit-pointer-conversion)
// NOLINTEND(bugprone-suspicious-include,bugprone-reserved-identifier,bugprone-sizeof-expression)

// queue_registry.h: from a queue pointer or a doorbell signal to the managed queue.
//
// Why        Every index operation and every signal store of the program asks this first; a signal
//            that is no doorbell of ours must be told apart in a few nanoseconds.
// Threads    Find: any, lock-free. Take, Insert, Remove, Release: under the layer's registration
//            mutex.
// Ownership  owns all ManagedQueue objects for the life of the process.
// Limits     kQueuesMax queues; a further one, or one whose keys find no place within kProbes, is
//            not managed (Take or Insert fail) and passes through.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "managed_queue.h"

namespace xsched_hsa {

class QueueRegistry {
 public:
  ManagedQueue* Find(std::uint64_t key) const {
    std::uint32_t at = Home(key);
    for (std::uint32_t probe = 0; probe < kProbes; ++probe, at = (at + 1) % kBuckets) {
      const std::uint64_t seen = buckets_[at].key.load(std::memory_order_acquire);
      if (seen == key) return buckets_[at].queue.load(std::memory_order_relaxed);
      if (seen == kEmpty) return nullptr;
    }
    return nullptr;
  }
  ManagedQueue* Find(const hsa_queue_t* queue) const {
    return Find(reinterpret_cast<std::uint64_t>(queue));
  }
  ManagedQueue* Find(hsa_signal_t doorbell) const { return Find(doorbell.handle); }

  // A free queue whose index `usable` accepts (its slot in the process page may still be read).
  template <typename Usable>
  ManagedQueue* Take(Usable usable) {
    for (std::uint32_t i = 0; i < kQueuesMax; ++i) {
      if (pool_[i].in_use.load(std::memory_order_acquire) == 0 && usable(i)) {
        pool_[i].in_use.store(1, std::memory_order_release);
        if (i >= end_.load(std::memory_order_relaxed)) end_.store(i + 1, std::memory_order_release);
        pool_[i].index = i;
        return &pool_[i];
      }
    }
    return nullptr;
  }
  void Release(ManagedQueue* queue) { queue->in_use.store(0, std::memory_order_release); }

  // Makes the queue findable by its pointer and its doorbell; both or neither.
  bool Insert(ManagedQueue* queue);
  void Remove(const ManagedQueue& queue);
  // A fork child: nothing is ours any more.
  void Clear();

  ManagedQueue* at(std::uint32_t index) { return &pool_[index]; }
  // Beyond it no queue has ever been: most programs have a handful, and a look at each of kQueuesMax costs more
  // than everything else that a thread of ours does when it wakes. Never lowered.
  std::uint32_t end() const { return end_.load(std::memory_order_acquire); }

 private:
  static constexpr std::uint32_t kBuckets = 2048;  // two keys a queue, a quarter full at most
  static constexpr std::uint32_t kProbes = 16;
  static constexpr std::uint64_t kEmpty = 0, kRemoved = 1;

  struct Bucket {
    std::atomic<std::uint64_t> key{kEmpty};
    std::atomic<ManagedQueue*> queue{nullptr};
  };

  static std::uint32_t Home(std::uint64_t key) {
    return static_cast<std::uint32_t>((key * 0x9E3779B97F4A7C15u) >> 53);  // 64 - log2(kBuckets)
  }
  bool InsertKey(std::uint64_t key, ManagedQueue* queue);
  void RemoveKey(std::uint64_t key);

  std::atomic<std::uint32_t> end_{0};
  std::array<Bucket, kBuckets> buckets_;
  std::array<ManagedQueue, kQueuesMax> pool_;
};

}  // namespace xsched_hsa

#include "queue_registry.h"

namespace xsched_hsa {

bool QueueRegistry::InsertKey(std::uint64_t key, ManagedQueue* queue) {
  if (key == kEmpty || key == kRemoved) return false;
  std::uint32_t at = Home(key);
  for (std::uint32_t probe = 0; probe < kProbes; ++probe, at = (at + 1) % kBuckets) {
    const std::uint64_t seen = buckets_[at].key.load(std::memory_order_relaxed);
    if (seen != kEmpty && seen != kRemoved) continue;
    buckets_[at].queue.store(queue, std::memory_order_relaxed);
    buckets_[at].key.store(key, std::memory_order_release);
    return true;
  }
  return false;
}

void QueueRegistry::RemoveKey(std::uint64_t key) {
  std::uint32_t at = Home(key);
  for (std::uint32_t probe = 0; probe < kProbes; ++probe, at = (at + 1) % kBuckets) {
    if (buckets_[at].key.load(std::memory_order_relaxed) == key) {
      buckets_[at].key.store(kRemoved, std::memory_order_release);
      return;
    }
  }
}

bool QueueRegistry::Insert(ManagedQueue* queue) {
  const auto pointer = reinterpret_cast<std::uint64_t>(queue->queue);
  if (!InsertKey(pointer, queue)) return false;
  if (InsertKey(queue->doorbell.handle, queue)) return true;
  RemoveKey(pointer);
  return false;
}

void QueueRegistry::Remove(const ManagedQueue& queue) {
  RemoveKey(reinterpret_cast<std::uint64_t>(queue.queue));
  RemoveKey(queue.doorbell.handle);
}

void QueueRegistry::Clear() {
  for (Bucket& bucket : buckets_) bucket.key.store(kEmpty, std::memory_order_relaxed);
}

}  // namespace xsched_hsa

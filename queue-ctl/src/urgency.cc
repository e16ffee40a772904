#include "urgency.h"

#include "gpu_key.h"

namespace xsched_hsa {

GpuUrgency* ClaimGpu(UserPage& page, GpuKey key) {
  if (!PlausibleGpuKey(key)) return nullptr;
  for (GpuUrgency& gpu : page.gpus) {
    GpuKey found = gpu.gpu_key.load(std::memory_order_acquire);
    if (found == 0 && gpu.gpu_key.compare_exchange_strong(found, key)) return &gpu;
    if (found == key) return &gpu;
  }
  return nullptr;
}

SettleResult SettleUrgency(GpuUrgency& gpu, const std::function<std::uint32_t()>& level_now,
                           const Clock& clock) {
  SettleResult result;
  while (result.rounds++ < kSettleRoundsMax) {
    std::uint64_t word = gpu.word.load(std::memory_order_seq_cst);
    const std::uint32_t target = level_now();
    std::uint32_t epoch = EpochOf(word);
    if (gpu.acked_epoch.load(std::memory_order_relaxed) != epoch) result.acked = true;

    if (LevelOf(word) != target) {
      const std::uint64_t wanted = UrgencyWord(epoch + 1, target);
      if (!gpu.word.compare_exchange_strong(word, wanted, std::memory_order_seq_cst)) continue;
      (LevelOf(word) > target ? result.lowered : result.raised) = true;
      ++epoch;
    }
    result.level = target;
    // The lease first: a layer that sees its epoch acknowledged relies on one being there.
    if (target != 0) {
      gpu.lease_until_us.store(clock.NowUs() + kLeaseUs, std::memory_order_seq_cst);
    }
    if (gpu.acked_epoch.load(std::memory_order_relaxed) != epoch) {
      gpu.acked_epoch.store(epoch, std::memory_order_seq_cst);
    }
    // A raise between the CAS and the acknowledgement found an old acked_epoch and did not extend
    // the lease; don't leave it to the next event.
    if (EpochOf(gpu.word.load(std::memory_order_seq_cst)) == epoch) break;
  }
  return result;
}

}  // namespace xsched_hsa

#include "fake_layer.h"

#include <algorithm>

namespace xsched_hsa::testing {

void FakeLayer::MakeQueue(std::uint32_t index, std::uint32_t serial, int priority, GpuKey gpu) {
  QueueSlot& slot = Slot(index);
  slot.serial = serial;
  slot.gpu_key = gpu;
  slot.ring_packets = 1024;
  slot.kfd_queue_id = kUnknownKfdQueueId;
  slot.requested_priority.store(priority);
  slot.created_us = now_();
  for (auto* counter :
       {&slot.submitted_index, &slot.published_index, &slot.read_index, &slot.packets_held,
        &slot.holds, &slot.held_us, &slot.held_us_max, &slot.raises}) {
    counter->store(0);
  }
  slot.active.store(0);
  slot.gate_closed.store(0);
  slot.device_us.store(0);
  slot.deadline_us.store(0);
  SetState(index, kSlotLive);
}

void FakeLayer::DestroyQueue(std::uint32_t index) { SetState(index, kSlotRetired); }

void FakeLayer::SetState(std::uint32_t index, std::uint32_t state) {
  Slot(index).state.store(state, std::memory_order_release);
  process_->changes.fetch_add(1, std::memory_order_release);
}

GpuUrgency* FakeLayer::Gpu(GpuKey key) const {
  for (GpuUrgency& gpu : user_->gpus) {
    GpuKey expected = 0;
    if (gpu.gpu_key.compare_exchange_strong(expected, key) || expected == key) return &gpu;
  }
  return nullptr;
}

int FakeLayer::OwnPriority(std::uint32_t index) const {
  const std::int32_t given = Slot(index).priority.load();
  return given >= 0 ? given : Slot(index).requested_priority.load();
}

void FakeLayer::RaiseWord(std::uint32_t index) {
  GpuUrgency* gpu = Gpu(Slot(index).gpu_key);
  const auto own = static_cast<std::uint32_t>(OwnPriority(index)) + 1;
  std::uint64_t word = gpu->word.load();
  while (!gpu->word.compare_exchange_weak(
      word, UrgencyWord(EpochOf(word) + 1, std::max(LevelOf(word), own)))) {
  }
  if (gpu->acked_epoch.load() == EpochOf(word)) {
    const std::uint64_t until = now_() + kLeaseUs;
    std::uint64_t lease = gpu->lease_until_us.load();
    while (lease < until && !gpu->lease_until_us.compare_exchange_weak(lease, until)) {
    }
  }
  Slot(index).raises.fetch_add(1);
}

void FakeLayer::BecomeActive(std::uint32_t index) {
  const std::uint32_t mode = Slot(index).mode.load();
  if ((mode & (kModeRaise | kModeReport)) == 0) return;
  if (Slot(index).active.exchange(1) == 0 && (mode & kModeRaise) != 0) RaiseWord(index);
}

void FakeLayer::BecomeIdle(std::uint32_t index) { Slot(index).active.store(0); }

bool FakeLayer::GateClosed(std::uint32_t index) const {
  QueueSlot& slot = Slot(index);
  if (process_->detached.load() != 0) return false;
  if (slot.hold.load() != 0 && now_() < slot.hold_lease_until_us.load()) return true;
  if ((slot.mode.load() & kModeArmed) == 0) return false;
  GpuUrgency* gpu = Gpu(slot.gpu_key);
  const auto is_closed = [&] {
    return LevelOf(gpu->word.load()) > static_cast<std::uint32_t>(OwnPriority(index)) + 1 &&
           now_() < gpu->lease_until_us.load();
  };
  if (!is_closed()) return false;
  const std::uint32_t bit = process_->session_bit;
  gpu->closed[bit / 64].fetch_or(std::uint64_t{1} << bit % 64);
  return is_closed();
}

}  // namespace xsched_hsa::testing

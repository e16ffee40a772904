// pump_dependencies.cc: no deadlock by preemption: what an urgent queue waits for is let run.
#include <algorithm>

#include "clock.h"
#include "pump.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

constexpr std::uint64_t kLookMinNs = 50'000, kLookMaxNs = 2'000'000;

}  // namespace

Dependencies Pump::UnmetAtHead(const ManagedQueue& queue, std::uint64_t head) {
  return UnmetDependencies(gate_->PacketAt(queue, head), &reader_);
}

// Returns when to look at this queue's head again. A barrier is passed within microseconds if it can
// be; one that stays for linger_us with a dependency unmet waits.
std::uint64_t Pump::WatchDependencies(ManagedQueue* queue, QueueSlot* slot) {
  const bool active = slot->active.load(std::memory_order_seq_cst) != 0;
  const bool raises = (slot->mode.load(std::memory_order_acquire) & kModeRaise) != 0;
  // One that works for a queue that waits may wait itself, and need not be one that raises.
  const bool inherits = queue->inherited_level.load(std::memory_order_relaxed) != 0;
  const bool watched = (raises && (active || queue->waits)) || inherits;
  if (!watched || !gate_->HasUnfinished(*queue)) {
    // Nothing left to be urgent about; and nobody would notice that it is done.
    queue->waits = false;
    queue->waits_since_us = 0;
    return kForeverNs;
  }
  const std::uint64_t head = gate_->Head(*queue);
  const Dependencies unmet =
      head < gate_->Published(*queue) ? UnmetAtHead(*queue, head) : Dependencies{};
  const std::uint64_t linger_us = slot->linger_us.load(std::memory_order_relaxed);
  const std::uint64_t look_ns = std::max(linger_us * 250, kLookMinNs);
  if (unmet.count == 0) {
    // Its turn has come: urgent again, if it was given up.
    const bool raised = queue->waits && raises && RaiseIfInactive(queue, slot);
    if (raised) TellController();
    queue->waits = false;
    queue->waits_since_us = 0;
    return active || raised || inherits ? look_ns : kForeverNs;
  }
  const std::uint64_t now_us = NowUs();
  if (queue->waits_since_us == 0 || queue->waits_at != head) {
    queue->waits_since_us = now_us;
    queue->waits_at = head;
  }
  if (now_us - queue->waits_since_us < linger_us) return look_ns;
  somebody_waits_ = true;
  if (!LetProvidersRun(*queue, unmet, LevelOfQueue(*queue, *slot))) {
    GiveUp(queue, slot, head);
  } else if (!raises) {
    queue->waits = false;
  }
  // The longer it has waited, the less it matters to notice at once.
  return std::clamp((now_us - queue->waits_since_us) * 100, look_ns, kLookMaxNs);
}

// The level goes along a chain of waiting queues in as many rounds as it has links.
bool Pump::LetProvidersRun(const ManagedQueue& waiting, const Dependencies& unmet,
                           std::uint32_t level) {
  bool any = false;
  for (std::uint32_t i = 0; i < registry_->end(); ++i) {
    ManagedQueue* queue = registry_->at(i);
    if (queue == &waiting) continue;
    // Its ring must not go while we look: destruction waits for us.
    queue->pump_inside.store(1, std::memory_order_seq_cst);
    any |= queue->live.load(std::memory_order_seq_cst) != 0 && LetRunFor(queue, unmet, level);
    queue->pump_inside.store(0, std::memory_order_seq_cst);
  }
  return any;
}

// True if the queue may complete what is waited for; it then has at least that level. One that itself
// waits for something out of our sight can't run, however urgent it is.
bool Pump::LetRunFor(ManagedQueue* queue, const Dependencies& unmet, std::uint32_t level) {
  const bool provides =
      std::any_of(unmet.signals, unmet.signals + unmet.count,
                  [&](std::uint64_t signal) { return MayComplete(*gate_, *queue, signal); });
  if (!provides) return false;
  if (queue->inherited_level.load(std::memory_order_relaxed) >= level) return !queue->waits;
  queue->inherited_level.store(level, std::memory_order_seq_cst);
  inheriting_ = true;
  GateLook look;
  gate_->Look(queue, &look);
  if (UserPage* page = queue->user_page.load(std::memory_order_acquire)) RingBell(page);
  // It may itself wait for a third one, and counts as urgent from now on.
  QueueSlot* slot = queue->slot.load(std::memory_order_acquire);
  if ((slot->mode.load(std::memory_order_acquire) & kModeRaise) != 0) {
    RaiseIfInactive(queue, slot);
  }
  return true;
}

// Nothing here that the device could run: others may, until the head moves.
void Pump::GiveUp(ManagedQueue* queue, QueueSlot* slot, std::uint64_t head) {
  queue->waits = true;
  if (slot->active.exchange(0, std::memory_order_seq_cst) == 0) return;
  if (gate_->Head(*queue) != head) {
    RaiseIfInactive(queue, slot);
    queue->waits = false;
  }
  TellController();
}

void Pump::EndInheritance() {
  for (std::uint32_t i = 0; i < registry_->end(); ++i) {
    ManagedQueue* queue = registry_->at(i);
    if (queue->inherited_level.exchange(0, std::memory_order_seq_cst) == 0) continue;
    if (UserPage* page = queue->user_page.load(std::memory_order_acquire)) RingBell(page);
  }
  inheriting_ = false;
}

}  // namespace xsched_hsa

// pump_usage.cc: how much of the device a queue uses, and how long its bursts of work last.
//
// Measured by looks, so that the packet path pays nothing: a queue that had packets on the hardware
// at the last look and has none now is charged half of the time between, which is right on average.
#include <algorithm>

#include "clock.h"
#include "pump.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

// Between looks at what runs: short enough to charge it, and while the next one's turn waits for
// the end of it, to see that.
constexpr std::uint64_t kUsePollNs = 500'000, kEndPollMinNs = 30'000, kEndPollMaxNs = 200'000;

}  // namespace

// Charges the queue up to now. Returns when to look again.
std::uint64_t Pump::CountUse(ManagedQueue* queue, QueueSlot* slot, std::uint32_t mode,
                             bool closed) {
  if ((mode & (kModeArmed | kModeRaise | kModeReport)) == 0) {
    queue->exposed_since_us = 0;
    slot->exposed.store(0, std::memory_order_relaxed);
    return kForeverNs;
  }
  // Work from before the mode was set: no doorbell has told of it. A request that runs when the first
  // less urgent program comes is one. Looked at again at once, for its end is watched from then on.
  if ((mode & (kModeRaise | kModeReport)) != 0 && !queue->waits && gate_->HasUnfinished(*queue) &&
      Activate(queue, slot)) {
    TellController();
    return 0;
  }
  const bool on_hardware = gate_->HasExposed(*queue);
  slot->exposed.store(on_hardware ? 1 : 0, std::memory_order_relaxed);
  const bool exposed =
      on_hardware && slot->restriction.load(std::memory_order_relaxed) != kSuspended;
  if (!exposed && queue->exposed_since_us == 0) return kForeverNs;
  const std::uint64_t now_us = NowUs();
  if (queue->exposed_since_us != 0) {
    const std::uint64_t passed_us = now_us - queue->exposed_since_us;
    slot->device_us.fetch_add(exposed ? passed_us : (passed_us + 1) / 2, std::memory_order_relaxed);
  }
  queue->exposed_since_us = exposed ? now_us : 0;
  if ((mode & kModeReport) == 0) return kForeverNs;
  if (exposed && closed) {
    return std::clamp(gate_->RestNs(queue, now_us * 1000) / 2, kEndPollMinNs, kEndPollMaxNs);
  }
  if (exposed) return kUsePollNs;
  // The last of a held queue: somebody's turn may begin. The indexes first.
  if (closed) {
    Mirror(*queue, slot);
    TellController();
  }
  return kForeverNs;
}

// The queue has become idle at idle_since_us.
void Pump::CountBurst(const ManagedQueue& queue) {
  ProcessPage* page = page_.load(std::memory_order_acquire);
  const std::uint64_t began_us = queue.active_since_us.load(std::memory_order_relaxed);
  if (page == nullptr || began_us == 0 || queue.idle_since_us < began_us) return;
  page->requests.bursts.Add(queue.idle_since_us - began_us);
}

}  // namespace xsched_hsa

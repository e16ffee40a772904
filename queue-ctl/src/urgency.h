// urgency.h: the controller's side of a GPU's urgency word (GpuUrgency in shared_page.h).
//
// Why        Layers raise the word at their doorbells without asking; only the controller lowers
//            it, and a lowering must never swallow a raise that happens at the same time.
// Threads    the controller's thread; layers CAS the same words from other processes.
// Order      a layer stores `active` first and raises the word second, both sequentially
//            consistent. The controller reads the word first and `active` second. So either it sees
//            the queue active, or the raise comes after its read of the word and its CAS fails.
// Ownership  works on pages owned by the caller.
// Limits     kSettleRoundsMax rounds a call: a program that raises in a loop can't keep the
//            controller; its next event or the renewal timer continues.
// See        queue-ctl/tests/urgency_test.cc
#pragma once

#include <cstdint>
#include <functional>

#include "clock.h"
#include "queue-ctl/shared_page.h"

namespace xsched_hsa {

inline constexpr int kSettleRoundsMax = 64;

// The entry of `key`, made if there is room; nullptr when the table is full or the key implausible.
GpuUrgency* ClaimGpu(UserPage& page, GpuKey key);

struct SettleResult {
  std::uint32_t level = 0;  // the level that stands at the end
  bool lowered = false;     // a closed gate may open now: wake those of GpuUrgency::closed
  bool raised = false;      // the controller itself raised it (a relay, or a new priority)
  bool acked = false;       // a layer had moved the word since the last call
  int rounds = 0;
};

// Brings the word to `level_now()`, acknowledges its epoch, and renews the lease while the level is
// not 0. `level_now` must read the queues' activity afresh at each call.
SettleResult SettleUrgency(GpuUrgency& gpu, const std::function<std::uint32_t()>& level_now,
                           const Clock& clock);

}  // namespace xsched_hsa

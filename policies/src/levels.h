// levels.h: strict order between priorities, which most policies build on.
//
// Threads    pure functions.
// See        strict_priority.cc, whose essay says what armed and raise do.
#pragma once

#include "policies/registry.h"

namespace xsched_hsa {

// Resets *answer, carries every queue's memory over, and makes each queue armed, raising, both or
// neither by what priorities there are.
void PrepareLevels(const Snapshot& snapshot, const PolicyParams& params, Answer* answer);

// Lets a queue that has waited hold_max_us with work run beside what is more urgent, for
// guaranteed_share_permille of the time. For armed queues; after PrepareLevels.
void AgeHeld(const Snapshot& snapshot, const PolicyParams& params, Answer* answer);

// Holds the queues of programs that have used more than their cap. After everything else.
void ApplyCaps(const Snapshot& snapshot, const PolicyParams& params, Answer* answer);

// What a hold and a report need.
void ArmForReport(const PolicyParams& params, QueueIntent* intent);

// The device time of queues [first, last) of one program since the last answer: side by side they
// have used the device once.
std::uint64_t UsedTogether(const Snapshot& snapshot, std::size_t first, std::size_t last);

// The end of the run of queues of one session that begins at `first`.
std::size_t EndOfSession(const Snapshot& snapshot, std::size_t first);

}  // namespace xsched_hsa

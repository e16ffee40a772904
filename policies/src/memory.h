// memory.h: which word of PolicyMemory is whose, so that parts of one policy don't share one.
#pragma once

#include "policies/policy.h"

namespace xsched_hsa {

enum QueueWord : std::size_t {
  kHeldSinceUs = 0,    // aging: has had to wait since then; 0: has not
  kLastPublished = 1,  // aging: published_packets when last asked, plus 1
  kBoostUntilUs = 2,   // aging: its turn beside the urgent ones ends then; 0: none
  kTurnBeganUs = 3,    // turns: its program's turn began then; 0: not its turn
  kTurnUsedUs = 4,     // turns: device time of this turn
  kLastTurnUs = 5,     // turns: when its last turn ended
  kVirtualUs = 6,      // weighted-fair: device time by weight, plus 1; 0: not running
  kCapDebtUs = 7,      // caps: device time used beyond the cap
};

// All of latency-target.
enum ArenaWord : std::size_t {
  kProtection = 0,  // its step, plus 1
  kProbing = 1,     // 1 from a step back until it is judged
  kPatience = 2,    // verdicts to let pass before the next step back
  kLastPatience = 3,
};

inline std::int64_t Word(const QueueView& view, QueueWord word) { return view.memory.words[word]; }
inline std::int64_t& Word(QueueAnswer& answer, QueueWord word) { return answer.memory.words[word]; }

}  // namespace xsched_hsa

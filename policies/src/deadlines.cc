// deadlines.cc: among programs of one priority, the request that is most pressed goes first.
//
// earliest-deadline  the earliest deadline. A request without one comes after all that have one.
// least-laxity       the least time that could still be lost: deadline − now − what the request
//                    probably still needs (the median of such requests, less the device time of this
//                    one). It sees that a long request with a later deadline may be the one to start
//                    now; but it needs requests that are marked or alike, and two nearly equal ones
//                    would change places all the time, so a turn is left alone until the other is
//                    more than a slice more pressed.
//
// Deadlines come from the program (xsched_hsa.h), or from its class: then each burst of work, or
// marked request, has to be done so long after it began. With `concurrent` above 1 so many run side
// by side. Those without a deadline take turns of a slice.
//
// Counterparts of XSched's KEDF and LAX.
//
// Parameters read: window_us, linger_us, slice_ms, turn_tail_ms, concurrent, hold_max_ms,
// guaranteed_share_percent, cap_period_ms.
#include <limits>

#include "levels.h"
#include "policies_list.h"
#include "turns.h"

namespace xsched_hsa {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max() / 2;

// Smaller is more pressed.
using Pressure = std::int64_t (*)(const Snapshot&, const Contender&);

std::int64_t ByDeadline(const Snapshot&, const Contender& contender) {
  return contender.deadline_us == 0 ? kNever : static_cast<std::int64_t>(contender.deadline_us);
}

std::int64_t ByLaxity(const Snapshot& snapshot, const Contender& contender) {
  if (contender.deadline_us == 0) return kNever;
  const auto needs = static_cast<std::int64_t>(contender.request_us);
  const auto used = static_cast<std::int64_t>(contender.burst_used_us);
  return static_cast<std::int64_t>(contender.deadline_us) -
         static_cast<std::int64_t>(snapshot.now_us) - (needs > used ? needs - used : 0);
}

class PressureOrder final : public TurnOrder {
 public:
  PressureOrder(Pressure pressure, std::int64_t margin_us)
      : pressure_(pressure), margin_us_(margin_us) {}

  bool IsBefore(const Snapshot& snapshot, const Contender& a, const Contender& b) const override {
    const std::int64_t a_pressure = pressure_(snapshot, a), b_pressure = pressure_(snapshot, b);
    if (a_pressure != b_pressure) return a_pressure < b_pressure;
    return a.last_turn_us < b.last_turn_us;
  }
  bool Interrupts(const Snapshot& snapshot, const Contender& waiting,
                  const Contender& holder) const override {
    return pressure_(snapshot, waiting) + margin_us_ < pressure_(snapshot, holder);
  }

 private:
  const Pressure pressure_;
  const std::int64_t margin_us_;
};

}  // namespace

std::unique_ptr<Policy> MakeEarliestDeadline(const PolicyParams& params) {
  return std::make_unique<TurnPolicy<PressureOrder>>("earliest-deadline", params, &ByDeadline, 0);
}

std::unique_ptr<Policy> MakeLeastLaxity(const PolicyParams& params) {
  return std::make_unique<TurnPolicy<PressureOrder>>("least-laxity", params, &ByLaxity,
                                                     params.slice_us);
}

}  // namespace xsched_hsa

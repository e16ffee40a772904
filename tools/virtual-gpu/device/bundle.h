// bundle.h: how many workgroups one simulated resident stands for, and how it comes apart again.
//
// Why        A real iteration has 52 million workgroups of a few microseconds. One event each would
//            be ten times slower than real time, and while a dispatch is alone on a CU nobody can
//            see the difference. So a resident stands for slots x rounds workgroups, and is split
//            into single workgroups only when a competitor could make use of one that ends.
//
// Shapes     exact      one resident per workgroup: grain_ns = 0, or long workgroups (one CU ends
//                       fewer than one per kExactIntervalNs)
//            bundle     nobody else could use the CU: all free slots x up to kBundleNs, and not
//                       more than the fair share of what is left in the XCC (guided
//                       self-scheduling, so that the last rounds are single and the CUs end
//                       together)
//            contended  one slot x as many rounds as give a CU `contended_ends` ends per grain
//
// Strain     two programs that never stop contending would need more events than a host has time
//            for: above kEventsPerUs on average contended residents get more rounds in proportion
//            (EventBudget; it counts simulated time only, so results stay reproducible).
//
// Splitting  Rounds that are over are reported; the workgroups that run become residents of their
//            own, with a phase drawn as the sum of as many +-spread variations as rounds went by,
//            modulo the workgroup's time; rounds that did not start return to the dispatch.
// Invariant  finished + running + returned = slots * rounds, always.
// See        dispatcher.h (when), bundle_test.cc, exact_test.cc (bundled against exact runs)
#pragma once

#include <array>
#include <cstdint>

#include "cu_array.h"
#include "random.h"

namespace virtual_gpu {

inline constexpr double kBundleNs = 300'000;
inline constexpr double kExactIntervalNs = 100'000;

inline constexpr double kEventsPerUs = 2.0;
inline constexpr double kEventBurst = 500'000;

// A leaky bucket of events: how much coarser than wished the contended residents must be.
class EventBudget {
 public:
  explicit EventBudget(bool enabled) : enabled_(enabled) {}
  void Count(TimeNs now) {
    if (++counted_ < 1024 || !enabled_) return;
    level_ += counted_ - static_cast<double>(now - since_) * (kEventsPerUs / 1000);
    level_ = level_ > 0 ? level_ : 0;
    strain_ = level_ > kEventBurst ? level_ / kEventBurst : 1;
    counted_ = 0;
    since_ = now;
  }
  double strain() const { return strain_; }

 private:
  bool enabled_;
  std::uint32_t counted_ = 0;
  TimeNs since_ = 0;
  double level_ = 0, strain_ = 1;
};

// What a split leaves of a resident.
struct SplitCounts {
  std::uint64_t finished = 0;   // whole workgroups to report
  std::uint32_t running = 0;    // written to the caller's array of remaining times
  std::uint64_t unstarted = 0;  // back to the dispatch
  bool first_finished = false;  // workgroup 0 is among the finished
};

struct Shape {
  std::uint32_t slots = 1, rounds = 1;
  bool last_round = false;  // nothing will follow in these slots: ends when its slowest does
};

// What of the choice depends on the kernel only.
struct ShapePlan {
  bool exact = true;
  double contended_rounds = 1, bundle_rounds = 1;
};

struct ShapeQuestion {
  std::uint64_t pool = 0;        // workgroups left for this XCC
  std::uint32_t free_slots = 0;  // on the CU in question
  double per_cu = 0;             // 1 / CUs that the queue may use in this XCC
  double per_slot = 0;           // 1 / (those CUs x occupancy)
  bool contended = false;
  double strain = 1;
};

class Bundler {
 public:
  explicit Bundler(const DeviceParams& params);

  ShapePlan Plan(double workgroup_ns, std::uint32_t occupancy) const;
  Shape Choose(const ShapePlan& plan, const ShapeQuestion& question) const;
  // Virtual time that a resident of this shape takes.
  double DrawDuration(const Shape& shape, double workgroup_ns, Random* random) const;
  // Is such a resident worth splitting when somebody waits for its CU?
  static bool IsBundle(const ShapePlan& plan, std::uint32_t slots, std::uint32_t rounds,
                       double strain) {
    return slots > 1 || rounds > 2 * plan.contended_rounds * strain;
  }
  // `rounds_before`: how long, in rounds, the dispatch has been running when the split comes.
  SplitCounts Split(const Resident& resident, double v, double finish_v, double workgroup_ns,
                    double rounds_before, Random* random, double* left) const;
  static std::uint32_t RoundsOver(const Resident& resident, double v, double finish_v);

 private:
  double Sigma(double rounds, std::uint32_t slots) const;

  double spread_;
  double grain_ns_, contended_ends_;
  std::array<double, 64> sigmas_{};  // of one slot and so many rounds
};

}  // namespace virtual_gpu

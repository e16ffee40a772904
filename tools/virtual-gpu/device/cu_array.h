// cu_array.h: the compute units: what is resident, how fast it runs, and what ends next.
//
// Why        The innermost loop of the simulation: flat arrays, no allocation after construction.
//            Residents of a CU share it: when their demands sum to more than one CU all slow down
//            equally, so one virtual clock per CU gives every resident its end.
// Units      v: a CU's virtual nanoseconds, which run at min(1, 1 / sum of demands) of real ones.
// Limits     params.workgroups_per_cu residents per CU.
// See        bundle.h for residents that stand for many workgroups; dispatcher.h for who places
// them
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "geometry.h"

namespace virtual_gpu {

// One entry of a CU: `slots` workgroups side by side, `rounds` one after the other in each slot.
struct Resident {
  double start_v = 0;
  std::uint32_t dispatch = 0;
  std::uint32_t rounds = 1;
  std::uint16_t slots = 1;
  bool has_first = false;  // workgroup 0 of the dispatch is in its first round
  bool fresh = false;      // its slots started together with it
  bool bundle = false;     // worth splitting when somebody else waits for this CU
};

struct alignas(64) Cu {
  double v = 0;
  double rate = 1, slowdown = 1;              // slowdown = 1 / rate
  double next_v = 0;                          // finish of the resident that ends first
  TimeNs at = 0;                              // when v was brought up to date
  std::uint32_t demand = 0, rate_demand = 0;  // rate_demand: what rate was made from
  std::uint16_t residents = 0, bundles = 0;
  std::uint16_t next = 0;  // index of the resident that ends first
  bool stale = false;      // something was removed: next and next_v are to be found again
  std::uint8_t xcc = 0;
  std::uint16_t se = 0;       // in its XCC
  std::uint16_t se_flat = 0;  // of the device: a word of a CuMask
  std::uint32_t bit = 0;      // in that word
};
static_assert(sizeof(Cu) == 64);

class CuArray {
 public:
  explicit CuArray(const Geometry& geometry);

  const Cu& at(std::uint32_t cu) const { return cus_[cu]; }
  Resident& resident(std::uint32_t cu, std::uint32_t i) { return residents_[cu * stride_ + i]; }
  const Resident& resident(std::uint32_t cu, std::uint32_t i) const {
    return residents_[cu * stride_ + i];
  }
  double finish_v(std::uint32_t cu, std::uint32_t i) const { return finish_v_[cu * stride_ + i]; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(cus_.size()); }
  std::uint32_t bundles_in(std::uint32_t se_flat) const { return bundles_in_[se_flat]; }
  std::uint32_t free_waves(std::uint32_t cu) const { return free_[cu].waves(); }

  bool Fits(std::uint32_t cu, const Footprint& fp) const { return free_[cu].Holds(fp.room); }
  // With one workgroup of `other` more, or fewer, than now.
  bool FitsBeside(std::uint32_t cu, const Footprint& other, const Footprint& fp) const {
    return free_[cu].Holds(other.room + fp.room);
  }
  bool FitsWithout(std::uint32_t cu, const Footprint& other, const Footprint& fp) const {
    return (free_[cu] + other.room).Holds(fp.room);
  }
  std::uint32_t FreeSlots(std::uint32_t cu, const Footprint& fp) const;

  // Brings the CU's clock to `now`; before any of the next three.
  void Sync(std::uint32_t cu, TimeNs now);
  void Add(std::uint32_t cu, const Resident& resident, double finish_v, const Footprint& fp);
  void Remove(std::uint32_t cu, std::uint32_t i,
              const Footprint& fp);  // the last one takes index i
  void SetFinish(std::uint32_t cu, std::uint32_t i, double finish_v) {
    finish_v_[cu * stride_ + i] = finish_v;
  }
  // After Remove and SetFinish: finds the next end again. Add alone does so by itself.
  void Refresh(std::uint32_t cu);
  void RefreshIfStale(std::uint32_t cu) {
    if (cus_[cu].stale) Refresh(cu);
  }

  TimeNs next_time() const { return next_time_; }
  std::uint32_t next_cu() const { return next_cu_; }

 private:
  // So many are compared at once: residents of a CU, CUs of a group, groups of a block.
  static constexpr std::uint32_t kScan = 8;
  void Schedule(std::uint32_t cu);
  void SetEnd(std::uint32_t cu, TimeNs time);

  std::uint32_t stride_;
  std::vector<Cu> cus_;
  std::vector<Room> free_;                 // per CU
  std::vector<std::uint32_t> bundles_in_;  // per SE of the device
  std::vector<Resident> residents_;        // [cu * stride_ + i]
  std::vector<double> finish_v_;           // the same index; infinite where nobody is
  // The earliest of the CUs' next ends: per CU, group, block, of all. Short scans are cheaper than
  // a tree's branches. Among equal times the lowest CU comes first.
  std::vector<TimeNs> ends_, group_ends_, block_ends_;
  std::vector<std::uint32_t> group_cus_, block_cus_;
  TimeNs next_time_ = kNever;
  std::uint32_t next_cu_ = 0;
};

inline std::uint32_t CuArray::FreeSlots(std::uint32_t cu, const Footprint& fp) const {
  const Room& free = free_[cu];
  std::uint32_t slots = std::min(free.waves() / fp.waves, free.workgroups());
  if (fp.vgpr_units) slots = std::min(slots, free.vgpr_units() / fp.vgpr_units);
  if (fp.lds_bytes) slots = std::min(slots, free.lds_bytes() / fp.lds_bytes);
  return slots;
}

inline void CuArray::Sync(std::uint32_t cu, TimeNs now) {
  Cu& c = cus_[cu];
  if (c.at != now) {
    c.v += static_cast<double>(now - c.at) * c.rate;
    c.at = now;
  }
  if (c.residents == 0) c.v = 0;  // keeps the clock's precision over long runs
}

inline void CuArray::Add(std::uint32_t cu, const Resident& resident, double finish_v,
                         const Footprint& fp) {
  Cu& c = cus_[cu];
  const std::uint32_t i = c.residents++;
  residents_[cu * stride_ + i] = resident;
  finish_v_[cu * stride_ + i] = finish_v;
  c.bundles = static_cast<std::uint16_t>(c.bundles + resident.bundle);
  bundles_in_[c.se_flat] += resident.bundle;
  free_[cu] = free_[cu] - fp.room * resident.slots;
  c.demand += fp.demand * resident.slots;
  if (c.stale) return;
  if (i == 0 || finish_v < c.next_v) {
    c.next_v = finish_v;
    c.next = static_cast<std::uint16_t>(i);
  } else if (c.demand <= kDemandOne) {
    return;  // neither the rate nor the next end changed
  }
  Schedule(cu);
}

}  // namespace virtual_gpu

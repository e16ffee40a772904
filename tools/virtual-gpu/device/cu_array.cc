#include "cu_array.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace virtual_gpu {

CuArray::CuArray(const Geometry& geometry)
    : stride_(std::max(1u, geometry.workgroups_per_cu())),
      leaves_(std::bit_ceil(std::max(2u, geometry.cu_count()))),
      waves_max_(geometry.waves_per_cu()),
      vgpr_units_max_(geometry.vgpr_units_per_cu()),
      lds_bytes_max_(geometry.lds_bytes_per_cu()),
      workgroups_max_(geometry.workgroups_per_cu()),
      cus_(geometry.cu_count()),
      residents_(std::size_t{geometry.cu_count()} * stride_),
      finish_v_(residents_.size()),
      tree_(std::size_t{leaves_} * 2) {
  for (std::uint32_t cu = 0; cu < size(); ++cu) {
    const CuLocation where = geometry.Locate(cu);
    cus_[cu].xcc = static_cast<std::uint16_t>(where.xcc);
    cus_[cu].se = static_cast<std::uint16_t>(where.se);
    cus_[cu].bit = 1u << where.cu;
  }
  for (std::uint32_t i = 0; i < leaves_; ++i) tree_[leaves_ + i].cu = i;
  for (std::uint32_t i = leaves_ - 1; i > 0; --i) tree_[i] = tree_[2 * i];
}

void CuArray::Remove(std::uint32_t cu, std::uint32_t i, const Footprint& fp) {
  Cu& c = cus_[cu];
  Resident& gone = residents_[cu * stride_ + i];
  c.bundles = static_cast<std::uint16_t>(c.bundles - gone.bundle);
  c.waves -= fp.waves * gone.slots;
  c.vgpr_units -= fp.vgpr_units * gone.slots;
  c.lds_bytes -= fp.lds_bytes * gone.slots;
  c.workgroups -= gone.slots;
  c.demand -= fp.demand * gone.slots;
  c.stale = true;
  const std::uint32_t last = --c.residents;
  gone = residents_[cu * stride_ + last];
  finish_v_[cu * stride_ + i] = finish_v_[cu * stride_ + last];
}

void CuArray::Refresh(std::uint32_t cu) {
  Cu& c = cus_[cu];
  const double* finish = &finish_v_[cu * stride_];
  std::uint32_t next = 0;
  for (std::uint32_t i = 1; i < c.residents; ++i) {
    if (finish[i] < finish[next]) next = i;
  }
  c.stale = false;
  c.next = static_cast<std::uint16_t>(next);
  c.next_v = c.residents ? finish[next] : 0;
  Schedule(cu);
}

void CuArray::Schedule(std::uint32_t cu) {
  Cu& c = cus_[cu];
  c.rate = c.demand <= kDemandOne ? 1.0 : double{kDemandOne} / c.demand;
  TimeNs time = kNever;
  if (c.residents) {
    const double left = (c.next_v - c.v) / c.rate;
    // Never in the same nanosecond as its start, whatever the rounding: time must advance.
    time = c.at + std::max<TimeNs>(left > 0 ? 1 : 0, static_cast<TimeNs>(std::ceil(left)));
  }
  std::size_t i = leaves_ + cu;
  if (tree_[i].time == time) return;
  tree_[i].time = time;
  while (i > 1) {
    i /= 2;
    const Node& winner =
        tree_[2 * i + 1].time < tree_[2 * i].time ? tree_[2 * i + 1] : tree_[2 * i];
    if (tree_[i].time == winner.time && tree_[i].cu == winner.cu) return;
    tree_[i] = winner;
  }
}

}  // namespace virtual_gpu

#include "cu_array.h"

#include <algorithm>

namespace virtual_gpu {

CuArray::CuArray(const Geometry& geometry)
    : stride_(std::max(1u, geometry.workgroups_per_cu())),
      waves_max_(geometry.waves_per_cu()),
      vgpr_units_max_(geometry.vgpr_units_per_cu()),
      lds_bytes_max_(geometry.lds_bytes_per_cu()),
      workgroups_max_(geometry.workgroups_per_cu()),
      cus_(geometry.cu_count()),
      residents_(std::size_t{geometry.cu_count()} * stride_),
      finish_v_(residents_.size()),
      ends_((geometry.cu_count() + kGroup - 1) / kGroup * kGroup + kGroup, kNever),
      groups_(ends_.size() / kGroup) {
  for (std::uint32_t cu = 0; cu < size(); ++cu) {
    const CuLocation where = geometry.Locate(cu);
    cus_[cu].xcc = static_cast<std::uint16_t>(where.xcc);
    cus_[cu].se = static_cast<std::uint16_t>(where.se);
    cus_[cu].bit = 1u << where.cu;
  }
  for (std::uint32_t i = 0; i < groups_.size(); ++i) groups_[i].cu = i * kGroup;
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
  if (c.demand != c.rate_demand) {
    c.rate_demand = c.demand;
    const bool crowded = c.demand > kDemandOne;
    c.rate = crowded ? double{kDemandOne} / c.demand : 1.0;
    c.slowdown = crowded ? c.demand / double{kDemandOne} : 1.0;
  }
  TimeNs time = kNever;
  if (c.residents) {
    const double left = (c.next_v - c.v) * c.slowdown;
    // Rounded up: never in the same nanosecond as its start, because time must advance.
    const auto whole = static_cast<TimeNs>(left);
    time = c.at + (left > 0 ? whole + (static_cast<double>(whole) < left) : 0);
  }
  if (ends_[cu] != time) SetEnd(cu, time);
}

void CuArray::SetEnd(std::uint32_t cu, TimeNs time) {
  ends_[cu] = time;
  Node& group = groups_[cu / kGroup];
  if (time < group.time || (time == group.time && cu < group.cu)) {
    group = {time, cu};
  } else if (cu == group.cu) {
    const std::uint32_t begin = cu / kGroup * kGroup;
    group = {ends_[begin], begin};
    for (std::uint32_t i = begin + 1; i < begin + kGroup; ++i) {
      const bool earlier = ends_[i] < group.time;
      group.time = earlier ? ends_[i] : group.time;
      group.cu = earlier ? i : group.cu;
    }
  } else {
    return;
  }
  first_ = groups_[0];
  for (const Node& other : groups_) {
    const bool earlier = other.time < first_.time;
    first_.time = earlier ? other.time : first_.time;
    first_.cu = earlier ? other.cu : first_.cu;
  }
}

}  // namespace virtual_gpu

#include "cu_array.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace virtual_gpu {
namespace {

constexpr double kNobody = std::numeric_limits<double>::infinity();

std::size_t Whole(std::size_t count, std::size_t of) {
  return std::max<std::size_t>(1, (count + of - 1) / of) * of;
}

// The least of `kCount` values and its index, the lowest among equals. A knock-out of pairs: no
// branches, and few steps that wait for each other. Doubles are given as their bits, which are in
// the same order while none is negative.
struct Least {
  std::int64_t value;
  std::uint32_t index;
};
template <std::uint32_t kCount, typename T>
inline Least LeastOf(const T* values, std::uint32_t index) {
  if constexpr (kCount == 1) {
    return {std::bit_cast<std::int64_t>(*values), index};
  } else {
    constexpr std::uint32_t kHalf = kCount / 2;
    const Least a = LeastOf<kHalf>(values, index),
                b = LeastOf<kHalf>(values + kHalf, index + kHalf);
    const bool second = b.value < a.value;
    return {second ? b.value : a.value, second ? b.index : a.index};
  }
}

}  // namespace

CuArray::CuArray(const Geometry& geometry)
    : stride_(static_cast<std::uint32_t>(Whole(geometry.workgroups_per_cu(), kScan))),
      cus_(geometry.cu_count()),
      free_(geometry.cu_count(), geometry.RoomOfCu()),
      bundles_in_(std::size_t{geometry.xccs()} * geometry.ses()),
      residents_(std::size_t{geometry.cu_count()} * stride_),
      finish_v_(residents_.size(), kNobody),
      ends_(Whole(geometry.cu_count(), kScan * kScan), kNever),
      group_ends_(ends_.size() / kScan, kNever),
      block_ends_(group_ends_.size() / kScan, kNever),
      group_cus_(group_ends_.size()),
      block_cus_(block_ends_.size()) {
  for (std::uint32_t cu = 0; cu < size(); ++cu) {
    const CuLocation where = geometry.Locate(cu);
    cus_[cu].xcc = static_cast<std::uint8_t>(where.xcc);
    cus_[cu].se = static_cast<std::uint16_t>(where.se);
    cus_[cu].se_flat = static_cast<std::uint16_t>(where.xcc * geometry.ses() + where.se);
    cus_[cu].bit = 1u << where.cu;
  }
  for (std::uint32_t i = 0; i < group_cus_.size(); ++i) group_cus_[i] = i * kScan;
}

void CuArray::Remove(std::uint32_t cu, std::uint32_t i, const Footprint& fp) {
  Cu& c = cus_[cu];
  Resident& gone = residents_[cu * stride_ + i];
  c.bundles = static_cast<std::uint16_t>(c.bundles - gone.bundle);
  bundles_in_[c.se_flat] -= gone.bundle;
  free_[cu] = free_[cu] + fp.room * gone.slots;
  c.demand -= fp.demand * gone.slots;
  c.stale = true;
  const std::uint32_t last = --c.residents;
  gone = residents_[cu * stride_ + last];
  finish_v_[cu * stride_ + i] = finish_v_[cu * stride_ + last];
  finish_v_[cu * stride_ + last] = kNobody;
}

void CuArray::Refresh(std::uint32_t cu) {
  Cu& c = cus_[cu];
  const double* finish = &finish_v_[cu * stride_];
  Least next = LeastOf<kScan>(finish, 0);
  for (std::uint32_t i = kScan; i < c.residents; i += kScan) {
    const Least other = LeastOf<kScan>(finish + i, i);
    if (other.value < next.value) next = other;
  }
  c.stale = false;
  c.next = static_cast<std::uint16_t>(next.index);
  c.next_v = c.residents ? finish[next.index] : 0;
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
  const std::uint32_t group = cu / kScan, block = group / kScan;
  if (time < group_ends_[group] || (time == group_ends_[group] && cu < group_cus_[group])) {
    group_ends_[group] = time;
    group_cus_[group] = cu;
  } else if (cu == group_cus_[group]) {
    const Least least = LeastOf<kScan>(&ends_[group * kScan], group * kScan);
    group_ends_[group] = least.value;
    group_cus_[group] = least.index;
  } else {
    return;
  }
  const Least of_block = LeastOf<kScan>(&group_ends_[block * kScan], block * kScan);
  block_ends_[block] = of_block.value;
  block_cus_[block] = group_cus_[of_block.index];
  std::uint32_t first = 0;
  for (std::uint32_t i = 1; i < block_ends_.size(); ++i) {
    first = block_ends_[i] < block_ends_[first] ? i : first;
  }
  next_time_ = block_ends_[first];
  next_cu_ = block_cus_[first];
}

}  // namespace virtual_gpu

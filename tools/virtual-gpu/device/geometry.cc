#include "geometry.h"

#include <algorithm>
#include <bit>

namespace virtual_gpu {

Geometry::Geometry(const DeviceParams& params)
    : xccs_(std::clamp(params.xccs, 1u, kXccsMax)),
      ses_(params.ses_per_xcc),
      simds_(params.simds_per_cu),
      waves_per_cu_(params.simds_per_cu * params.waves_per_simd),
      vgprs_per_simd_(params.vgprs_per_simd),
      vgpr_granule_(std::max(1u, params.vgpr_granule)),
      lds_bytes_(params.lds_bytes_per_cu),
      workgroups_(params.workgroups_per_cu),
      cus_per_se_(params.cus_per_se) {
  cus_per_se_.resize(ses_, 0);
  for (std::uint32_t& cus : cus_per_se_) {
    cus = std::min(cus, 32u);
    first_cu_.push_back(cus_per_xcc_);
    cus_per_xcc_ += cus;
  }
  cu_count_ = cus_per_xcc_ * xccs_;
}

CuLocation Geometry::Locate(std::uint32_t cu) const {
  CuLocation where;
  where.xcc = cu / cus_per_xcc_;
  const std::uint32_t in_xcc = cu % cus_per_xcc_;
  while (where.se + 1 < ses_ && in_xcc >= first_cu_[where.se] + cus_per_se_[where.se]) ++where.se;
  where.cu = in_xcc - first_cu_[where.se];
  return where;
}

void Geometry::CountCus(CuMask* mask) const {
  mask->cus_per_xcc.assign(xccs_, 0);
  mask->hash = 0xcbf29ce484222325u;
  for (std::uint32_t i = 0; i < xccs_ * ses_; ++i) {
    mask->hash = (mask->hash ^ mask->se_bits[i]) * 0x100000001b3u;
    mask->cus_per_xcc[i / ses_] += static_cast<std::uint32_t>(std::popcount(mask->se_bits[i]));
  }
}

CuMask Geometry::FullMask() const {
  CuMask mask;
  mask.se_bits.resize(xccs_ * ses_);
  for (std::uint32_t i = 0; i < xccs_ * ses_; ++i) {
    const std::uint32_t cus = cus_per_se_[i % ses_];
    mask.se_bits[i] = cus >= 32 ? ~0u : (1u << cus) - 1;
  }
  CountCus(&mask);
  return mask;
}

CuMask Geometry::MaskFromKfd(std::span<const std::uint32_t> bits) const {
  CuMask mask;
  mask.se_bits.assign(xccs_ * ses_, 0);
  const std::size_t count = std::min<std::size_t>(bits.size() * 32, cu_count_);
  for (std::uint32_t xcc = 0; xcc < xccs_; ++xcc) {
    std::size_t bit = xcc;
    for (std::uint32_t cu = 0; cu < 32 && bit < count; ++cu) {
      for (std::uint32_t se = 0; se < ses_ && bit < count; ++se) {
        if (cu >= cus_per_se_[se]) continue;
        if (bits[bit / 32] >> (bit % 32) & 1) mask.se_bits[xcc * ses_ + se] |= 1u << cu;
        bit += xccs_;
      }
    }
  }
  CountCus(&mask);
  return mask;
}

Footprint Geometry::MakeFootprint(const KernelCost& cost) const {
  Footprint fp;
  fp.waves = std::max(1u, cost.waves);
  fp.lds_bytes = cost.lds_bytes;
  const std::uint32_t vgprs =
      (std::max(1u, cost.vgprs) + vgpr_granule_ - 1) / vgpr_granule_ * vgpr_granule_;
  const std::uint32_t waves_per_simd = vgprs_per_simd_ / vgprs;
  fp.save_bytes = std::uint64_t{fp.waves} * vgprs * 64 * 4 + cost.lds_bytes;
  if (waves_per_simd == 0 || fp.waves > waves_per_cu_ || fp.lds_bytes > lds_bytes_) return fp;
  const std::uint64_t units = std::uint64_t{fp.waves} * (kVgprUnitsPerSimd / waves_per_simd);
  if (units > vgpr_units_per_cu()) return fp;
  fp.vgpr_units = static_cast<std::uint32_t>(units);
  fp.occupancy = std::min({waves_per_cu_ / fp.waves, vgpr_units_per_cu() / fp.vgpr_units,
                           fp.lds_bytes ? lds_bytes_ / fp.lds_bytes : workgroups_, workgroups_});
  fp.demand = kDemandOne / std::max(1u, fp.occupancy);
  fp.room = {Room::Pack(fp.waves, fp.lds_bytes), Room::Pack(fp.vgpr_units, 1)};
  return fp;
}

}  // namespace virtual_gpu

// geometry.h: where the CUs are, what fits on one, and what a KFD CU mask means.
//
// Why        XCC -> SE -> CU decides which workgroup waits for which CU. CUs are numbered flat,
//            XCC first, then SE, then CU, so that those of one SE are neighbours.
// Threads    immutable after construction.
// Limits     16 XCCs, 32 CUs per SE.
// See        device_params.h for the numbers; geometry_test.cc
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device.h"

namespace virtual_gpu {

inline constexpr std::uint32_t kXccsMax = 16;

// Which CUs a queue may use. One word per SE, bit i is that SE's CU i.
struct CuMask {
  std::vector<std::uint32_t> se_bits;      // [xcc * ses_per_xcc + se]
  std::vector<std::uint32_t> cus_per_xcc;  // how many are allowed
  std::uint64_t hash = 0;                  // of se_bits
};

// Four amounts below 2^31 in two words, so that all four are compared at once: waves and LDS bytes,
// register units and workgroups.
struct Room {
  std::uint64_t waves_lds = 0, vgprs_workgroups = 0;

  static constexpr std::uint64_t Pack(std::uint32_t low, std::uint32_t high) {
    return low | std::uint64_t{high} << 32;
  }
  // Is every amount of `need` in this? The guard bit of a half survives the subtraction if so.
  bool Holds(const Room& need) const {
    constexpr std::uint64_t kGuards = 0x8000'0000'8000'0000u;
    return ((((waves_lds | kGuards) - need.waves_lds) &
             ((vgprs_workgroups | kGuards) - need.vgprs_workgroups)) &
            kGuards) == kGuards;
  }
  Room operator+(const Room& other) const {
    return {waves_lds + other.waves_lds, vgprs_workgroups + other.vgprs_workgroups};
  }
  Room operator-(const Room& other) const {
    return {waves_lds - other.waves_lds, vgprs_workgroups - other.vgprs_workgroups};
  }
  Room operator*(std::uint32_t count) const {
    return {waves_lds * count, vgprs_workgroups * count};
  }
  std::uint32_t waves() const { return static_cast<std::uint32_t>(waves_lds); }
  std::uint32_t lds_bytes() const { return static_cast<std::uint32_t>(waves_lds >> 32); }
  std::uint32_t vgpr_units() const { return static_cast<std::uint32_t>(vgprs_workgroups); }
  std::uint32_t workgroups() const { return static_cast<std::uint32_t>(vgprs_workgroups >> 32); }
};

// What one workgroup takes of its CU. Registers are counted in fractions of the CU's files so that
// floor(file / allocation) waves fit a SIMD, as on hardware; the waves' spread over the four SIMDs
// of a CU is not modelled.
struct Footprint {
  std::uint32_t waves = 1;
  std::uint32_t vgpr_units = 0;
  std::uint32_t lds_bytes = 0;
  std::uint32_t occupancy = 0;   // workgroups that an empty CU holds; 0: none, it can never run
  std::uint32_t demand = 0;      // kDemandOne / occupancy
  std::uint64_t save_bytes = 0;  // what CWSR writes for it
  Room room;                     // the first three, and one workgroup; if it can run
};

inline constexpr std::uint32_t kDemandOne = 1u << 20;
inline constexpr std::uint32_t kVgprUnitsPerSimd = 1u << 20;

class Geometry {
 public:
  explicit Geometry(const DeviceParams& params);

  std::uint32_t cu_count() const { return cu_count_; }
  std::uint32_t xccs() const { return xccs_; }
  std::uint32_t ses() const { return ses_; }
  std::uint32_t FirstCu(std::uint32_t xcc, std::uint32_t se) const {
    return xcc * cus_per_xcc_ + first_cu_[se];
  }
  std::uint32_t CusIn(std::uint32_t se) const { return cus_per_se_[se]; }
  CuLocation Locate(std::uint32_t cu) const;

  CuMask FullMask() const;
  // The bits as SET_CU_MASK takes them, by mqd_symmetrically_map_cu_mask (kfd_mqd_manager.c): XCC
  // fastest, then SE, then CU; an SE without a CU of that index consumes no bit. Bits that were not
  // given stay disabled, bits beyond the CU count are ignored.
  CuMask MaskFromKfd(std::span<const std::uint32_t> bits) const;

  Footprint MakeFootprint(const KernelCost& cost) const;

  Room RoomOfCu() const {
    return {Room::Pack(waves_per_cu_, lds_bytes_), Room::Pack(vgpr_units_per_cu(), workgroups_)};
  }
  std::uint32_t vgpr_units_per_cu() const { return simds_ * kVgprUnitsPerSimd; }
  std::uint32_t workgroups_per_cu() const { return workgroups_; }

 private:
  void CountCus(CuMask* mask) const;

  std::uint32_t xccs_, ses_, simds_, waves_per_cu_, vgprs_per_simd_, vgpr_granule_, lds_bytes_,
      workgroups_;
  std::uint32_t cus_per_xcc_ = 0, cu_count_ = 0;
  std::vector<std::uint32_t> cus_per_se_, first_cu_;
};

}  // namespace virtual_gpu

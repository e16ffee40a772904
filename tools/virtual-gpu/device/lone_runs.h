// lone_runs.h: how long kernels took that had the whole device to themselves.
//
// Why        Small kernels one after the other, with nobody else there, are the common case; a few
//            hundred events for each are too many. After kSamples simulated runs of the same kernel
//            under the same CU mask, from the same XCC on, later ones take one of these times (bulk.cc).
// Limits     kKernelsMax kernels; then it forgets all and begins again.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>

#include "geometry.h"
#include "random.h"

namespace virtual_gpu {

class LoneRuns {
 public:
  static constexpr std::size_t kKernelsMax = 65'536;
  static constexpr std::uint32_t kSamples = 6;

  // One of the times, or 0 when there are not enough yet.
  TimeNs Sample(const KernelCost& cost, std::uint32_t first_xcc, const CuMask& mask,
                Random* random) const {
    const auto found = runs_.find(KeyOf(cost, first_xcc, mask));
    if (found == runs_.end() || found->second.count < kSamples) return 0;
    return found->second.ns[random->Bits() % kSamples];
  }
  void Record(const KernelCost& cost, std::uint32_t first_xcc, const CuMask& mask, TimeNs ns) {
    if (runs_.size() >= kKernelsMax) runs_.clear();
    Runs& runs = runs_[KeyOf(cost, first_xcc, mask)];
    if (runs.count < kSamples && ns > 0) runs.ns[runs.count++] = ns;
  }

 private:
  struct Runs {
    std::array<TimeNs, kSamples> ns{};
    std::uint32_t count = 0;
  };
  // 64 bits of two kernels are the same by accident about once in 10^10 tables.
  static std::uint64_t KeyOf(const KernelCost& cost, std::uint32_t first_xcc, const CuMask& mask) {
    std::uint64_t key = mask.hash + first_xcc;
    const std::uint64_t fields[] = {cost.workgroups, cost.waves, cost.vgprs, cost.lds_bytes,
                                    static_cast<std::uint64_t>(cost.workgroup_ns)};
    for (const std::uint64_t field : fields) key = Random(key ^ field).Bits();
    return key;
  }

  std::unordered_map<std::uint64_t, Runs> runs_;
};

}  // namespace virtual_gpu

// profiles.h: the GPUs that the virtual device can be: their geometry and what they show of it.
//
// Sources    kfd_device.c, the topology dumps and ISA documents; an MI308X node's own sysfs keys.
// Errors     FindProfile returns null for a name that is not in ProfileNames().
// See        device_params.h for the model's numbers; virtual-gpu run --profile
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "device_params.h"

namespace virtual_gpu {

struct DeviceProfile {
  DeviceParams params;
  std::string marketing_name;
  std::uint32_t gfx_target_version = 0;  // the part's own
  // Shown to a runtime that does not know the part's own (ROCr 5.2.3 knows gfx908 and gfx90a only).
  std::uint32_t shown_gfx_target_version = 0;
  std::uint32_t device_id = 0;
  std::uint64_t vram_bytes = 0;
  std::uint32_t max_clock_mhz = 0;
  std::uint32_t cu_per_simd_array = 0;  // sysfs: physical, before harvesting
  std::uint32_t num_cp_queues = 0;      // sysfs: (32 - num_kcq) per XCC, num_kcq = 8
  std::uint32_t num_sdma_engines = 2;
  std::uint32_t num_sdma_xgmi_engines = 0;
  std::uint32_t num_sdma_queues_per_engine = 8;
  std::uint32_t max_slots_scratch_cu = 32;
  std::uint32_t l1_cache_kib = 16, l1_line_bytes = 64;
  std::uint32_t l2_cache_kib = 0;  // per XCC
  std::uint32_t l3_cache_kib = 0;  // 0: none
  std::uint32_t debug_prop = 0;    // sysfs; 0: not known
  std::uint32_t fw_version = 0;    // MEC microcode
  std::uint32_t sdma_fw_version = 0;

  std::uint32_t CuCount() const;
  std::uint32_t SimdCount() const { return CuCount() * params.simds_per_cu; }
  std::uint32_t ArrayCount() const { return params.xccs * params.ses_per_xcc; }
};

const DeviceProfile* FindProfile(std::string_view name);
std::vector<std::string> ProfileNames();

}  // namespace virtual_gpu

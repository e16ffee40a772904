#include "profiles.h"

#include <array>
#include <numeric>

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

DeviceProfile Mi308x() {
  DeviceProfile p;
  p.params.name = "mi308x";  // DeviceParams' defaults are this part
  p.marketing_name = "AMD Instinct MI308X";
  p.gfx_target_version = 90402;
  p.shown_gfx_target_version = 90010;
  p.device_id = 0x74a2;
  p.vram_bytes = 192 * kGiB;
  p.max_clock_mhz = 1420;
  p.cu_per_simd_array = 10;
  p.num_cp_queues = 96;
  p.num_sdma_xgmi_engines = 6;
  p.l1_cache_kib = 32;
  p.l1_line_bytes = 128;
  p.l2_cache_kib = 4096;
  p.l3_cache_kib = 256 * 1024;
  p.debug_prop = 1511;
  p.fw_version = 185;
  p.sdma_fw_version = 24;
  return p;
}

DeviceProfile Mi300x() {
  DeviceProfile p = Mi308x();
  p.params.name = "mi300x";
  p.params.xccs = 8;
  p.params.cus_per_se = {10, 10, 9, 9};
  p.marketing_name = "AMD Instinct MI300X";
  p.device_id = 0x74a1;
  p.max_clock_mhz = 2100;
  p.num_cp_queues = 192;
  p.num_sdma_xgmi_engines = 14;
  p.fw_version = 166;
  p.sdma_fw_version = 22;
  return p;
}

DeviceProfile Mi355x() {
  DeviceProfile p = Mi300x();
  p.params.name = "mi355x";
  p.params.cus_per_se = {8, 8, 8, 8};
  p.params.lds_bytes_per_cu = 160 * 1024;
  p.marketing_name = "AMD Instinct MI355X";
  p.gfx_target_version = 90500;
  p.device_id = 30112;
  p.vram_bytes = 288 * kGiB;
  p.max_clock_mhz = 2200;
  p.cu_per_simd_array = 9;
  p.debug_prop = 1494;
  return p;
}

DeviceProfile Mi210() {
  DeviceProfile p;
  p.params.name = "mi210";
  p.params.xccs = 1;
  p.params.ses_per_xcc = 8;
  p.params.cus_per_se.assign(8, 13);
  p.marketing_name = "AMD Instinct MI210";
  p.gfx_target_version = p.shown_gfx_target_version = 90010;
  p.device_id = 0x740f;
  p.vram_bytes = 64 * kGiB;
  p.max_clock_mhz = 1700;
  p.cu_per_simd_array = 14;
  p.num_cp_queues = 24;
  p.num_sdma_xgmi_engines = 3;
  p.l2_cache_kib = 8192;
  p.fw_version = 78;
  p.sdma_fw_version = 8;
  return p;
}

DeviceProfile Mi100() {
  DeviceProfile p = Mi210();
  p.params.name = "mi100";
  p.params.cus_per_se.assign(8, 15);
  p.params.waves_per_simd = 10;
  p.params.workgroups_per_cu = 40;
  p.params.vgprs_per_simd = 256;  // architected ones; accumulation registers are separate
  p.params.vgpr_granule = 4;
  p.marketing_name = "AMD Instinct MI100";
  p.gfx_target_version = p.shown_gfx_target_version = 90008;
  p.device_id = 0x738c;
  p.vram_bytes = 32 * kGiB;
  p.max_clock_mhz = 1502;
  p.cu_per_simd_array = 16;
  p.num_sdma_xgmi_engines = 6;
  p.max_slots_scratch_cu = 40;
  p.fw_version = 66;
  p.sdma_fw_version = 18;
  return p;
}

const std::array<DeviceProfile, 5>& Profiles() {
  static const std::array<DeviceProfile, 5> profiles = {Mi308x(), Mi300x(), Mi355x(), Mi210(),
                                                        Mi100()};
  return profiles;
}

}  // namespace

std::uint32_t DeviceProfile::CuCount() const {
  return params.xccs *
         std::accumulate(params.cus_per_se.begin(), params.cus_per_se.end(), std::uint32_t{0});
}

const DeviceProfile* FindProfile(std::string_view name) {
  for (const DeviceProfile& profile : Profiles()) {
    if (profile.params.name == name) return &profile;
  }
  return nullptr;
}

std::vector<std::string> ProfileNames() {
  std::vector<std::string> names;
  for (const DeviceProfile& profile : Profiles()) names.push_back(profile.params.name);
  return names;
}

}  // namespace virtual_gpu

// devices.h: the GPUs of this machine, as the driver's topology shows them.
//
// Why        Policies need to know how many compute units there are, operators what they have. Read
//            from sysfs only: opening /dev/kfd would make the controller a GPU process itself. The
//            marketing name is libdrm_amdgpu's, since sysfs has none.
// Threads    pure but for reading files.
// Errors     no driver, no GPU: an empty list. What a driver does not say is left empty.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa {

struct Device {
  GpuKey gpu = 0;
  std::uint32_t node = 0, gpu_id = 0;
  std::string name;  // marketing name, else the driver's
  std::string gfx;   // "gfx942"
  std::uint32_t compute_units = 0, xcc = 1, shader_engines = 0, shader_arrays = 0;
  std::uint32_t cus_per_array = 0, simd_per_cu = 0, waves_per_simd = 0, lds_kb = 0;
  std::uint32_t clock_mhz = 0, queues_max = 0;
  std::uint64_t memory_mb = 0;
  std::optional<std::uint32_t> memory_clock_mhz, render_minor;
  std::optional<std::string> compute_partition, memory_partition;
  std::optional<std::uint32_t> cwsr_enable, sched_policy;  // module parameters
};

// `root`: "" but in tests.
std::vector<Device> ListDevices(const std::string& root);

}  // namespace xsched_hsa

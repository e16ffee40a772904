// gpu_model.h: what a GPU shows of itself, and the costs of what the device model does not time.
//
// Why        The scheduling geometry and the identity that the installed runtime is shown are
//            separate: ROCr before 6 does not know gfx942, so an MI308X appears to it as a gfx90a
//            part with the MI308X's 80 CUs.
// Units      bytes, MHz, simulated nanoseconds.
// Errors     MakeModel returns false and one line: unknown profile, ISA or parameter.
// See        ../device/profiles.h
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../device/profiles.h"

namespace virtual_gpu {

struct GpuModel {
  std::string profile;
  DeviceProfile part;                    // its params as changed by the user
  std::uint32_t gfx_target_version = 0;  // shown: major * 10000 + minor * 100 + stepping

  TimeNs opaque_workgroup_ns = 20'000;  // kernels that are neither known nor interpreted
  bool interpret = true;                // false: only kernels known by their code have effects
  std::uint64_t wave_instructions_max = 20'000'000;  // then the kernel has no end
  double instruction_ns = 2;  // assumed: a wave's vector instruction, 4 cycles near 2 GHz
  TimeNs blit_workgroup_ns = 2'000;
  double sdma_bytes_per_ns = 50.0;  // PCIe 5 x16, about
};

// "gfx90a" for 90010.
std::string GfxName(std::uint32_t gfx_target_version);

struct ModelRequest {
  std::string profile = "mi308x";
  std::string isa = "auto";         // or gfx908, gfx90a, gfx942, gfx950
  std::vector<std::string> params;  // "key=value"
};
// `note` is one line on which ISA is shown and why.
bool MakeModel(const ModelRequest& request, GpuModel* model, std::string* note, std::string* error);

}  // namespace virtual_gpu

// topology.h: writes the sysfs, proc and dev files that processes under the virtual GPU see.
//
// Why        The thunk, libdrm and rocminfo read plain files; a generated directory serves readdir,
//            symlinks and reads without a hook for each.
// Ownership  Generate makes everything below `root`; Remove takes it all away.
// Errors     Generate throws std::filesystem::filesystem_error or std::ios_base::failure.
// See        facts/kfd.md section 5 for every key; kfd_topology.c:node_show for the order
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "gpu_model.h"

namespace virtual_gpu {

inline constexpr std::uint32_t kFirstRenderMinor = 128;

struct TopologyGpu {
  std::uint32_t gpu_id;
  GpuModel model;
};

void GenerateTopology(const std::filesystem::path& root, const std::vector<TopologyGpu>& gpus);

// Two of a node's properties, which the debugger's device snapshot has too.
std::uint64_t CapabilityBits();
std::uint64_t LocationOf(std::size_t index);

}  // namespace virtual_gpu

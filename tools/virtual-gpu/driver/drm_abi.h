// drm_abi.h: the few DRM ioctls that libdrm_amdgpu needs before it accepts a render node.
//
// Why        <libdrm/amdgpu_drm.h> is not needed for four structs, and the interposer builds with
//            libc alone. Layouts are those of the uapi headers drm.h and amdgpu_drm.h.
// Units      as in the uapi headers.
#pragma once

#include <cstdint>

namespace virtual_gpu {

inline constexpr unsigned kDrmVersion = 0x00;
inline constexpr unsigned kDrmGetClient = 0x05;
inline constexpr unsigned kDrmGemClose = 0x09;
inline constexpr unsigned kDrmAmdgpuInfo = 0x45;  // DRM_COMMAND_BASE + DRM_AMDGPU_INFO
inline constexpr int kDrmMajor = 3;
inline constexpr int kDrmMinor = 57;

struct DrmVersionArgs {
  std::int32_t major, minor, patch;
  std::int32_t padding;
  std::uint64_t name_bytes, name;
  std::uint64_t date_bytes, date;
  std::uint64_t description_bytes, description;
};
static_assert(sizeof(DrmVersionArgs) == 64);

struct DrmClientArgs {
  std::int32_t index, authenticated;
  std::uint64_t pid, uid, magic, iocs;
};
static_assert(sizeof(DrmClientArgs) == 40);

struct AmdgpuInfoArgs {
  std::uint64_t return_pointer;
  std::uint32_t return_bytes;
  std::uint32_t query;
  unsigned char detail[16];
};
static_assert(sizeof(AmdgpuInfoArgs) == 32);

// AMDGPU_INFO queries.
inline constexpr unsigned kInfoAccelWorking = 0x00;
inline constexpr unsigned kInfoHwIpInfo = 0x02;
inline constexpr unsigned kInfoHwIpCount = 0x03;
inline constexpr unsigned kInfoFwVersion = 0x0e;
inline constexpr unsigned kInfoVramUsage = 0x10;
inline constexpr unsigned kInfoVramGtt = 0x14;
inline constexpr unsigned kInfoReadMmrReg = 0x15;
inline constexpr unsigned kInfoDevInfo = 0x16;
inline constexpr unsigned kInfoMemory = 0x19;

}  // namespace virtual_gpu

// drm_info.cc: the AMDGPU_INFO queries that libdrm_amdgpu makes of a render node.

#include <errno.h>
#include <libdrm/amdgpu_drm.h>

#include <algorithm>
#include <cstring>

#include "drm_abi.h"
#include "kfd_driver.h"
#include "report.h"

namespace virtual_gpu {
namespace {

// external_rev of a stepping 0 part, by the version that the part is shown as (soc15.c).
std::uint32_t ExternalRevision(std::uint32_t gfx_target_version) {
  switch (gfx_target_version) {
    case 90008:
      return 0x32;
    case 90010:
      return 0x3c;
    case 90402:
      return 0x46;
    default:
      return 0x50;
  }
}

drm_amdgpu_info_device DeviceInfo(const GpuModel& model) {
  const DeviceProfile& d = model.part;
  drm_amdgpu_info_device info = {};
  info.device_id = d.device_id;
  info.external_rev = ExternalRevision(model.gfx_target_version);
  info.family = AMDGPU_FAMILY_AI;
  info.num_shader_engines = d.params.ses_per_xcc;
  info.num_shader_arrays_per_engine = 1;
  info.gpu_counter_freq = 100'000;  // kHz
  info.max_engine_clock = std::uint64_t{d.max_clock_mhz} * 1000;
  info.max_memory_clock = 1'300'000;
  info.cu_active_number = d.CuCount();
  info.num_rb_pipes = 0;
  info.virtual_address_offset = 0x200000;
  info.virtual_address_max = 0x800000000000ull;
  info.virtual_address_alignment = 4096;
  info.pte_fragment_size = 2u << 20;
  info.gart_page_size = 4096;
  info.vram_type = 6;  // HBM
  info.vram_bit_width = 8192;
  info.wave_front_size = 64;
  info.high_va_offset = 0xffff800000000000ull;
  info.high_va_max = 0xffffffffffe00000ull;
  return info;
}

std::vector<std::byte> BytesOf(const void* data, std::size_t bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  return {from, from + bytes};
}

template <typename T>
std::vector<std::byte> BytesOf(const T& value) {
  return BytesOf(&value, sizeof(value));
}

std::vector<std::byte> MemoryInfo(const Gpu& gpu, bool vram_gtt_only) {
  const std::uint64_t total = gpu.model().part.vram_bytes;
  if (vram_gtt_only) {
    drm_amdgpu_info_vram_gtt info = {};
    info.vram_size = info.vram_cpu_accessible_size = total;
    info.gtt_size = total;
    return BytesOf(info);
  }
  drm_amdgpu_memory_info info = {};
  for (drm_amdgpu_heap_info* heap : {&info.vram, &info.cpu_accessible_vram, &info.gtt}) {
    heap->total_heap_size = heap->usable_heap_size = heap->max_allocation = total;
    heap->heap_usage = heap == &info.gtt ? 0 : gpu.vram_used;
  }
  return BytesOf(info);
}

}  // namespace

void KfdDriver::DrmInfo(const Request& request) {
  const auto args = request.Arg<rpc::DrmInfo>();
  if (args.gpu >= gpus_->size()) return request.Reply(EINVAL);
  const Gpu& gpu = *(*gpus_)[args.gpu];
  constexpr std::uint32_t kAccelWorking = 1;
  std::vector<std::byte> answer;
  switch (args.query) {
    case kInfoAccelWorking:
      answer = BytesOf(kAccelWorking);
      break;
    case kInfoDevInfo:
      answer = BytesOf(DeviceInfo(gpu.model()));
      break;
    case kInfoVramGtt:
      answer = MemoryInfo(gpu, true);
      break;
    case kInfoMemory:
      answer = MemoryInfo(gpu, false);
      break;
    case kInfoVramUsage:
      answer = BytesOf(gpu.vram_used);
      break;
    case kInfoReadMmrReg:  // tiling registers: compute only, zeros do
    case kInfoHwIpCount:
    case kInfoHwIpInfo:
    case kInfoFwVersion:
      break;
    default:
      ReportOnce("drm:" + std::to_string(args.query),
                 "AMDGPU_INFO query " + std::to_string(args.query) + " is answered with zeros");
      break;
  }
  constexpr std::uint32_t kAnswerMax = 64 * 1024;
  answer.resize(std::min(args.return_bytes, kAnswerMax));
  request.connection->Reply(0, request.arg, answer);
}

}  // namespace virtual_gpu

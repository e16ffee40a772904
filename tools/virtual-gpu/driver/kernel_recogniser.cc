#include "kernel_recogniser.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace virtual_gpu {
namespace {

constexpr std::uint32_t kWaveItems = 64;
constexpr std::uint32_t kWorkgroupItemsMax = 1024;
constexpr std::uint32_t kVgprCountMask = 0x3f;  // COMPUTE_PGM_RSRC1.GRANULATED_WORKITEM_VGPR_COUNT

// What the two generations of kernel headers have in common is at the same offsets; the first
// twelve bytes tell them apart.
struct KernelHeader {
  std::uint32_t group_segment_bytes;    // descriptor; amd_kernel_code_t: version_major
  std::uint32_t private_segment_bytes;  // descriptor; amd_kernel_code_t: version_minor
  std::uint32_t kernarg_bytes;          // descriptor; amd_kernel_code_t: machine kind and version
  std::uint32_t reserved0;
  std::int64_t entry_offset_bytes;
  std::uint64_t reserved1[2];
  std::uint32_t reserved2;
  std::uint32_t rsrc3;
  std::uint32_t rsrc1;
  std::uint32_t rsrc2;
  std::uint64_t properties;
};
static_assert(sizeof(KernelHeader) == 64 && offsetof(KernelHeader, rsrc1) == 48);

// amd_kernel_code_t: version 1.x, machine kind 1 (AMDGPU), machine version 7 and up.
bool IsLegacyCode(const KernelHeader& header) {
  return header.group_segment_bytes == 1 && header.private_segment_bytes <= 2 &&
         (header.kernarg_bytes & 0xffff) == 1 && (header.kernarg_bytes >> 16) >= 7;
}

// ROCr's three blit kernels (amd_blit_kernel.h, KernelArgs), told apart by their arguments: each
// ends with the number of work-items, which is the grid size.
struct CopyAligned {
  std::uint64_t from1, to1, from2, to2, from3, to3, from4, to4, from_end, to_end;
  std::uint32_t work_items;
  std::uint32_t padding;
};
struct CopyMisaligned {
  std::uint64_t from1, to1, from2, to2, from_end, to_end;
  std::uint32_t work_items;
  std::uint32_t padding;
};
struct FillArgs {
  std::uint64_t to1, to2, to_end;
  std::uint32_t pattern, work_items;
};
static_assert(sizeof(CopyAligned) == 88 && sizeof(CopyMisaligned) == 56 && sizeof(FillArgs) == 32);

// ROCr assembles the blits without a code object: the code follows a 256-byte header, in which a
// descriptor (since gfx90a) leaves all sizes 0.
bool IsBuiltIn(const KernelHeader& header) {
  constexpr std::int64_t kBuiltInEntry = 256;
  const bool bare_descriptor = header.group_segment_bytes == 0 &&
                               header.private_segment_bytes == 0 && header.kernarg_bytes == 0;
  return header.entry_offset_bytes == kBuiltInEntry && (bare_descriptor || IsLegacyCode(header));
}

bool IsCopy(std::uint64_t from, std::uint64_t to, std::uint64_t from_end, std::uint64_t to_end) {
  return from <= from_end && to <= to_end && from_end - from == to_end - to;
}

bool RecogniseBlit(const hsa_kernel_dispatch_packet_t& packet, const AddressSpace& memory,
                   KernelRun* run) {
  const std::uint64_t kernarg = reinterpret_cast<std::uint64_t>(packet.kernarg_address);
  CopyAligned aligned;
  if (memory.ReadValue(kernarg, &aligned) && aligned.work_items == packet.grid_size_x &&
      IsCopy(aligned.from1, aligned.to1, aligned.from2, aligned.to2) &&
      IsCopy(aligned.from2, aligned.to2, aligned.from3, aligned.to3) &&
      IsCopy(aligned.from3, aligned.to3, aligned.from4, aligned.to4) &&
      IsCopy(aligned.from4, aligned.to4, aligned.from_end, aligned.to_end)) {
    run->kind = KernelKind::kBlitCopy;
    run->from = aligned.from1;
    run->to = aligned.to1;
    run->bytes = aligned.from_end - aligned.from1;
    return true;
  }
  CopyMisaligned misaligned;
  if (memory.ReadValue(kernarg, &misaligned) && misaligned.work_items == packet.grid_size_x &&
      IsCopy(misaligned.from1, misaligned.to1, misaligned.from2, misaligned.to2) &&
      IsCopy(misaligned.from2, misaligned.to2, misaligned.from_end, misaligned.to_end)) {
    run->kind = KernelKind::kBlitCopy;
    run->from = misaligned.from1;
    run->to = misaligned.to1;
    run->bytes = misaligned.from_end - misaligned.from1;
    return true;
  }
  FillArgs fill;
  if (memory.ReadValue(kernarg, &fill) && fill.work_items == packet.grid_size_x &&
      fill.to1 <= fill.to2 && fill.to2 <= fill.to_end) {
    run->kind = KernelKind::kBlitFill;
    run->to = fill.to1;
    run->bytes = fill.to_end - fill.to1;
    run->pattern = fill.pattern;
    return true;
  }
  return false;
}

bool RecogniseOurs(const hsa_kernel_dispatch_packet_t& packet, std::uint64_t entry,
                   const AddressSpace& memory, KernelRun* run) {
  dual_model::KernelSignature signature;
  if (!memory.ReadValue(entry + dual_model::kSignatureOffsetBytes, &signature)) return false;
  if (std::memcmp(signature.magic, dual_model::kKernelMagic, sizeof(signature.magic)) != 0 ||
      signature.version != dual_model::kKernelAbiVersion) {
    return false;
  }
  const std::uint64_t kernarg = reinterpret_cast<std::uint64_t>(packet.kernarg_address);
  switch (static_cast<dual_model::KernelKind>(signature.kind)) {
    case dual_model::KernelKind::kWork:
      if (!memory.ReadValue(kernarg, &run->work)) return false;
      run->kind = KernelKind::kWork;
      run->cost.workgroup_ns = std::max<TimeNs>(run->work.workgroup_ns, 1);
      return true;
    case dual_model::KernelKind::kFill:
      run->kind = KernelKind::kFill;
      break;
    case dual_model::KernelKind::kCopy:
      run->kind = KernelKind::kCopy;
      break;
    case dual_model::KernelKind::kVectorAdd:
      run->kind = KernelKind::kVectorAdd;
      break;
    default:
      return false;
  }
  if (!memory.ReadValue(kernarg, &run->data)) {
    run->kind = KernelKind::kOpaque;
    return false;
  }
  run->cost.workgroup_ns = std::max<TimeNs>(run->data.workgroup_ns, 1);
  return true;
}

std::uint64_t CeilDiv(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit; }

DispatchError CheckDimensions(const hsa_kernel_dispatch_packet_t& packet, KernelCost* cost) {
  const std::uint32_t x = packet.workgroup_size_x, y = packet.workgroup_size_y,
                      z = packet.workgroup_size_z;
  constexpr std::uint32_t kDimensionsMask =
      (1u << HSA_KERNEL_DISPATCH_PACKET_SETUP_WIDTH_DIMENSIONS) - 1;
  if ((packet.setup & kDimensionsMask) == 0) return DispatchError::kBadDimensions;
  if (x == 0 || y == 0 || z == 0 || packet.grid_size_x == 0 || packet.grid_size_y == 0 ||
      packet.grid_size_z == 0) {
    return DispatchError::kBadDimensions;
  }
  const std::uint64_t items = std::uint64_t{x} * y * z;
  if (items > kWorkgroupItemsMax) return DispatchError::kWorkgroupTooLarge;
  cost->waves = static_cast<std::uint32_t>(CeilDiv(items, kWaveItems));
  cost->workgroups = CeilDiv(packet.grid_size_x, x) * CeilDiv(packet.grid_size_y, y) *
                     CeilDiv(packet.grid_size_z, z);
  return DispatchError::kOk;
}

}  // namespace

DispatchError Recognise(const hsa_kernel_dispatch_packet_t& packet, const AddressSpace& memory,
                        const KernelLimits& limits, KernelRun* run, std::uint64_t* fault_address) {
  if (const auto error = CheckDimensions(packet, &run->cost); error != DispatchError::kOk) {
    return error;
  }
  if (packet.kernel_object == 0) return DispatchError::kBadCode;
  KernelHeader header;
  if (!memory.ReadValue(packet.kernel_object, &header)) {
    *fault_address = packet.kernel_object;
    return DispatchError::kMemoryFault;
  }
  run->kernel_object = packet.kernel_object;
  const bool legacy = IsLegacyCode(header);
  const std::uint32_t own_lds = legacy ? 0 : header.group_segment_bytes;
  run->cost.lds_bytes = std::max(own_lds, packet.group_segment_size);
  if (run->cost.lds_bytes > limits.lds_bytes) return DispatchError::kBadGroupMemory;
  run->cost.vgprs = ((header.rsrc1 & kVgprCountMask) + 1) * limits.vgpr_granule;
  run->cost.workgroup_ns = limits.opaque_workgroup_ns;

  const std::uint64_t entry =
      packet.kernel_object + static_cast<std::uint64_t>(header.entry_offset_bytes);
  if (IsBuiltIn(header) && RecogniseBlit(packet, memory, run)) {
    run->cost.workgroup_ns = limits.blit_workgroup_ns;
  } else {
    RecogniseOurs(packet, entry, memory, run);
  }
  return DispatchError::kOk;
}

}  // namespace virtual_gpu

// data_effects.h: what the data kernels (work_kernel_abi.h) do to memory, workgroup by workgroup.
//
// Why        A result that only exists when each workgroup has run, and run once, shows what
//            suspends and mask changes lose or repeat.
// Threads    under the device lock, as the rest of a dispatch.
// Errors     false: an address is not mapped to the GPU; *fault is that address or near it.
#pragma once

#include <cstdint>

#include "address_space.h"
#include "kernel_recogniser.h"

namespace virtual_gpu {

inline bool IsDataKernel(KernelKind kind) {
  return kind == KernelKind::kFill || kind == KernelKind::kCopy || kind == KernelKind::kVectorAdd;
}

// Workgroups [first, first + count) of the run.
bool ApplyDataWorkgroups(const KernelRun& run, std::uint64_t first, std::uint64_t count,
                         AddressSpace* memory, std::uint64_t* fault);

}  // namespace virtual_gpu

// kfd_queue_checks.h: what CREATE_QUEUE and UPDATE_QUEUE say about their arguments.
//
// Errors     errno values, in the kernel's order: set_queue_properties_from_user and
//            kfd_ioctl_update_queue in kfd_chardev.c.
#pragma once

#include <errno.h>

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kfd_abi.h"

namespace virtual_gpu {

inline constexpr std::uint32_t kPercentageMask = 0xff;   // bits 8..15 choose an XCC for PM4 queues
inline constexpr std::uint32_t kRingBytesMin = 1024;     // KFD_MIN_QUEUE_RING_SIZE
inline constexpr std::uint64_t kUserLimit = 1ull << 47;  // access_ok
inline constexpr int kNotSupported = 524;                // the kernel's own ENOTSUPP

inline bool IsSdma(std::uint32_t type) {
  return type == kfd::kQueueSdma || type == kfd::kQueueSdmaXgmi || type == kfd::kQueueSdmaByEngine;
}

inline bool UserAddress(std::uint64_t address) { return address < kUserLimit; }

// `ring_bytes` is raised to the least that there is, even from 0: only a null ring means "none".
inline int CheckProperties(std::uint32_t percentage, std::uint32_t priority,
                           std::uint64_t ring_base, std::uint32_t* ring_bytes) {
  if ((percentage & kPercentageMask) > kfd::kPercentageMax) return EINVAL;
  if (priority > kfd::kPriorityMax) return EINVAL;
  if (!UserAddress(ring_base)) return EFAULT;
  if (*ring_bytes != 0 && !std::has_single_bit(*ring_bytes)) return EINVAL;
  *ring_bytes = std::max(*ring_bytes, kRingBytesMin);
  return 0;
}

}  // namespace virtual_gpu

// queue_descriptor.h: the descriptor of hsa_amd_queue_create, which our own headers don't have.
//
// Source     hsa_ext_amd.h, interface 1.26 (HSA_AMD_QUEUE_CREATE_DESC_VERSION 1): 96 bytes, all
//            reserved ones zero. A descriptor of another version is never looked into.
#pragma once

#include <hsa/hsa.h>

#include <cstddef>
#include <cstdint>

namespace xsched_hsa {

struct QueueDescriptor {
  std::uint16_t version;
  std::uint16_t flags;  // 0: ring and indexes in host memory
  std::uint8_t engine;  // kComputeEngine, or one that has no AQL ring
  std::uint8_t reserved_header[3];
  std::uint32_t ring_bytes;
  std::uint32_t priority;  // hsa_amd_queue_priority_t
  void (*callback)(hsa_status_t, hsa_queue_t*, void*);
  void* callback_data;
  hsa_queue_t* queue;  // out
  const std::uint32_t* cu_mask;
  std::uint32_t type;
  std::uint32_t private_segment_size;
  std::uint32_t cu_mask_bits;
  std::uint32_t reserved_compute[3];
  std::uint32_t traffic_class;
  std::uint8_t reserved[20];
};
static_assert(sizeof(QueueDescriptor) == 96);
static_assert(offsetof(QueueDescriptor, queue) == 32 && offsetof(QueueDescriptor, type) == 48);

inline constexpr std::uint16_t kDescriptorVersion = 1;
inline constexpr std::uint8_t kComputeEngine = 0;

}  // namespace xsched_hsa

// kfd_abi.h: layouts and constants of the KFD ioctls, as far as they are modelled.
//
// Why        Debian's <linux/kfd_ioctl.h> is KFD 1.11 and includes a header that is not installed;
//            these are the facts of the interface up to 1.17 under names of our own.
// Units      as in the kernel: bytes, milliseconds (timeouts), 100 MHz ticks (gpu_clock_counter).
// See        Linux, include/uapi/linux/kfd_ioctl.h
#pragma once

#include <cstddef>
#include <cstdint>

namespace virtual_gpu::kfd {

// ioctl numbers (_IOC_NR).
enum Number : std::uint32_t {
  kGetVersion = 0x01,
  kCreateQueue = 0x02,
  kDestroyQueue = 0x03,
  kUpdateQueue = 0x07,
  kCreateEvent = 0x08,
  kWaitEvents = 0x0c,
  kGetAperturesNew = 0x14,
  kMapMemory = 0x18,
  kUnmapMemory = 0x19,
  kSetCuMask = 0x1a,
};

struct GetVersionArgs {
  std::uint32_t major_version, minor_version;
};

enum QueueType : std::uint32_t {
  kQueueCompute = 0,
  kQueueSdma = 1,
  kQueueComputeAql = 2,
  kQueueSdmaXgmi = 3,
  kQueueSdmaByEngine = 4,
};
inline constexpr std::uint32_t kPercentageMax = 100;
inline constexpr std::uint32_t kPriorityMax = 15;

struct CreateQueueArgs {
  std::uint64_t ring_base_address, write_pointer_address, read_pointer_address;
  std::uint64_t doorbell_offset;
  std::uint32_t ring_size, gpu_id, queue_type, queue_percentage, queue_priority, queue_id;
  std::uint64_t eop_buffer_address, eop_buffer_size;
  std::uint64_t ctx_save_restore_address;
  std::uint32_t ctx_save_restore_size, ctl_stack_size;
  std::uint32_t sdma_engine_id, padding;  // since 1.17
};
static_assert(sizeof(CreateQueueArgs) == 96 && offsetof(CreateQueueArgs, queue_id) == 52);

struct DestroyQueueArgs {
  std::uint32_t queue_id, padding;
};

struct UpdateQueueArgs {
  std::uint64_t ring_base_address;
  std::uint32_t queue_id, ring_size, queue_percentage, queue_priority;
};
static_assert(sizeof(UpdateQueueArgs) == 24);

struct SetCuMaskArgs {
  std::uint32_t queue_id, num_cu_mask;  // bits
  std::uint64_t cu_mask_ptr;
};

struct GetQueueWaveStateArgs {
  std::uint64_t ctl_stack_address;
  std::uint32_t ctl_stack_used_size, save_area_used_size, queue_id, padding;
};

struct AllocQueueGwsArgs {
  std::uint32_t queue_id, num_gws, first_gws, padding;
};

struct GetClockCountersArgs {
  std::uint64_t gpu_clock_counter, cpu_clock_counter, system_clock_counter, system_clock_freq;
  std::uint32_t gpu_id, padding;
};

struct ProcessApertures {
  std::uint64_t lds_base, lds_limit, scratch_base, scratch_limit, gpuvm_base, gpuvm_limit;
  std::uint32_t gpu_id, padding;
};
static_assert(sizeof(ProcessApertures) == 56);

struct GetAperturesNewArgs {
  std::uint64_t apertures_ptr;
  std::uint32_t num_of_nodes, padding;
};

enum EventType : std::uint32_t {
  kEventSignal = 0,
  kEventHwException = 3,
  kEventMemory = 8,
};
inline constexpr std::uint32_t kEventsMax = 4096;  // KFD_SIGNAL_EVENT_LIMIT

struct CreateEventArgs {
  std::uint64_t event_page_offset;
  std::uint32_t event_trigger_data, event_type, auto_reset, node_id, event_id, event_slot_index;
};
static_assert(sizeof(CreateEventArgs) == 32);

struct EventIdArgs {  // DESTROY_EVENT, SET_EVENT, RESET_EVENT
  std::uint32_t event_id, padding;
};

struct MemoryException {
  std::uint32_t not_present, read_only, no_execute, imprecise;
  std::uint64_t va;
  std::uint32_t gpu_id, error_type;
};
static_assert(sizeof(MemoryException) == 32);

struct HwException {
  std::uint32_t reset_type, reset_cause, memory_lost, gpu_id;
};

struct EventData {
  union {
    MemoryException memory;
    HwException hardware;
    std::uint64_t last_event_age;  // signal events, since 1.14
  };
  std::uint64_t extension;
  std::uint32_t event_id, padding;
};
static_assert(sizeof(EventData) == 48);

enum WaitResult : std::uint32_t { kWaitComplete = 0, kWaitTimeout = 1, kWaitFail = 2 };

struct WaitEventsArgs {
  std::uint64_t events_ptr;
  std::uint32_t num_events, wait_for_all, timeout, wait_result;
};
static_assert(sizeof(WaitEventsArgs) == 24);

struct GetTileConfigArgs {
  std::uint64_t tile_config_ptr, macro_tile_config_ptr;
  std::uint32_t num_tile_configs, num_macro_tile_configs;
  std::uint32_t gpu_id, gb_addr_config, num_banks, num_ranks;
};
static_assert(sizeof(GetTileConfigArgs) == 40);

inline constexpr std::uint32_t kMemoryVram = 1u << 0;
inline constexpr std::uint32_t kMemoryGtt = 1u << 1;
inline constexpr std::uint32_t kMemoryUserptr = 1u << 2;
inline constexpr std::uint32_t kMemoryDoorbell = 1u << 3;
inline constexpr std::uint32_t kMemoryMmioRemap = 1u << 4;

struct AllocMemoryArgs {
  std::uint64_t va_addr, size, handle, mmap_offset;
  std::uint32_t gpu_id, flags;
};
static_assert(sizeof(AllocMemoryArgs) == 40);

struct FreeMemoryArgs {
  std::uint64_t handle;
};

struct MapMemoryArgs {  // UNMAP too
  std::uint64_t handle, device_ids_array_ptr;
  std::uint32_t n_devices, n_success;
};
static_assert(sizeof(MapMemoryArgs) == 24);

struct AvailableMemoryArgs {
  std::uint64_t available;
  std::uint32_t gpu_id, padding;
};

struct SetXnackModeArgs {
  std::int32_t xnack_enabled;
};

struct RuntimeEnableArgs {
  std::uint64_t r_debug;
  std::uint32_t mode_mask, capabilities_mask;
};

}  // namespace virtual_gpu::kfd

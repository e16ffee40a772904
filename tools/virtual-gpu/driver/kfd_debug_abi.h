// kfd_debug_abi.h: layouts and constants of KFD's debugger ioctls, DBG_TRAP and RUNTIME_ENABLE.
//
// Units      as in the kernel; the grace period counts 1000 shader clocks.
// See        Linux, include/uapi/linux/kfd_ioctl.h
#pragma once

#include <cstddef>
#include <cstdint>

namespace virtual_gpu::kfd {

inline constexpr std::uint32_t kDbgTrap = 0x26;

enum DebugOp : std::uint32_t {
  kDebugEnable = 0,
  kDebugDisable = 1,
  kDebugSendRuntimeEvent = 2,
  kDebugSetExceptionsEnabled = 3,
  kDebugSetWaveLaunchOverride = 4,
  kDebugSetWaveLaunchMode = 5,
  kDebugSuspendQueues = 6,
  kDebugResumeQueues = 7,
  kDebugSetAddressWatch = 8,
  kDebugClearAddressWatch = 9,
  kDebugSetFlags = 10,
  kDebugQueryEvent = 11,
  kDebugQueryExceptionInfo = 12,
  kDebugGetQueueSnapshot = 13,
  kDebugGetDeviceSnapshot = 14,
};

// Exception codes; a mask has bit (code - 1).
inline constexpr std::uint32_t kEcQueueNew = 31;
inline constexpr std::uint32_t kEcProcessRuntime = 48;
constexpr std::uint64_t ExceptionMask(std::uint32_t code) { return 1ull << (code - 1); }

inline constexpr std::uint32_t kQueueError = 1u << 30;    // in a queue array, out
inline constexpr std::uint32_t kQueueInvalid = 1u << 31;  // in a queue array, out
inline constexpr std::uint32_t kDefaultGracePeriod = 0xffffffff;

// struct kfd_ioctl_dbg_trap_args: pid and op, then what the op needs.
struct DebugHeader {
  std::uint32_t pid, op;
};
struct DebugEnableArgs {
  DebugHeader header;
  std::uint64_t exception_mask, rinfo_ptr;
  std::uint32_t rinfo_size, dbg_fd;
};
struct DebugRuntimeEventArgs {
  DebugHeader header;
  std::uint64_t exception_mask;
  std::uint32_t gpu_id, queue_id;
};
struct DebugExceptionsArgs {
  DebugHeader header;
  std::uint64_t exception_mask;
};
struct DebugSuspendArgs {
  DebugHeader header;
  std::uint64_t exception_mask, queue_array_ptr;
  std::uint32_t num_queues, grace_period;
};
struct DebugResumeArgs {
  DebugHeader header;
  std::uint64_t queue_array_ptr;
  std::uint32_t num_queues, padding;
};
struct DebugFlagsArgs {
  DebugHeader header;
  std::uint32_t flags, padding;
};
struct DebugEventArgs {
  DebugHeader header;
  std::uint64_t exception_mask;
  std::uint32_t gpu_id, queue_id;
};
struct DebugSnapshotArgs {  // of queues, or of devices
  DebugHeader header;
  std::uint64_t exception_mask, buffer_ptr;
  std::uint32_t count, entry_bytes;
};
static_assert(sizeof(DebugEnableArgs) == 32 && sizeof(DebugSuspendArgs) == 32 &&
              sizeof(DebugSnapshotArgs) == 32);

struct RuntimeInfo {
  std::uint64_t r_debug;
  std::uint32_t runtime_state, ttmp_setup;
};
enum RuntimeState : std::uint32_t { kRuntimeDisabled = 0, kRuntimeEnabled = 1 };

struct QueueSnapshotEntry {
  std::uint64_t exception_status, ring_base_address, write_pointer_address, read_pointer_address,
      ctx_save_restore_address;
  std::uint32_t queue_id, gpu_id, ring_size, queue_type, ctx_save_restore_area_size, reserved;
};
static_assert(sizeof(QueueSnapshotEntry) == 64);

struct DeviceSnapshotEntry {
  std::uint64_t exception_status, lds_base, lds_limit, scratch_base, scratch_limit, gpuvm_base,
      gpuvm_limit;
  std::uint32_t gpu_id, location_id, vendor_id, device_id, revision_id, subsystem_vendor_id,
      subsystem_device_id, fw_version, gfx_target_version, simd_count, max_waves_per_simd,
      array_count, simd_arrays_per_engine, num_xcc, capability, debug_prop;
};
static_assert(sizeof(DeviceSnapshotEntry) == 120);

// What the head of a queue's save area says after a debugger has suspended it.
struct SaveAreaHeader {
  std::uint32_t control_stack_offset, control_stack_size, wave_state_offset, wave_state_size;
};

}  // namespace virtual_gpu::kfd

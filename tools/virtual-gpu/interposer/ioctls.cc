#include "ioctls.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client.h"
#include "drm_abi.h"
#include "kfd_abi.h"
#include "kfd_debug_abi.h"

namespace virtual_gpu::interposer {
namespace {

int Fail(int error) {
  errno = error;
  return -1;
}

// An errno, or minus what the ioctl returns.
int Result(int error) { return error <= 0 ? -error : Fail(error); }

// Where a struct keeps a pointer to an array, and how long that array is.
struct PointerField {
  unsigned number;        // _IOC_NR
  size_t pointer_at;      // byte offset of the u64 pointer
  size_t count_at;        // byte offset of the u32 element count
  unsigned element_bits;  // 8 * bytes of an element; 1 for a count of bits
  bool in, out;
};
constexpr PointerField kPointerFields[] = {
    {kfd::kWaitEvents, offsetof(kfd::WaitEventsArgs, events_ptr),
     offsetof(kfd::WaitEventsArgs, num_events), 8 * sizeof(kfd::EventData), true, true},
    {kfd::kGetAperturesNew, offsetof(kfd::GetAperturesNewArgs, apertures_ptr),
     offsetof(kfd::GetAperturesNewArgs, num_of_nodes), 8 * sizeof(kfd::ProcessApertures), false,
     true},
    {kfd::kMapMemory, offsetof(kfd::MapMemoryArgs, device_ids_array_ptr),
     offsetof(kfd::MapMemoryArgs, n_devices), 32, true, false},
    {kfd::kUnmapMemory, offsetof(kfd::MapMemoryArgs, device_ids_array_ptr),
     offsetof(kfd::MapMemoryArgs, n_devices), 32, true, false},
    {kfd::kSetCuMask, offsetof(kfd::SetCuMaskArgs, cu_mask_ptr),
     offsetof(kfd::SetCuMaskArgs, num_cu_mask), 1, true, false},
};

// The same for DBG_TRAP, by operation. The snapshots' entries are as long as the caller says.
constexpr PointerField kDebugFields[] = {
    {kfd::kDebugEnable, offsetof(kfd::DebugEnableArgs, rinfo_ptr),
     offsetof(kfd::DebugEnableArgs, rinfo_size), 8, false, true},
    {kfd::kDebugSuspendQueues, offsetof(kfd::DebugSuspendArgs, queue_array_ptr),
     offsetof(kfd::DebugSuspendArgs, num_queues), 32, true, true},
    {kfd::kDebugResumeQueues, offsetof(kfd::DebugResumeArgs, queue_array_ptr),
     offsetof(kfd::DebugResumeArgs, num_queues), 32, true, true},
    {kfd::kDebugGetQueueSnapshot, offsetof(kfd::DebugSnapshotArgs, buffer_ptr),
     offsetof(kfd::DebugSnapshotArgs, count), 0, false, true},
    {kfd::kDebugGetDeviceSnapshot, offsetof(kfd::DebugSnapshotArgs, buffer_ptr),
     offsetof(kfd::DebugSnapshotArgs, count), 0, false, true},
};

// Null also where a short argument, which the driver fills up with zeros, does not reach that far.
const PointerField* FindPointerField(unsigned number, const void* arg, std::size_t arg_bytes) {
  const auto reaches = [arg_bytes](const PointerField& field) {
    return arg_bytes >= field.pointer_at + sizeof(std::uint64_t) &&
           arg_bytes >= field.count_at + sizeof(std::uint32_t) &&
           (field.element_bits != 0 || arg_bytes >= sizeof(kfd::DebugSnapshotArgs));
  };
  if (number == kfd::kDbgTrap) {
    if (arg_bytes < sizeof(kfd::DebugHeader)) return nullptr;
    const std::uint32_t op = static_cast<const kfd::DebugHeader*>(arg)->op;
    for (const PointerField& field : kDebugFields) {
      if (field.number == op && reaches(field)) return &field;
    }
    return nullptr;
  }
  for (const PointerField& field : kPointerFields) {
    if (field.number == number && reaches(field)) return &field;
  }
  return nullptr;
}

// Which events are memory-exception events: what remains to be known when the device has gone.
bool g_memory_event[kfd::kEventsMax];

void NoteEvent(const void* arg) {
  const auto* event = static_cast<const kfd::CreateEventArgs*>(arg);
  if (event->event_id >= kfd::kEventsMax) return;
  __atomic_store_n(&g_memory_event[event->event_id], event->event_type == kfd::kEventMemory,
                   __ATOMIC_RELAXED);
}

// The device process has died. The runtime ignores a failed wait and would wait for ever; a memory
// exception is what it acts on: the thread that waits for one then ends the program with a message.
int ReportLossAsFault(kfd::WaitEventsArgs* args) {
  auto* events = reinterpret_cast<kfd::EventData*>(args->events_ptr);
  for (std::uint32_t i = 0; i < args->num_events; ++i) {
    if (events[i].event_id >= kfd::kEventsMax ||
        !__atomic_load_n(&g_memory_event[events[i].event_id], __ATOMIC_RELAXED)) {
      continue;
    }
    events[i].memory = {};
    events[i].memory.not_present = 1;
    events[i].memory.gpu_id = FirstGpuId();
    args->wait_result = kfd::kWaitComplete;
    return 0;
  }
  usleep(1000);  // the caller may try again at once
  return Fail(EIO);
}

}  // namespace

namespace {

int AttachPayload(const PointerField& field, unsigned number, void* arg, Message* message) {
  constexpr std::uint64_t kRoom = rpc::kMessageBytesMax - 1024;
  constexpr std::uint64_t kMaskBytesMax = 128;  // KFD cuts longer masks off
  std::uint64_t pointer;
  std::uint32_t count;
  memcpy(&pointer, static_cast<char*>(arg) + field.pointer_at, sizeof(pointer));
  memcpy(&count, static_cast<char*>(arg) + field.count_at, sizeof(count));
  std::uint64_t bits = field.element_bits;
  if (bits == 0) bits = 8ull * static_cast<kfd::DebugSnapshotArgs*>(arg)->entry_bytes;
  std::uint64_t bytes = (count * bits + 7) / 8;
  if (number == kfd::kSetCuMask && bytes > kMaskBytesMax) bytes = kMaskBytesMax;
  if (bytes > kRoom) {
    if (field.in) return ENOMEM;
    bytes = kRoom;
  }
  if (pointer == 0) return 0;  // the driver model says what that means
  message->payload = reinterpret_cast<void*>(pointer);
  if (field.in) message->header.payload_bytes = static_cast<std::uint32_t>(bytes);
  if (field.out) message->payload_out_max = static_cast<std::uint32_t>(bytes);
  return 0;
}

}  // namespace

int KfdIoctl(unsigned long request, void* arg) {
  Message message;
  message.header.kind = rpc::Kind::kKfdIoctl;
  message.header.number = _IOC_NR(request);
  message.header.arg_bytes = _IOC_SIZE(request);
  message.arg = arg;
  if (message.header.arg_bytes > rpc::kArgBytesMax) return Fail(EINVAL);
  if (arg == nullptr) return Fail(EFAULT);

  const unsigned number = message.header.number;
  const std::size_t arg_bytes = message.header.arg_bytes;
  const PointerField* field = FindPointerField(number, arg, arg_bytes);
  if (field != nullptr) {
    if (const int error = AttachPayload(*field, number, arg, &message); error != 0) {
      return Fail(error);
    }
  }
  if (number == kfd::kDbgTrap) {
    message.header.thread = static_cast<std::int32_t>(syscall(SYS_gettid));
  }
  const int error = Call(&message);
  if (error == 0 && number == kfd::kCreateEvent && arg_bytes >= sizeof(kfd::CreateEventArgs)) {
    NoteEvent(arg);
  }
  if (error == EIO && number == kfd::kWaitEvents && arg_bytes >= sizeof(kfd::WaitEventsArgs) &&
      DeviceLost()) {
    return ReportLossAsFault(static_cast<kfd::WaitEventsArgs*>(arg));
  }
  return Result(error);
}

namespace {

void CopyString(std::uint64_t pointer, std::uint64_t* bytes, const char* text) {
  const std::uint64_t full = strlen(text);
  if (pointer != 0) memcpy(reinterpret_cast<void*>(pointer), text, full < *bytes ? full : *bytes);
  *bytes = full;
}

int DrmVersion(void* arg) {
  auto* version = static_cast<DrmVersionArgs*>(arg);
  version->major = kDrmMajor;
  version->minor = kDrmMinor;
  version->patch = 0;
  CopyString(version->name, &version->name_bytes, "amdgpu");
  CopyString(version->date, &version->date_bytes, "20150101");
  CopyString(version->description, &version->description_bytes, "AMD GPU (virtual)");
  return 0;
}

int DrmClient(void* arg) {
  auto* client = static_cast<DrmClientArgs*>(arg);
  if (client->index != 0) return Fail(EINVAL);
  client->authenticated = 1;
  client->pid = static_cast<std::uint64_t>(getpid());
  client->uid = static_cast<std::uint64_t>(getuid());
  return 0;
}

int AmdgpuInfo(unsigned gpu, void* arg) {
  const auto* info = static_cast<const AmdgpuInfoArgs*>(arg);
  rpc::DrmInfo request;
  request.gpu = gpu;
  request.query = info->query;
  request.return_bytes = info->return_bytes;
  memcpy(&request.detail, info->detail + sizeof(std::uint32_t), sizeof(request.detail));
  Message message;
  message.header.kind = rpc::Kind::kDrmInfo;
  message.header.number = info->query;
  message.header.arg_bytes = sizeof(request);
  message.arg = &request;
  message.payload = reinterpret_cast<void*>(info->return_pointer);
  message.payload_out_max = info->return_pointer == 0 ? 0 : info->return_bytes;
  return Result(Call(&message));
}

}  // namespace

int DrmIoctl(unsigned gpu, unsigned long request, void* arg) {
  if (arg == nullptr) return Fail(EFAULT);
  switch (_IOC_NR(request)) {
    case kDrmVersion:
      return DrmVersion(arg);
    case kDrmGetClient:
      return DrmClient(arg);
    case kDrmGemClose:
      return 0;
    case kDrmAmdgpuInfo:
      return AmdgpuInfo(gpu, arg);
    default:
      break;
  }
  static bool reported[256];
  if (!__atomic_exchange_n(&reported[_IOC_NR(request)], true, __ATOMIC_RELAXED)) {
    fprintf(stderr, "virtual-gpu: DRM ioctl 0x%02x is not modelled; it fails with EINVAL\n",
            static_cast<unsigned>(_IOC_NR(request)));
  }
  return Fail(EINVAL);
}

}  // namespace virtual_gpu::interposer

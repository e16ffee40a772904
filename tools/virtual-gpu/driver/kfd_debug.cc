// kfd_debug.cc: RUNTIME_ENABLE and DBG_TRAP: who may debug whom, sessions, exceptions, snapshots.
//
// SUSPEND_QUEUES and RESUME_QUEUES are in kfd_debug_queues.cc. Order of the checks, effects and
// errno values as kfd_ioctl_set_debug_trap and kfd_debug.c.

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "kfd_abi.h"
#include "kfd_debug_abi.h"
#include "kfd_driver.h"
#include "process_lookup.h"
#include "topology.h"

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kProcessRuntime = kfd::ExceptionMask(kfd::kEcProcessRuntime);

void WriteEvent(const DebugSession& session) {
  const ssize_t written = write(session.event_fd, ".", 1);
  (void)written;  // a debugger that does not read loses the byte, not the exception
}

bool NeedsRuntime(std::uint32_t op) {
  switch (op) {
    case kfd::kDebugSetWaveLaunchOverride:
    case kfd::kDebugSetWaveLaunchMode:
    case kfd::kDebugSuspendQueues:
    case kfd::kDebugResumeQueues:
    case kfd::kDebugSetAddressWatch:
    case kfd::kDebugClearAddressWatch:
    case kfd::kDebugSetFlags:
      return true;
    default:
      return false;
  }
}

}  // namespace

void KfdDriver::RaiseException(Process* process, KfdQueue* queue, std::uint64_t mask) {
  if (!process->debug.enabled) return;
  (queue != nullptr ? queue->exceptions : process->debug.exceptions) |= mask;
  if ((process->debug.exceptions_enabled & mask) != 0) WriteEvent(process->debug);
}

void KfdDriver::RuntimeEnable(const Request& request, Process& process) {
  const auto args = request.Arg<kfd::RuntimeEnableArgs>();
  constexpr std::uint32_t kEnable = 1, kSaveTtmp = 2;
  if ((args.mode_mask & kEnable) == 0) {
    const bool was_enabled = process.runtime_enabled;
    process.runtime_enabled = false;
    process.r_debug = 0;
    RaiseException(&process, nullptr, kProcessRuntime);
    if (!was_enabled || !process.debug.enabled) return request.Reply(0);
    return Deactivate(request.connection->process, [request] { request.Reply(0); });
  }
  if (process.runtime_enabled) return request.Reply(EBUSY);
  if (!process.queues.empty()) return request.Reply(EEXIST);
  process.runtime_enabled = true;
  process.r_debug = args.r_debug;
  process.ttmp_setup = (args.mode_mask & kSaveTtmp) != 0 ? 1 : 0;
  if (!process.debug.enabled) return request.Reply(0);
  // The debugger hears of it, and the runtime waits for its leave.
  process.waiting_runtime_enables.push_back(request);
  RefreshRunlists([this, owner = request.connection->process] {
    RaiseException(owner.get(), nullptr, kProcessRuntime);
  });
}

std::shared_ptr<Process> KfdDriver::DebugTarget(const Request& request, const Process& caller,
                                                int* error) {
  const auto header = request.Arg<kfd::DebugHeader>();
  std::shared_ptr<Process> target;
  for (const auto& [name, process] : *processes_) {
    if (!process->finished &&
        NamesProcess(static_cast<pid_t>(header.pid), caller.pid, process->pid)) {
      target = process;
    }
  }
  *error = target == nullptr ? ESRCH : 0;
  if (target == nullptr || target.get() == &caller || target->debug.debugger == caller.key) {
    return target;
  }
  const pid_t tracer = TracerOf(target->pid);
  if (tracer == 0 || ThreadOf(caller.pid, request.header.thread) != tracer) *error = EPERM;
  return target;
}

void KfdDriver::DbgTrap(const Request& request, Process& caller) {
  const auto header = request.Arg<kfd::DebugHeader>();
  int error = 0;
  const std::shared_ptr<Process> target = DebugTarget(request, caller, &error);
  if (error != 0) return request.Reply(error);
  if (header.op != kfd::kDebugEnable && !target->debug.enabled) return request.Reply(EINVAL);
  if (!target->runtime_enabled && NeedsRuntime(header.op)) return request.Reply(EPERM);
  switch (header.op) {
    case kfd::kDebugEnable:
      return DebugEnable(request, caller, target);
    case kfd::kDebugDisable:
      return DebugDisable(target, [request] { request.Reply(0); });
    case kfd::kDebugSendRuntimeEvent:
      return DebugSendRuntimeEvent(request, target);
    case kfd::kDebugSetExceptionsEnabled:
      return DebugSetExceptions(request, target);
    case kfd::kDebugSuspendQueues:
      return DebugSuspendQueues(request, target);
    case kfd::kDebugResumeQueues:
      return DebugResumeQueues(request, target);
    case kfd::kDebugSetFlags:
      return DebugSetFlags(request, target);
    case kfd::kDebugQueryEvent:
      return DebugQueryEvent(request, target);
    case kfd::kDebugGetQueueSnapshot:
      return DebugQueueSnapshot(request, target);
    case kfd::kDebugGetDeviceSnapshot:
      return DebugDeviceSnapshot(request, target);
    default:
      return Unknown(request, ("DBG_TRAP operation " + std::to_string(header.op)).c_str(), EINVAL);
  }
}

void KfdDriver::DebugEnable(const Request& request, const Process& caller,
                            const std::shared_ptr<Process>& target) {
  auto args = request.Arg<kfd::DebugEnableArgs>();
  if (target->debug.enabled) return request.Reply(EALREADY);
  const auto fd =
      static_cast<int>(syscall(SYS_pidfd_getfd, caller.pid_fd, static_cast<int>(args.dbg_fd), 0u));
  if (fd < 0 && errno == EBADF) return request.Reply(EBADF);
  target->debug.enabled = true;
  target->debug.event_fd = fd;
  target->debug.exceptions_enabled = args.exception_mask;
  target->debug.debugger = caller.key;
  const kfd::RuntimeInfo info = {
      target->r_debug, target->runtime_enabled ? kfd::kRuntimeEnabled : kfd::kRuntimeDisabled,
      target->ttmp_setup};
  std::vector<std::byte> out(std::min<std::size_t>(args.rinfo_size, sizeof(info)));
  std::memcpy(out.data(), &info, out.size());
  args.rinfo_size = sizeof(info);
  const auto answer = [request, args, out] { request.ReplyWith(0, args, out); };
  // Without the runtime the activation, and its cycle, come with RUNTIME_ENABLE.
  if (!target->runtime_enabled) return answer();
  RefreshRunlists(answer);
}

// kfd_dbg_trap_deactivate: all queues go on, then the runlists are made again.
void KfdDriver::Deactivate(const std::shared_ptr<Process>& target, std::function<void()> done) {
  ResumeAll(target, [this, done = std::move(done)] { RefreshRunlists(done); });
}

void KfdDriver::DebugDisable(const std::shared_ptr<Process>& target, std::function<void()> done) {
  DebugSession& session = target->debug;
  session.enabled = false;
  if (session.event_fd >= 0) close(session.event_fd);
  session = {};
  for (auto& [id, queue] : target->queues) queue->exceptions = 0;
  if (target->runtime_enabled) return Deactivate(target, std::move(done));
  done();
}

void KfdDriver::DebugSendRuntimeEvent(const Request& request,
                                      const std::shared_ptr<Process>& target) {
  const auto args = request.Arg<kfd::DebugRuntimeEventArgs>();
  if ((args.exception_mask & ~kProcessRuntime) != 0) {
    return Unknown(request, "DBG_TRAP SEND_RUNTIME_EVENT with queue or device exceptions", EINVAL);
  }
  if (args.exception_mask != 0) {
    const std::vector<Request> waiting = std::move(target->waiting_runtime_enables);
    target->waiting_runtime_enables.clear();
    for (const Request& one : waiting) one.Reply(0);
  }
  request.Reply(0);
}

void KfdDriver::DebugSetExceptions(const Request& request, const std::shared_ptr<Process>& target) {
  DebugSession& session = target->debug;
  session.exceptions_enabled = request.Arg<kfd::DebugExceptionsArgs>().exception_mask;
  std::uint64_t pending = session.exceptions;
  for (const auto& [id, queue] : target->queues) pending |= queue->exceptions;
  if ((pending & session.exceptions_enabled) != 0) WriteEvent(session);
  request.Reply(0);
}

void KfdDriver::DebugSetFlags(const Request& request, const std::shared_ptr<Process>& target) {
  auto args = request.Arg<kfd::DebugFlagsArgs>();
  std::swap(args.flags, target->debug.flags);
  RefreshRunlists([request, args] { request.ReplyWith(0, args); });
}

void KfdDriver::DebugQueryEvent(const Request& request, const std::shared_ptr<Process>& target) {
  auto args = request.Arg<kfd::DebugEventArgs>();
  DebugSession& session = target->debug;
  const std::uint64_t clear = args.exception_mask;
  args.gpu_id = args.queue_id = 0;
  const auto take = [&](std::uint64_t* status) {
    args.exception_mask = *status;
    *status &= ~clear;
    request.ReplyWith(0, args);
  };
  for (auto& [id, queue] : target->queues) {
    if ((queue->exceptions & session.exceptions_enabled) == 0) continue;
    args.queue_id = id;
    args.gpu_id = (*gpus_)[queue->gpu_index]->gpu_id();
    return take(&queue->exceptions);
  }
  if ((session.exceptions & session.exceptions_enabled) == 0) return request.Reply(EAGAIN);
  take(&session.exceptions);
}

void KfdDriver::DebugQueueSnapshot(const Request& request, const std::shared_ptr<Process>& target) {
  auto args = request.Arg<kfd::DebugSnapshotArgs>();
  if (args.entry_bytes == 0) return request.Reply(EINVAL);
  const std::size_t stride = args.entry_bytes, room = args.count;
  args.entry_bytes = static_cast<std::uint32_t>(std::min(stride, sizeof(kfd::QueueSnapshotEntry)));
  args.count = 0;
  std::vector<std::byte> out;
  for (auto& [id, queue] : target->queues) {
    if (args.count++ >= room) continue;
    const kfd::QueueSnapshotEntry entry = {queue->exceptions,
                                           queue->ring_base,
                                           queue->write_pointer,
                                           queue->read_pointer,
                                           queue->save_area,
                                           id,
                                           (*gpus_)[queue->gpu_index]->gpu_id(),
                                           queue->ring_bytes,
                                           queue->type,
                                           queue->save_area_bytes,
                                           0};
    out.resize(out.size() + stride);
    std::memcpy(out.data() + out.size() - stride, &entry, args.entry_bytes);
    queue->exceptions &= ~args.exception_mask;
  }
  request.ReplyWith(0, args, out);
}

void KfdDriver::DebugDeviceSnapshot(const Request& request,
                                    const std::shared_ptr<Process>& target) {
  (void)target;
  auto args = request.Arg<kfd::DebugSnapshotArgs>();
  if (args.entry_bytes == 0) return request.Reply(EINVAL);
  const std::size_t stride = args.entry_bytes, room = args.count;
  args.entry_bytes = static_cast<std::uint32_t>(std::min(stride, sizeof(kfd::DeviceSnapshotEntry)));
  args.count = 0;
  std::vector<std::byte> out;
  for (const auto& gpu : *gpus_) {
    if (args.count++ >= room) continue;
    const kfd::ProcessApertures a = AperturesOf(*gpu);
    const GpuModel& m = gpu->model();
    kfd::DeviceSnapshotEntry entry = {};
    entry.lds_base = a.lds_base;
    entry.lds_limit = a.lds_limit;
    entry.scratch_base = a.scratch_base;
    entry.scratch_limit = a.scratch_limit;
    entry.gpuvm_base = a.gpuvm_base;
    entry.gpuvm_limit = a.gpuvm_limit;
    entry.gpu_id = a.gpu_id;
    entry.location_id = static_cast<std::uint32_t>(LocationOf(gpu->index()));
    entry.capability = static_cast<std::uint32_t>(CapabilityBits());
    entry.debug_prop = m.part.debug_prop;
    entry.vendor_id = 0x1002;
    entry.device_id = m.part.device_id;
    entry.fw_version = m.part.fw_version;
    entry.gfx_target_version = m.gfx_target_version;
    entry.simd_count = m.part.SimdCount();
    entry.max_waves_per_simd = m.part.params.waves_per_simd;
    entry.array_count = m.part.ArrayCount();
    entry.simd_arrays_per_engine = 1;
    entry.num_xcc = m.part.params.xccs;
    out.resize(out.size() + stride);
    std::memcpy(out.data() + out.size() - stride, &entry, args.entry_bytes);
  }
  request.ReplyWith(0, args, out);
}

}  // namespace virtual_gpu

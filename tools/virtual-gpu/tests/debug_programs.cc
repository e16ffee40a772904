// debug_programs.cc: programs that debug themselves or another process through DBG_TRAP.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "hsa_harness.h"
#include "kfd_abi.h"
#include "kfd_debug_abi.h"
#include "programs.h"

namespace virtual_gpu::test {
namespace {

constexpr std::uint32_t kRuntimeEnable = 0x25;
constexpr std::uint64_t kQueueNew = kfd::ExceptionMask(kfd::kEcQueueNew);

int OpenKfd() {
  const int kfd = open("/dev/kfd", O_RDWR | O_CLOEXEC);
  EXPECT_THAT(kfd >= 0);
  return kfd;
}

int EnableRuntime(int kfd, std::uint32_t mode = 1) {
  kfd::RuntimeEnableArgs args = {0, mode, 0};
  return KfdIoctl(kfd, kRuntimeEnable, &args, sizeof(args));
}

// The runtime, and KFD told of it: newer ones do so in hsa_init, for older ones it is done here.
std::unique_ptr<Runtime> MakeEnabledRuntime(int kfd) {
  auto runtime = std::make_unique<Runtime>();
  const int error = EnableRuntime(kfd);
  EXPECT_THAT(error == 0 || error == EBUSY);
  EXPECT_THAT(EnableRuntime(kfd) == EBUSY);
  return runtime;
}

// A debugger's calls on one target.
class Debugger {
 public:
  Debugger(int kfd, pid_t target) : kfd_(kfd), pid_(static_cast<std::uint32_t>(target)) {}

  int Enable(int event_fd, std::uint64_t exceptions = kQueueNew) {
    kfd::RuntimeInfo info = {};
    kfd::DebugEnableArgs args = {{pid_, kfd::kDebugEnable},
                                 exceptions,
                                 reinterpret_cast<std::uint64_t>(&info),
                                 sizeof(info),
                                 static_cast<std::uint32_t>(event_fd)};
    const int error = Trap(&args);
    runtime_state_ = info.runtime_state;
    return error;
  }
  int Disable() {
    kfd::DebugHeader args = {pid_, kfd::kDebugDisable};
    return Trap(&args);
  }
  std::uint32_t runtime_state() const { return runtime_state_; }
  // What the ioctl returns; -errno when it fails.
  int Suspend(std::vector<std::uint32_t>* ids, std::uint64_t exceptions = 0) {
    kfd::DebugSuspendArgs args = {{pid_, kfd::kDebugSuspendQueues},
                                  exceptions,
                                  reinterpret_cast<std::uint64_t>(ids->data()),
                                  static_cast<std::uint32_t>(ids->size()),
                                  0};
    return Count(&args);
  }
  int Resume(std::vector<std::uint32_t>* ids) {
    kfd::DebugResumeArgs args = {{pid_, kfd::kDebugResumeQueues},
                                 ids == nullptr ? 0 : reinterpret_cast<std::uint64_t>(ids->data()),
                                 ids == nullptr ? 0 : static_cast<std::uint32_t>(ids->size()),
                                 0};
    return Count(&args);
  }
  int Snapshot(std::vector<kfd::QueueSnapshotEntry>* entries, std::uint64_t clear,
               std::uint32_t* count, std::uint32_t entry_bytes = sizeof(kfd::QueueSnapshotEntry)) {
    kfd::DebugSnapshotArgs args = {{pid_, kfd::kDebugGetQueueSnapshot},
                                   clear,
                                   reinterpret_cast<std::uint64_t>(entries->data()),
                                   static_cast<std::uint32_t>(entries->size()),
                                   entry_bytes};
    const int error = Trap(&args);
    *count = args.count;
    return error;
  }
  int SendRuntimeEvent(std::uint64_t exceptions) {
    kfd::DebugRuntimeEventArgs args = {{pid_, kfd::kDebugSendRuntimeEvent}, exceptions, 0, 0};
    return Trap(&args);
  }
  int SetExceptions(std::uint64_t exceptions) {
    kfd::DebugExceptionsArgs args = {{pid_, kfd::kDebugSetExceptionsEnabled}, exceptions};
    return Trap(&args);
  }
  // `flags` comes back as it was.
  int SetFlags(std::uint32_t* flags) {
    kfd::DebugFlagsArgs args = {{pid_, kfd::kDebugSetFlags}, *flags, 0};
    const int error = Trap(&args);
    *flags = args.flags;
    return error;
  }
  // `event`'s exceptions are those to clear, and come back as those that there were.
  int Query(kfd::DebugEventArgs* event) {
    event->header = {pid_, kfd::kDebugQueryEvent};
    return Trap(event);
  }
  int Devices(std::vector<kfd::DeviceSnapshotEntry>* entries, std::uint32_t* count) {
    kfd::DebugSnapshotArgs args = {{pid_, kfd::kDebugGetDeviceSnapshot},
                                   0,
                                   reinterpret_cast<std::uint64_t>(entries->data()),
                                   static_cast<std::uint32_t>(entries->size()),
                                   sizeof(kfd::DeviceSnapshotEntry)};
    const int error = Trap(&args);
    *count = args.count;
    return error;
  }
  // All queues; they are not new any more.
  std::vector<kfd::QueueSnapshotEntry> Queues() {
    std::vector<kfd::QueueSnapshotEntry> entries;
    std::uint32_t count = 0;
    EXPECT_THAT(Snapshot(&entries, 0, &count) == 0);
    entries.resize(count);
    EXPECT_THAT(Snapshot(&entries, kQueueNew, &count) == 0 && count == entries.size());
    return entries;
  }

 private:
  // The kernel reads and writes a union of 32 bytes, whichever of its structs is meant.
  template <typename T, typename Call>
  static int WithUnion(T* args, Call call) {
    unsigned char whole[32] = {};
    static_assert(sizeof(T) <= sizeof(whole));
    std::memcpy(whole, args, sizeof(T));
    const int result = call(whole);
    std::memcpy(args, whole, sizeof(T));
    return result;
  }
  template <typename T>
  int Trap(T* args) {
    return WithUnion(args, [this](void* all) { return KfdIoctl(kfd_, kfd::kDbgTrap, all, 32); });
  }
  template <typename T>
  int Count(T* args) {
    return WithUnion(args,
                     [this](void* all) { return KfdIoctlResult(kfd_, kfd::kDbgTrap, all, 32); });
  }

  const int kfd_;
  const std::uint32_t pid_;
  std::uint32_t runtime_state_ = 0;
};

bool Readable(int fd, int timeout_ms) {
  pollfd wait = {fd, POLLIN, 0};
  return poll(&wait, 1, timeout_ms) == 1;
}

int EventPipe(int* read_end) {
  int ends[2];
  EXPECT_THAT(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  *read_end = ends[0];
  return ends[1];
}

void SelfSuspend() {
  const int kfd = OpenKfd();
  const auto owned = MakeEnabledRuntime(kfd);
  const Runtime& runtime = *owned;
  Debugger debugger(kfd, getpid());
  std::vector<std::uint32_t> none = {0};
  EXPECT_THAT(debugger.Suspend(&none) == -EINVAL);  // not enabled
  EXPECT_THAT(Debugger(kfd, 1 << 22).Disable() == ESRCH);
  EXPECT_THAT(debugger.Enable(900) == EBADF);
  int events = -1;
  const int event_fd = EventPipe(&events);
  EXPECT_THAT(debugger.Enable(event_fd) == 0 && debugger.Enable(event_fd) == EALREADY);
  EXPECT_THAT(Debugger(kfd, getpid()).Enable(event_fd) == EALREADY);

  Queue first(runtime), second(runtime);
  EXPECT_THAT(Readable(events, 2000));  // a queue is new
  const std::uint32_t a = first.kfd().queue_id, b = second.kfd().queue_id;
  std::vector<std::uint32_t> ids = {a, 777};
  EXPECT_THAT(debugger.Suspend(&ids) == 0);  // new queues are refused
  EXPECT_THAT(ids[0] == (a | kfd::kQueueInvalid) && ids[1] == (777 | kfd::kQueueInvalid));
  std::vector<kfd::QueueSnapshotEntry> entries;
  std::uint32_t count = 0;
  EXPECT_THAT(debugger.Snapshot(&entries, 0, &count, 0) == EINVAL);
  entries = debugger.Queues();
  bool found = false;
  for (const auto& entry : entries) {
    EXPECT_THAT((entry.exception_status & kQueueNew) != 0);
    found |= entry.queue_id == a && entry.ring_base_address == first.kfd().ring &&
             entry.ring_size == first.kfd().ring_bytes && entry.queue_type == 2;
  }
  EXPECT_THAT(found);

  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  auto* others = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const auto now = [&] { return std::atomic_ref(counters->done).load(std::memory_order_acquire); };
  constexpr std::uint64_t kWorkgroups = 80 * 32 * 40;
  const hsa_signal_t done = runtime.Signal(1), other_done = runtime.Signal(1);
  const long long cycles = Stat("runlist_cycles");
  kernel.Dispatch(&first, counters, 0, kWorkgroups, 10'000'000, done);
  while (now() == 0) SleepMs(1);
  // Two queues in one cycle.
  ids = {b, a};
  EXPECT_THAT(debugger.Suspend(&ids) == 2 && ids[0] == b && ids[1] == a);
  EXPECT_THAT(Stat("runlist_cycles") == cycles + 1);
  const std::uint64_t stopped_at = now();
  EXPECT_THAT(stopped_at < kWorkgroups);
  kernel.Dispatch(&second, others, 0, 10, 1000, other_done);
  EXPECT_THAT(first.SetPercentage(0) == 0 && first.SetPercentage(100) == 0);
  SleepMs(50);
  EXPECT_THAT(now() == stopped_at && others->done == 0);  // UPDATE_QUEUE does not resume
  kfd::GetQueueWaveStateArgs state = {};
  state.queue_id = a;
  EXPECT_THAT(KfdIoctl(kfd, 0x1b, &state, sizeof(state)) == 0);
  EXPECT_THAT(state.save_area_used_size > 0 && state.ctl_stack_used_size > 0);
  ids = {b};
  EXPECT_THAT(debugger.Resume(&ids) == 1 && ids[0] == b);
  EXPECT_THAT(WaitZero(other_done) && now() == stopped_at);
  EXPECT_THAT(KfdIoctl(kfd, 0x1b, &state, sizeof(state)) == 0);
  EXPECT_THAT(debugger.Resume(nullptr) >= 2);
  EXPECT_THAT(WaitZero(done) && now() == kWorkgroups);
  EXPECT_THAT(KfdIoctl(kfd, 0x1b, &state, sizeof(state)) == EINVAL);  // active again
  EXPECT_THAT(counters->order_errors == 0);

  // DISABLE resumes; afterwards the operations are refused again.
  hsa_signal_store_relaxed(done, 1);
  kernel.Dispatch(&first, counters, 1, kWorkgroups, 10'000'000, done);
  ids = {a};
  EXPECT_THAT(debugger.Suspend(&ids) == 1);
  EXPECT_THAT(debugger.Disable() == 0);
  EXPECT_THAT(WaitZero(done) && now() == 2 * kWorkgroups);
  EXPECT_THAT(debugger.Suspend(&ids) == -EINVAL);
  // The runtime is a matter of processes without queues.
  EXPECT_THAT(EnableRuntime(kfd, 0) == 0 && EnableRuntime(kfd) == EEXIST);
  EXPECT_THAT(debugger.Enable(event_fd) == 0 && debugger.runtime_state() == kfd::kRuntimeDisabled);
  EXPECT_THAT(debugger.Suspend(&ids) == -EPERM);  // without the runtime
}

void DestroyWaits() {
  const int kfd = OpenKfd();
  const auto owned = MakeEnabledRuntime(kfd);
  const Runtime& runtime = *owned;
  Debugger debugger(kfd, getpid());
  int events = -1;
  EXPECT_THAT(debugger.Enable(EventPipe(&events)) == 0);
  auto queue = std::make_unique<Queue>(runtime);
  std::vector<std::uint32_t> ids = {queue->kfd().queue_id};
  debugger.Queues();
  EXPECT_THAT(debugger.Suspend(&ids) == 1);
  std::atomic<int> error = -1;
  std::thread destroyer([&] {
    kfd::DestroyQueueArgs args = {queue->kfd().queue_id, 0};
    error = KfdIoctl(kfd, 0x03, &args, sizeof(args));
  });
  SleepMs(100);
  EXPECT_THAT(error == -1);
  std::vector<std::uint32_t> again = {queue->kfd().queue_id};
  EXPECT_THAT(debugger.Resume(&again) == 1);
  destroyer.join();
  EXPECT_THAT(error == 0);
  std::printf("ok\n");
  std::fflush(stdout);
  std::_Exit(0);  // the runtime does not know that its queue is gone
}

// Attached before the runtime is there: it waits for the debugger's leave.
std::unique_ptr<Runtime> RuntimeWaitsForItsDebugger(int kfd, int events, Debugger* debugger) {
  constexpr std::uint64_t kRuntime = kfd::ExceptionMask(kfd::kEcProcessRuntime);
  std::atomic<bool> enabled = false;
  std::unique_ptr<Runtime> runtime;
  std::thread starting([&] {
    runtime = MakeEnabledRuntime(kfd);
    enabled = true;
  });
  EXPECT_THAT(Readable(events, 10'000) && !enabled);
  kfd::DebugEventArgs event = {};
  event.exception_mask = kRuntime;
  EXPECT_THAT(debugger->Query(&event) == 0 && event.exception_mask == kRuntime);
  EXPECT_THAT(event.queue_id == 0 && event.gpu_id == 0);
  EXPECT_THAT(debugger->Query(&event) == EAGAIN);  // cleared
  SleepMs(50);
  EXPECT_THAT(!enabled);
  EXPECT_THAT(debugger->SendRuntimeEvent(kRuntime) == 0);
  starting.join();
  return runtime;
}

// The ids of the queues that are new, which they are not any more.
std::vector<std::uint32_t> NewQueues(Debugger* debugger) {
  std::vector<std::uint32_t> ids;
  for (;;) {
    kfd::DebugEventArgs event = {};
    event.exception_mask = kQueueNew;
    if (debugger->Query(&event) == EAGAIN) return ids;
    EXPECT_THAT((event.exception_mask & kQueueNew) != 0 && event.gpu_id == GpuIdOfNode(1));
    ids.push_back(event.queue_id);
  }
}

// The header of a suspended queue's save area, of one that fills the device.
void SaveAreaSaysWhatIsInIt(const Runtime& runtime, int kfd, Queue* queue, Debugger* debugger) {
  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const hsa_signal_t done = runtime.Signal(1);
  kernel.Dispatch(queue, counters, 0, 80 * 32 * 10, 10'000'000, done);
  WaitUntilRunning(*queue);
  const std::uint32_t id = queue->kfd().queue_id;
  std::vector<std::uint32_t> ids = {id};
  EXPECT_THAT(debugger->Suspend(&ids) == 1);
  kfd::GetQueueWaveStateArgs state = {};
  state.queue_id = id;
  EXPECT_THAT(KfdIoctl(kfd, 0x1b, &state, sizeof(state)) == 0);
  // XCC 0's: 20 CUs with 32 waves of 32 registers each, at most.
  EXPECT_THAT(state.save_area_used_size > 0);
  EXPECT_THAT(state.save_area_used_size <= 20u * 32 * 32 * 64 * 4);
  bool found = false;
  for (const kfd::QueueSnapshotEntry& entry : debugger->Queues()) {
    if (entry.queue_id != id) continue;
    found = true;
    const auto* header =
        reinterpret_cast<const kfd::SaveAreaHeader*>(entry.ctx_save_restore_address);
    EXPECT_THAT(header->control_stack_size == state.ctl_stack_used_size);
    EXPECT_THAT(header->wave_state_size == state.save_area_used_size);
  }
  EXPECT_THAT(found && debugger->Resume(&ids) == 1 && WaitZero(done));
}

void DebugEvents() {
  const int kfd = OpenKfd();
  Debugger debugger(kfd, getpid());
  int events = -1;
  const int event_fd = EventPipe(&events);
  EXPECT_THAT(debugger.Enable(event_fd, kfd::ExceptionMask(kfd::kEcProcessRuntime)) == 0);
  EXPECT_THAT(debugger.runtime_state() == kfd::kRuntimeDisabled);
  const auto owned = RuntimeWaitsForItsDebugger(kfd, events, &debugger);
  const Runtime& runtime = *owned;
  char drained[64];
  while (read(events, drained, sizeof(drained)) > 0) {
  }
  // What is not asked for is pending, and told when it is.
  Queue queue(runtime);
  EXPECT_THAT(!Readable(events, 0) && NewQueues(&debugger).empty());
  EXPECT_THAT(debugger.SetExceptions(kQueueNew) == 0 && Readable(events, 10'000));
  const std::vector<std::uint32_t> fresh = NewQueues(&debugger);
  const std::uint32_t id = queue.kfd().queue_id;
  EXPECT_THAT(std::find(fresh.begin(), fresh.end(), id) != fresh.end());
  EXPECT_THAT(NewQueues(&debugger).empty());

  std::uint32_t flags = 1;
  const long long cycles = Stat("runlist_cycles");
  EXPECT_THAT(debugger.SetFlags(&flags) == 0 && flags == 0);
  flags = 0;
  EXPECT_THAT(debugger.SetFlags(&flags) == 0 && flags == 1);
  EXPECT_THAT(Stat("runlist_cycles") == cycles + 2);

  std::vector<kfd::DeviceSnapshotEntry> devices;
  std::uint32_t count = 0;
  EXPECT_THAT(debugger.Devices(&devices, &count) == 0 && count == 1);
  devices.resize(count);
  EXPECT_THAT(debugger.Devices(&devices, &count) == 0 && devices[0].gpu_id == GpuIdOfNode(1));
  EXPECT_THAT(devices[0].simd_count == 320 && devices[0].num_xcc == 4 && devices[0].location_id);
  EXPECT_THAT(devices[0].capability != 0 && devices[0].gpuvm_limit != 0);

  SaveAreaSaysWhatIsInIt(runtime, kfd, &queue, &debugger);
  EXPECT_THAT(debugger.Disable() == 0);
}

// What DebugOther debugs: says its queue's id and runs until it is done.
void DebugTarget() {
  const int kfd = OpenKfd();
  const auto owned = MakeEnabledRuntime(kfd);
  const Runtime& runtime = *owned;
  Queue queue(runtime);
  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const hsa_signal_t done = runtime.Signal(1);
  constexpr std::uint64_t kWorkgroups = 80 * 32 * 100;
  kernel.Dispatch(&queue, counters, 0, kWorkgroups, 10'000'000, done);
  std::printf("queue %u\n", queue.kfd().queue_id);
  std::fflush(stdout);
  EXPECT_THAT(WaitZero(done) && counters->done == kWorkgroups);
}

void DebugOther() {
  const int kfd = OpenKfd();
  int output[2];
  EXPECT_THAT(pipe2(output, O_CLOEXEC) == 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(output[1], STDOUT_FILENO);
    execl("/proc/self/exe", "virtual-gpu-exercise", "debug-target", nullptr);
    _exit(1);
  }
  close(output[1]);
  char line[64] = {};
  EXPECT_THAT(read(output[0], line, sizeof(line) - 1) > 0);
  std::uint32_t id = 0;
  if (std::sscanf(line, "queue %u", &id) != 1) std::_Exit(kSkipped);
  Debugger debugger(kfd, child);
  int events = -1;
  const int event_fd = EventPipe(&events);
  EXPECT_THAT(debugger.Enable(event_fd) == EPERM);
  if (ptrace(PTRACE_SEIZE, child, nullptr, nullptr) != 0) {
    std::fprintf(stderr, "skipped: this machine forbids ptrace\n");
    std::_Exit(kSkipped);
  }
  int from_another_thread = 0;
  std::thread([&] { from_another_thread = debugger.Enable(event_fd); }).join();
  EXPECT_THAT(from_another_thread == EPERM);  // the tracer is a thread
  EXPECT_THAT(debugger.Enable(event_fd) == 0);
  const auto queues = debugger.Queues();
  EXPECT_THAT(!queues.empty());
  std::vector<std::uint32_t> ids = {id};
  EXPECT_THAT(debugger.Suspend(&ids) == 1);
  const long long at = Stat("workgroups", child);
  SleepMs(50);
  EXPECT_THAT(Stat("workgroups", child) == at);
  EXPECT_THAT(debugger.Disable() == 0);
  // Only a stopped one can be detached; and LeakSanitizer cannot look at one that is traced.
  int status = 0;
  EXPECT_THAT(ptrace(PTRACE_INTERRUPT, child, nullptr, nullptr) == 0 || errno == ESRCH);
  EXPECT_THAT(waitpid(child, &status, 0) == child);
  if (WIFSTOPPED(status)) {
    EXPECT_THAT(ptrace(PTRACE_DETACH, child, nullptr, nullptr) == 0);
    EXPECT_THAT(waitpid(child, &status, 0) == child);
  }
  EXPECT_THAT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace

void AddDebugPrograms(Programs* programs) {
  programs->insert({
      {"debug-self", SelfSuspend},
      {"debug-destroy", DestroyWaits},
      {"debug-events", DebugEvents},
      {"debug-target", DebugTarget},
      {"debug-other", DebugOther},
  });
}

}  // namespace virtual_gpu::test

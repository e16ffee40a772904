// fault_programs.cc: what programs see of the faults on request; the tests arm them (--fault).

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "hsa_harness.h"
#include "kfd_abi.h"
#include "kfd_debug_abi.h"
#include "programs.h"

namespace virtual_gpu::test {
namespace {

constexpr hsa_signal_t kNoSignal = {0};

void Arm(const std::string& fault) {
  EXPECT_THAT(std::system((VirtualGpuProgram() + " fault " + fault + " 2>/dev/null").c_str()) == 0);
}

WorkKernel::Counters* Counters(const Runtime& runtime) {
  return static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
}

// Newer runtimes hear of a reset, too, and end a program that has no handler for it.
hsa_status_t NoticeEvent(const hsa_amd_event_t*, void*) { return HSA_STATUS_SUCCESS; }

// A time-out, the refusals after it, the event, the reset, and a new queue.
void TimeOut(const char* fault) {
  const Runtime runtime;
  HSA_CHECK(hsa_amd_register_system_event_handler(NoticeEvent, nullptr));
  Queue queue(runtime), other(runtime);
  WorkKernel kernel(runtime);
  auto* counters = Counters(runtime);
  kfd::CreateEventArgs event = {};
  event.event_type = kfd::kEventHwException;
  EXPECT_THAT(KfdIoctl(queue.kfd().fd, kfd::kCreateEvent, &event, sizeof(event)) == 0);
  const hsa_signal_t done = runtime.Signal(1);
  kernel.Dispatch(&queue, counters, 0, 1u << 20, 100'000'000, done, 65536);
  WaitUntilRunning(queue);
  if (fault != nullptr) Arm(fault);
  EXPECT_THAT(queue.SetPercentage(0) == ETIME);
  EXPECT_THAT(other.SetPercentage(100) == EIO);  // the scheduler hangs
  hsa_queue_t* refused = nullptr;
  EXPECT_THAT(hsa_queue_create(runtime.gpu, 256, HSA_QUEUE_TYPE_MULTI, nullptr, nullptr, UINT32_MAX,
                               UINT32_MAX, &refused) != HSA_STATUS_SUCCESS);
  kfd::EventData data = {};
  data.event_id = event.event_id;
  kfd::WaitEventsArgs wait = {reinterpret_cast<std::uint64_t>(&data), 1, 1, 10'000, 0};
  EXPECT_THAT(KfdIoctl(queue.kfd().fd, kfd::kWaitEvents, &wait, sizeof(wait)) == 0);
  EXPECT_THAT(wait.wait_result == kfd::kWaitComplete && data.hardware.memory_lost == 1);
  EXPECT_THAT(data.hardware.gpu_id == GpuIdOfNode(1));
  SleepMs(700);                                  // the reset
  EXPECT_THAT(other.SetPercentage(100) == EIO);  // lost with it
  EXPECT_THAT(hsa_signal_load_relaxed(done) == 1);
  Queue fresh(runtime);
  const hsa_signal_t again = runtime.Signal(1);
  fresh.SubmitBarrierAnd(kNoSignal, again);
  EXPECT_THAT(WaitZero(again));
}

// Armed: nothing.
void PreemptTimeout() { TimeOut("preempt-timeout"); }
// Without CWSR, and with a time-out below a workgroup's time.
void DrainTimeout() { TimeOut(nullptr); }

// The same where the queue is being destroyed: device and driver forget it all the same. By the ioctl, since ROCr 5.2.3
// aborts where it fails.
void DrainTimeoutOfADestruction() {
  const Runtime runtime;
  HSA_CHECK(hsa_amd_register_system_event_handler(NoticeEvent, nullptr));
  WorkKernel kernel(runtime);
  static auto* const queue = new Queue(runtime);  // not destroyed by the runtime, too
  const hsa_signal_t done = runtime.Signal(1);
  kernel.Dispatch(queue, Counters(runtime), 0, 64, 100'000'000, done);
  WaitUntilRunning(*queue);
  kfd::DestroyQueueArgs destroy = {queue->kfd().queue_id, 0};
  EXPECT_THAT(KfdIoctl(queue->kfd().fd, kfd::kDestroyQueue, &destroy, sizeof(destroy)) == ETIME);
  EXPECT_THAT(KfdIoctl(queue->kfd().fd, kfd::kDestroyQueue, &destroy, sizeof(destroy)) == EINVAL);
  SleepMs(700);  // the reset, and more than the workgroups would have taken
  EXPECT_THAT(hsa_signal_load_relaxed(done) == 1);
  Queue fresh(runtime);
  const hsa_signal_t again = runtime.Signal(1);
  kernel.Dispatch(&fresh, Counters(runtime), 0, 1u << 10, 1'000, again);
  EXPECT_THAT(WaitZero(again));
}

// In the middle of a kernel and of a wait for it. Ends before it returns.
void DeviceDies() {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel kernel(runtime);
  const hsa_signal_t done = runtime.Signal(1);
  kernel.Dispatch(&queue, Counters(runtime), 0, 1u << 20, 1'000'000'000, done, 65536);
  WaitUntilRunning(queue);
  Arm("die:300");
  EXPECT_THAT(!WaitZero(done));
}

void IoError() {
  const Runtime runtime;
  Queue queue(runtime);
  Arm("eio:2");
  EXPECT_THAT(queue.SetPercentage(100) == EIO && queue.SetPercentage(0) == EIO);
  EXPECT_THAT(queue.SetPercentage(100) == 0);
  const hsa_signal_t done = runtime.Signal(1);
  queue.SubmitBarrierAnd(kNoSignal, done);
  EXPECT_THAT(WaitZero(done));
}

// Only what changes a queue: making and destroying one still works.
void UpdateFails() {
  const Runtime runtime;
  Queue queue(runtime);
  Arm("update-fails:ENOMEM,2");
  { const Queue other(runtime); }
  EXPECT_THAT(queue.SetPercentage(0) == ENOMEM && queue.SetPercentage(0) == ENOMEM);
  const hsa_signal_t done = runtime.Signal(1);
  queue.SubmitBarrierAnd(kNoSignal, done);
  EXPECT_THAT(WaitZero(done));
  EXPECT_THAT(queue.SetPercentage(0) == 0 && queue.SetPercentage(100) == 0);
}

void CreateFails() {
  const Runtime runtime;
  { const Queue works(runtime); }
  Arm("create-fails:ENOSPC");
  hsa_queue_t* queue = nullptr;
  const hsa_status_t status = hsa_queue_create(runtime.gpu, 256, HSA_QUEUE_TYPE_MULTI, nullptr,
                                               nullptr, UINT32_MAX, UINT32_MAX, &queue);
  EXPECT_THAT(status == HSA_STATUS_ERROR_OUT_OF_RESOURCES);
  const Queue works_again(runtime);
}

// The hung kernel never ends; suspending it and other queues work.
void HungWave() {
  const Runtime runtime;
  Queue hung(runtime), other(runtime);
  WorkKernel kernel(runtime);
  auto* counters = Counters(runtime);
  auto* others = Counters(runtime);
  const hsa_signal_t never = runtime.Signal(1), done = runtime.Signal(1);
  Arm("hung-wave");
  kernel.Dispatch(&hung, counters, 0, 80, 1000, never, 65536);
  WaitUntilRunning(hung);
  SleepMs(50);
  EXPECT_THAT(counters->done == 0);
  EXPECT_THAT(hung.SetPercentage(0) == 0);
  kernel.Dispatch(&other, others, 0, 80, 1000, done, 65536);
  EXPECT_THAT(WaitZero(done) && others->done == 80);
  EXPECT_THAT(hsa_signal_load_relaxed(never) == 1 && counters->done == 0);
}

// The value is there, the interrupt never comes: who looks at the value goes on, a sleeper doesn't.
void LostEvent() {
  const Runtime runtime;
  Queue queue(runtime);
  const hsa_signal_t gate = runtime.Signal(1), done = runtime.Signal(1);
  queue.SubmitBarrierAnd(gate, done);
  Arm("lost-event");
  SleepMs(20);
  hsa_signal_store_screlease(gate, 0);
  EXPECT_THAT(WaitZero(done, HSA_WAIT_STATE_ACTIVE));
  EXPECT_THAT(Stat("lost_events") == 1);
  hsa_signal_store_relaxed(done, 1);
  queue.SubmitBarrierAnd(kNoSignal, done);
  EXPECT_THAT(WaitZero(done));  // the next one is delivered
}

// KFD evicts the process: UPDATE_QUEUE does not bring its queues back, restoring does.
void Evict() {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel kernel(runtime);
  auto* counters = Counters(runtime);
  const auto now = [&] { return std::atomic_ref(counters->done).load(std::memory_order_acquire); };
  constexpr std::uint64_t kWorkgroups = 80 * 32 * 100;
  const hsa_signal_t done = runtime.Signal(1);
  kernel.Dispatch(&queue, counters, 0, kWorkgroups, 10'000'000, done);
  while (now() == 0) SleepMs(1);
  const std::string pid = std::to_string(getpid());
  Arm("evict:" + pid);
  EXPECT_THAT(queue.SetPercentage(100) == 0);
  const std::uint64_t stopped_at = now();
  SleepMs(50);
  EXPECT_THAT(now() == stopped_at && stopped_at < kWorkgroups);
  Arm("restore:" + pid);
  EXPECT_THAT(WaitZero(done) && now() == kWorkgroups);
  const std::string stats =
      "/sys/class/kfd/kfd/proc/" + pid + "/stats_" + std::to_string(GpuIdOfNode(1)) + "/evicted_ms";
  FILE* file = fopen(stats.c_str(), "r");
  int evicted_ms = 0;
  EXPECT_THAT(file != nullptr && std::fscanf(file, "%d", &evicted_ms) == 1 && evicted_ms >= 50);
  std::fclose(file);
}

// A DRM-less unknown ioctl fails as KFD does; --strict ends the device.
void UnknownIoctl() {
  const int kfd = open("/dev/kfd", O_RDWR | O_CLOEXEC);
  EXPECT_THAT(kfd >= 0);
  std::uint64_t args[4] = {};
  EXPECT_THAT(KfdIoctl(kfd, 0x7e, args, sizeof(args)) == ENOTTY);
  EXPECT_THAT(KfdIoctl(kfd, 0x7e, args, sizeof(args)) == ENOTTY);
  EXPECT_THAT(open("/sys/class/kfd/kfd/no-such-file", O_RDONLY | O_CLOEXEC) < 0 && errno == ENOENT);
}

// An argument that is missing or shorter than the ioctl's struct is the caller's mistake: nothing beyond its
// bytes is read or written in the program, though what follows them may be what a pointer is taken from.
void ShortIoctl() {
  const int kfd = open("/dev/kfd", O_RDWR | O_CLOEXEC);
  EXPECT_THAT(kfd >= 0);
  const long page = sysconf(_SC_PAGESIZE);
  auto* const pages = static_cast<std::byte*>(
      mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  EXPECT_THAT(pages != MAP_FAILED);
  std::byte* const end = pages + page;
  EXPECT_THAT(mprotect(end, page, PROT_NONE) == 0);
  constexpr std::uint32_t kNumbers[] = {kfd::kWaitEvents,  kfd::kGetAperturesNew, kfd::kMapMemory,
                                        kfd::kUnmapMemory, kfd::kSetCuMask,       kfd::kCreateEvent,
                                        kfd::kDbgTrap};
  for (const std::uint32_t number : kNumbers) {
    EXPECT_THAT(KfdIoctl(kfd, number, nullptr, 0) == EFAULT);
    EXPECT_THAT(KfdIoctl(kfd, number, nullptr, 16) == EFAULT);
    for (std::size_t bytes = 0; bytes < 32; bytes += 4) {
      std::memset(end - bytes, 0, bytes);
      KfdIoctl(kfd, number, end - bytes, bytes);  // whatever it returns
    }
  }
  for (const std::uint32_t operation :
       {kfd::kDebugEnable, kfd::kDebugSuspendQueues, kfd::kDebugResumeQueues,
        kfd::kDebugGetQueueSnapshot, kfd::kDebugGetDeviceSnapshot}) {
    for (std::size_t bytes = sizeof(kfd::DebugHeader); bytes < 32; bytes += 4) {
      std::memset(end - bytes, 0, bytes);
      reinterpret_cast<kfd::DebugHeader*>(end - bytes)->op = operation;
      KfdIoctl(kfd, kfd::kDbgTrap, end - bytes, bytes);
    }
  }
}

// More threads wait in the driver than the program has connections, and it can make no more: an ioctl needs no
// descriptor from a real driver.
void NoDescriptors() {
  const Runtime runtime;
  const int fd = open("/dev/kfd", O_RDWR | O_CLOEXEC);
  EXPECT_THAT(fd >= 0);
  kfd::CreateEventArgs event = {};
  event.event_type = kfd::kEventSignal;
  EXPECT_THAT(KfdIoctl(fd, kfd::kCreateEvent, &event, sizeof(event)) == 0);
  rlimit some = {};
  EXPECT_THAT(getrlimit(RLIMIT_NOFILE, &some) == 0);
  const rlimit none = {0, some.rlim_max};
  EXPECT_THAT(setrlimit(RLIMIT_NOFILE, &none) == 0 && dup(fd) < 0 && errno == EMFILE);
  constexpr int kThreads = 12;
  constexpr std::uint32_t kSetEvent = 0x0a;
  constexpr std::uint32_t kWaitMs = 30'000;
  std::atomic<int> waiting = 0, woken = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      kfd::EventData data = {};
      data.event_id = event.event_id;
      kfd::WaitEventsArgs wait = {reinterpret_cast<std::uint64_t>(&data), 1, 1, kWaitMs, 0};
      ++waiting;
      if (KfdIoctl(fd, kfd::kWaitEvents, &wait, sizeof(wait)) == 0 &&
          wait.wait_result == kfd::kWaitComplete) {
        ++woken;
      }
    });
  }
  while (waiting != kThreads) SleepMs(1);
  SleepMs(100);
  kfd::EventIdArgs set = {event.event_id, 0};
  const int error = KfdIoctl(fd, kSetEvent, &set, sizeof(set));
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(setrlimit(RLIMIT_NOFILE, &some) == 0);  // a sanitizer ends with what it opens
  EXPECT_THAT(error == 0);
  EXPECT_THAT(woken == kThreads);
}

}  // namespace

void AddFaultPrograms(Programs* programs) {
  programs->insert({
      {"preempt-timeout", PreemptTimeout},
      {"drain-timeout", DrainTimeout},
      {"drain-timeout-of-a-destruction", DrainTimeoutOfADestruction},
      {"device-dies", DeviceDies},
      {"io-error", IoError},
      {"create-fails", CreateFails},
      {"update-fails", UpdateFails},
      {"hung-wave", HungWave},
      {"lost-event", LostEvent},
      {"evict", Evict},
      {"unknown-ioctl", UnknownIoctl},
      {"short-ioctl", ShortIoctl},
      {"no-descriptors", NoDescriptors},
  });
}

}  // namespace virtual_gpu::test

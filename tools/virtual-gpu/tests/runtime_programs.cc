// runtime_programs.cc: programs that use the virtual GPU as applications do, through the runtime.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "hsa_harness.h"
#include "programs.h"

namespace virtual_gpu::test {
namespace {

constexpr hsa_signal_t kNoSignal = {0};

void Barriers() {
  const Runtime runtime;
  Queue queue(runtime);
  const hsa_signal_t done = runtime.Signal(1);
  const hsa_signal_t gate = runtime.Signal(1), other = runtime.Signal(1);
  for (int i = 0; i < 1000; ++i) {
    hsa_signal_store_relaxed(done, 1);
    queue.SubmitBarrierAnd(kNoSignal, done);
    EXPECT_THAT(WaitZero(done));
  }
  hsa_signal_store_relaxed(done, 1);
  queue.SubmitBarrierAnd(gate, done);
  SleepMs(20);
  EXPECT_THAT(hsa_signal_load_relaxed(done) == 1);  // closed
  hsa_signal_store_screlease(gate, 0);
  EXPECT_THAT(WaitZero(done));
  hsa_signal_store_relaxed(done, 1);
  hsa_signal_store_relaxed(gate, 1);
  queue.SubmitBarrierOr(gate, other, done);
  SleepMs(20);
  EXPECT_THAT(hsa_signal_load_relaxed(done) == 1);
  hsa_signal_store_screlease(other, 0);  // one is enough
  EXPECT_THAT(WaitZero(done));
}

void Copies() {
  const Runtime runtime;
  constexpr std::size_t kBytes = (5u << 20) + 12;
  auto* host = static_cast<unsigned char*>(runtime.Host(kBytes));
  auto* vram = static_cast<unsigned char*>(runtime.Vram(kBytes));
  auto* other = static_cast<unsigned char*>(runtime.Vram(kBytes));
  for (std::size_t i = 0; i < kBytes; ++i) host[i] = static_cast<unsigned char>(i * 7 + i / 4096);
  const hsa_signal_t done = runtime.Signal(1);
  HSA_CHECK(
      hsa_amd_memory_async_copy(vram, runtime.gpu, host, runtime.cpu, kBytes, 0, nullptr, done));
  EXPECT_THAT(WaitZero(done));
  hsa_signal_store_relaxed(done, 1);
  // Not aligned to each other: the runtime's second blit kernel.
  HSA_CHECK(hsa_amd_memory_async_copy(other + 3, runtime.gpu, vram + 1, runtime.gpu, kBytes - 8, 0,
                                      nullptr, done));
  EXPECT_THAT(WaitZero(done));
  std::vector<unsigned char> pageable(kBytes);  // not known to the GPU: pinned for the copy
  HSA_CHECK(hsa_memory_copy(pageable.data(), vram, kBytes));
  EXPECT_THAT(std::memcmp(pageable.data(), host, kBytes) == 0);
  EXPECT_THAT(std::memcmp(other + 3, host + 1, kBytes - 8) == 0);
  HSA_CHECK(hsa_memory_copy(other, pageable.data(), kBytes));
  EXPECT_THAT(std::memcmp(other, host, kBytes) == 0);
  HSA_CHECK(hsa_amd_memory_fill(vram, 0xdeadbeef, kBytes / 4));
  for (std::size_t i = 0; i < kBytes / 4; ++i) {
    EXPECT_THAT(reinterpret_cast<std::uint32_t*>(vram)[i] == 0xdeadbeef);
  }
}

// Two threads sleep on one signal's event; both must wake.
void TwoWaiters() {
  const Runtime runtime;
  Queue queue(runtime);
  const hsa_signal_t gate = runtime.Signal(1), done = runtime.Signal(1);
  for (int round = 0; round < 20; ++round) {
    hsa_signal_store_relaxed(gate, 1);
    hsa_signal_store_relaxed(done, 1);
    queue.SubmitBarrierAnd(gate, done);
    std::atomic<int> woken = 0;
    const auto wait = [&] { woken += WaitZero(done) ? 1 : 0; };
    std::thread first(wait), second(wait);
    SleepMs(5);  // beyond the runtime's own spinning, so that both are in WAIT_EVENTS
    hsa_signal_store_screlease(gate, 0);
    first.join();
    second.join();
    EXPECT_THAT(woken == 2);
  }
}

// Kernel results, order, and times that follow from the device's geometry.
void Dispatch() {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  constexpr std::uint32_t kPackets = 200, kWorkgroups = 320;
  const hsa_signal_t done = runtime.Signal(kPackets);
  for (std::uint32_t i = 0; i < kPackets; ++i) {
    kernel.Dispatch(&queue, counters, i, kWorkgroups, 10'000, done, 0, i % 3 != 0);
  }
  EXPECT_THAT(WaitZero(done));
  EXPECT_THAT(counters->done == std::uint64_t{kPackets} * kWorkgroups);
  EXPECT_THAT(counters->sequence == kPackets);
  EXPECT_THAT(counters->order_errors == 0);
  // One workgroup of 2 ms: its time is that, give or take the spread and the launch.
  const hsa_signal_t timed = runtime.Signal(1);
  kernel.Dispatch(&queue, counters, kPackets, 1, 2'000'000, timed);
  EXPECT_THAT(WaitZero(timed));
  const std::uint64_t ns = KernelNs(runtime, timed);
  std::printf("one workgroup of 2 ms: %llu ns\n", static_cast<unsigned long long>(ns));
  EXPECT_THAT(ns > 1'400'000 && ns < 2'700'000);
  // A wrong expectation is noticed.
  hsa_signal_store_relaxed(timed, 1);
  kernel.Dispatch(&queue, counters, 7, 1, 1000, timed);
  EXPECT_THAT(WaitZero(timed));
  EXPECT_THAT(counters->order_errors == 1);
}

// A kernel that is not modelled takes the assumed time, does nothing, and completes.
void Opaque() {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel kernel(runtime, 64);
  kernel.Spoil();
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const hsa_signal_t done = runtime.Signal(1);
  kernel.Dispatch(&queue, counters, 0, 1, 1000, done);
  EXPECT_THAT(WaitZero(done));
  EXPECT_THAT(counters->done == 0);
  EXPECT_THAT(KernelNs(runtime, done) > 200'000);
}

// A kernel of about 100 ms is stopped in its middle, and goes on without a new doorbell.
void Suspend(bool by_null_ring) {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const hsa_signal_t done = runtime.Signal(1);
  kernel.Dispatch(&queue, counters, 0, 80 * 32 * 10, 10'000'000, done);
  const auto now = [&] { return std::atomic_ref(counters->done).load(std::memory_order_acquire); };
  while (now() == 0) SleepMs(1);
  EXPECT_THAT((by_null_ring ? queue.SetRingNull() : queue.SetPercentage(0)) == 0);
  const std::uint64_t stopped_at = now();
  EXPECT_THAT(stopped_at < 80 * 32 * 10);
  const hsa_signal_t later = runtime.Signal(1);
  queue.SubmitBarrierAnd(kNoSignal, later);  // its doorbell is rung while the queue is suspended
  SleepMs(150);
  EXPECT_THAT(now() == stopped_at);
  EXPECT_THAT(hsa_signal_load_relaxed(later) == 1);
  EXPECT_THAT(queue.SetPercentage(100) == 0);
  EXPECT_THAT(WaitZero(done));
  EXPECT_THAT(WaitZero(later));
  EXPECT_THAT(now() == 80 * 32 * 10);
  EXPECT_THAT(queue.SetPercentage(101) == EINVAL);
}

void CuMask() {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const hsa_signal_t done = runtime.Signal(1);
  // 64 KiB of LDS: one workgroup on a CU at a time.
  kernel.Dispatch(&queue, counters, 0, 800, 500'000, done, 65536);
  EXPECT_THAT(WaitZero(done));
  const std::uint64_t whole_ns = KernelNs(runtime, done);
  const std::uint32_t half[3] = {0xffffffff, 0x000000ff, 0};  // 40 of 80
  EXPECT_THAT(queue.SetCuMask(half, 96) == 0);
  hsa_signal_store_relaxed(done, 1);
  kernel.Dispatch(&queue, counters, 1, 800, 500'000, done, 65536);
  EXPECT_THAT(WaitZero(done));
  const double ratio = static_cast<double>(KernelNs(runtime, done)) / static_cast<double>(whole_ns);
  std::printf("80 CUs %.2f ms, 40 CUs %.2f times that\n", static_cast<double>(whole_ns) / 1e6,
              ratio);
  EXPECT_THAT(ratio > 1.7 && ratio < 2.9);
  EXPECT_THAT(queue.SetCuMask(half, 40) == EINVAL);
}

// Where CONTEND_TOGETHER is a folder: until two programs have left their file there, however long a sanitizer
// or a busy machine makes their start.
void StartTogether() {
  const char* const folder = std::getenv("CONTEND_TOGETHER");
  if (folder == nullptr) return;
  const int own = open((std::string(folder) + "/" + std::to_string(getpid())).c_str(),
                       O_CREAT | O_CLOEXEC, 0600);
  EXPECT_THAT(own >= 0);
  close(own);
  const auto count = [&] {
    const std::filesystem::directory_iterator files(folder);
    return std::distance(begin(files), end(files));
  };
  while (count() < 2) SleepMs(1);
}

// Fills the device again and again for about a second; prints the kernels per second.
void Contend() {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const hsa_signal_t done = runtime.Signal(1);
  std::uint64_t kernels = 0, busy_ns = 0;
  StartTogether();
  const auto start = std::chrono::steady_clock::now();
  do {
    hsa_signal_store_relaxed(done, 1);
    kernel.Dispatch(&queue, counters, kernels, 80 * 4, 2'000'000, done, 65536);
    EXPECT_THAT(WaitZero(done));
    busy_ns += KernelNs(runtime, done);
    ++kernels;
  } while (std::chrono::steady_clock::now() - start < std::chrono::seconds(1));
  EXPECT_THAT(counters->done == kernels * 80 * 4 && counters->order_errors == 0);
  std::printf("kernel_ms %.2f\n",
              static_cast<double>(busy_ns) / static_cast<double>(kernels) / 1e6);
}

// Starts a kernel that never ends on its own and says so; the test then kills somebody.
void Endless() {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const hsa_signal_t done = runtime.Signal(1);
  kernel.Dispatch(&queue, counters, 0, 1u << 20, 1'000'000'000, done, 65536);
  while (hsa_queue_load_read_index_scacquire(queue.hsa()) == 0 &&
         std::atomic_ref(counters->sequence).load() == 0) {
    SleepMs(1);
    if (hsa_queue_load_write_index_relaxed(queue.hsa()) == 1) break;
  }
  SleepMs(20);
  std::printf("running\n");
  std::fflush(stdout);
  EXPECT_THAT(!WaitZero(done));
}

// A packet whose completion signal is at an address that is not mapped.
void Fault() {
  const Runtime runtime;
  Queue queue(runtime);
  queue.SubmitBarrierAnd(kNoSignal, hsa_signal_t{0x123456789000});
  SleepMs(5000);  // the runtime's fault handler aborts the process meanwhile
  Die("the memory fault was not reported");
}

std::atomic<int> g_queue_error = 0;

// Submits what `fill` makes of a packet, expects the runtime's queue error, and that the device
// goes on.
void ExpectQueueError(hsa_status_t expected, const std::function<void(void* packet)>& fill) {
  const Runtime runtime;
  hsa_queue_t* queue = nullptr;
  g_queue_error = 0;
  HSA_CHECK(hsa_queue_create(
      runtime.gpu, 256, HSA_QUEUE_TYPE_MULTI,
      [](hsa_status_t status, hsa_queue_t*, void*) { g_queue_error = status; }, nullptr, UINT32_MAX,
      UINT32_MAX, &queue));
  const std::uint64_t index = hsa_queue_add_write_index_relaxed(queue, 1);
  fill(queue->base_address);
  hsa_signal_store_screlease(queue->doorbell_signal, static_cast<std::int64_t>(index));
  for (int i = 0; i < 2000 && g_queue_error == 0; ++i) SleepMs(5);
  EXPECT_THAT(g_queue_error == expected);
  Queue healthy(runtime);
  const hsa_signal_t done = runtime.Signal(1);
  healthy.SubmitBarrierAnd(kNoSignal, done);
  EXPECT_THAT(WaitZero(done));
}

void BadPacket() {
  ExpectQueueError(HSA_STATUS_ERROR_INVALID_PACKET_FORMAT, [](void* slot) {
    auto* packet = static_cast<hsa_agent_dispatch_packet_t*>(slot);
    __atomic_store_n(&packet->header, HSA_PACKET_TYPE_AGENT_DISPATCH, __ATOMIC_RELEASE);
  });
}

// `setup` names 1 to 3 dimensions in two bits; everything else in the packet is fine.
void BadDimensions() {
  ExpectQueueError(HSA_STATUS_ERROR_INCOMPATIBLE_ARGUMENTS, [](void* slot) {
    auto* packet = static_cast<hsa_kernel_dispatch_packet_t*>(slot);
    packet->workgroup_size_x = packet->workgroup_size_y = packet->workgroup_size_z = 1;
    packet->grid_size_x = packet->grid_size_y = packet->grid_size_z = 1;
    packet->kernel_object = reinterpret_cast<std::uint64_t>(slot);
    packet->setup = 4;
    __atomic_store_n(&packet->header, HSA_PACKET_TYPE_KERNEL_DISPATCH, __ATOMIC_RELEASE);
  });
}

// abort() in a kernel.
void Abort() {
  constexpr std::uint32_t kTrap2 = 0xbf920002;
  const Runtime runtime;
  WorkKernel kernel(runtime);
  kernel.SpoilWith(kTrap2);
  ExpectQueueError(HSA_STATUS_ERROR_EXCEPTION, [&](void* slot) {
    auto* packet = static_cast<hsa_kernel_dispatch_packet_t*>(slot);
    packet->workgroup_size_x = 64;
    packet->workgroup_size_y = packet->workgroup_size_z = 1;
    packet->grid_size_x = 64;
    packet->grid_size_y = packet->grid_size_z = 1;
    packet->kernel_object = kernel.object();
    packet->setup = 1;
    __atomic_store_n(&packet->header, HSA_PACKET_TYPE_KERNEL_DISPATCH, __ATOMIC_RELEASE);
  });
}

// hsa_shut_down gives back what hsa_init needs; newer runtimes tell KFD so (RUNTIME_ENABLE).
void InitAgain() {
  for (int i = 0; i < 3; ++i) {
    HSA_CHECK(hsa_init());
    HSA_CHECK(hsa_shut_down());
  }
  const Runtime runtime;
}

// The child of a fork has the parent's /dev/kfd, and gets EBADF from it, as from KFD; the parent
// goes on, whatever the child does.
void Fork() {
  const Runtime runtime;
  Queue queue(runtime);
  const hsa_signal_t done = runtime.Signal(1);
  for (int round = 0; round < 3; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      _exit(queue.SetPercentage(100) == EBADF ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_THAT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    hsa_signal_store_relaxed(done, 1);
    queue.SubmitBarrierAnd(kNoSignal, done);
    EXPECT_THAT(WaitZero(done));
  }
}

}  // namespace

void AddRuntimePrograms(Programs* programs) {
  programs->insert({
      {"barriers", Barriers},
      {"copies", Copies},
      {"two-waiters", TwoWaiters},
      {"dispatch", Dispatch},
      {"suspend", [] { Suspend(false); }},
      {"suspend-null-ring", [] { Suspend(true); }},
      {"cu-mask", CuMask},
      {"contend", Contend},
      {"endless", Endless},
      {"fault", Fault},
      {"bad-packet", BadPacket},
      {"bad-dimensions", BadDimensions},
      {"abort", Abort},
      {"init-again", InitAgain},
      {"fork", Fork},
      {"opaque", Opaque},
  });
}

}  // namespace virtual_gpu::test

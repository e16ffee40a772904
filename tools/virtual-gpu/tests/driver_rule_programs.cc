// driver_rule_programs.cc: the errno of every bad argument, and what a runlist cycle costs others.

#include <errno.h>
#include <fcntl.h>

#include <atomic>
#include <cstdio>
#include <vector>

#include "hsa_harness.h"
#include "kfd_abi.h"
#include "programs.h"

namespace virtual_gpu::test {
namespace {

constexpr std::uint64_t kKernelSpace = 0xffff'8000'0000'0000;
constexpr std::uint64_t kUnmapped = 0x1234'5678'9000;

void BadArguments() {
  const Runtime runtime;
  const Queue queue(runtime);
  const KfdQueueInfo& k = queue.kfd();
  const auto update = [&](kfd::UpdateQueueArgs args) {
    return KfdIoctl(k.fd, kfd::kUpdateQueue, &args, sizeof(args));
  };
  EXPECT_THAT(update({k.ring, k.queue_id, k.ring_bytes, 101, 7}) == EINVAL);
  EXPECT_THAT(update({k.ring, k.queue_id, k.ring_bytes, 100, 16}) == EINVAL);
  EXPECT_THAT(update({k.ring, k.queue_id, 3000, 100, 7}) == EINVAL);
  EXPECT_THAT(update({kKernelSpace, k.queue_id, k.ring_bytes, 100, 7}) == EFAULT);
  EXPECT_THAT(update({kUnmapped, k.queue_id, k.ring_bytes, 100, 7}) == EFAULT);
  EXPECT_THAT(update({k.ring, 777, k.ring_bytes, 100, 7}) == EFAULT);
  // Only the low byte is the percentage; a size of 0 is raised to the least.
  EXPECT_THAT(update({k.ring, k.queue_id, k.ring_bytes, 100 | 0x700, 7}) == 0);
  EXPECT_THAT(update({0, k.queue_id, 0, 100, 7}) == 0);
  EXPECT_THAT(update({k.ring, k.queue_id, k.ring_bytes, 100, 7}) == 0);

  const std::uint32_t words[40] = {0xffffffff, 0xffffffff, 0xffffffff};
  const auto mask = [&](std::uint32_t id, std::uint32_t bits, const void* at) {
    kfd::SetCuMaskArgs args = {id, bits, reinterpret_cast<std::uint64_t>(at)};
    return KfdIoctl(k.fd, kfd::kSetCuMask, &args, sizeof(args));
  };
  EXPECT_THAT(mask(k.queue_id, 0, words) == EINVAL);
  EXPECT_THAT(mask(k.queue_id, 40, nullptr) == EINVAL);
  EXPECT_THAT(mask(k.queue_id, 96, nullptr) == EFAULT);
  EXPECT_THAT(mask(k.queue_id, 96, reinterpret_cast<const void*>(8)) == EFAULT);
  EXPECT_THAT(mask(777, 96, words) == EFAULT);
  EXPECT_THAT(mask(k.queue_id, 1 << 20, words) == 0);  // cut off at 1024 bits

  kfd::DestroyQueueArgs destroy = {777, 0};
  EXPECT_THAT(KfdIoctl(k.fd, kfd::kDestroyQueue, &destroy, sizeof(destroy)) == EINVAL);
  kfd::GetQueueWaveStateArgs state = {0, 0, 0, 777, 0};
  EXPECT_THAT(KfdIoctl(k.fd, 0x1b, &state, sizeof(state)) == EFAULT);
  state.queue_id = k.queue_id;
  EXPECT_THAT(KfdIoctl(k.fd, 0x1b, &state, sizeof(state)) == EINVAL);  // active
  kfd::AllocQueueGwsArgs gws = {777, 1, 0, 0};
  EXPECT_THAT(KfdIoctl(k.fd, 0x1e, &gws, sizeof(gws)) == EINVAL);
  gws.queue_id = k.queue_id;
  EXPECT_THAT(KfdIoctl(k.fd, 0x1e, &gws, sizeof(gws)) == 0);
  EXPECT_THAT(KfdIoctl(k.fd, 0x1e, &gws, sizeof(gws)) == EBUSY);
  // Those that have no effect here still want to know the GPU: the id, and where it is, in words.
  struct ForGpu {
    std::uint32_t number, words, at;
  };
  for (const ForGpu& one : {ForGpu{0x04, 8, 4}, {0x11, 4, 2}, {0x13, 6, 4}, {0x15, 2, 1}}) {
    std::uint32_t args[8] = {};
    args[one.at] = 1;
    EXPECT_THAT(KfdIoctl(k.fd, one.number, args, one.words * 4) == EINVAL);
    args[one.at] = GpuIdOfNode(1);
    EXPECT_THAT(KfdIoctl(k.fd, one.number, args, one.words * 4) == 0);
  }
}

void BadCreations() {
  const Runtime runtime;
  const Queue queue(runtime);
  const int kfd = queue.kfd().fd;
  const KfdQueueInfo& k = queue.kfd();
  auto* words = static_cast<std::uint64_t*>(runtime.Host(4096));
  const auto base = [&] {
    kfd::CreateQueueArgs args = {};
    args.ring_base_address = k.ring;
    args.ring_size = k.ring_bytes;
    args.write_pointer_address = reinterpret_cast<std::uint64_t>(words);
    args.read_pointer_address = reinterpret_cast<std::uint64_t>(words + 8);
    args.gpu_id = GpuIdOfNode(1);
    args.queue_type = kfd::kQueueComputeAql;
    args.queue_percentage = 100;
    args.queue_priority = 7;
    return args;
  };
  const auto create = [&](kfd::CreateQueueArgs args) {
    return KfdIoctl(kfd, kfd::kCreateQueue, &args, sizeof(args));
  };
  kfd::CreateQueueArgs args = base();
  args.queue_percentage = 101;
  EXPECT_THAT(create(args) == EINVAL);
  args = base(), args.queue_priority = 16;
  EXPECT_THAT(create(args) == EINVAL);
  args = base(), args.ring_size = 5000;
  EXPECT_THAT(create(args) == EINVAL);
  args = base(), args.write_pointer_address = kKernelSpace;
  EXPECT_THAT(create(args) == EFAULT);
  args = base(), args.queue_type = 9;
  EXPECT_THAT(create(args) == 524);
  args = base(), args.gpu_id = 1;
  EXPECT_THAT(create(args) == EINVAL);
  args = base(), args.ring_base_address = kUnmapped;
  EXPECT_THAT(create(args) == EINVAL);
  // A process may have 255 queues on this part; all are given back at its end.
  int made = 0, error = 0;
  while ((error = create(base())) == 0) ++made;
  std::printf("%d queues beside the runtime's, then errno %d\n", made, error);
  EXPECT_THAT(error == ENOSPC && made > 200 && made < 255);
}

// Ten updates that change nothing, of a queue without work, while the neighbour's kernel runs.
void NoopUpdates() {
  const Runtime runtime;
  Queue busy(runtime), idle(runtime);
  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const hsa_signal_t done = runtime.Signal(1);
  kernel.Dispatch(&busy, counters, 0, 1, 400'000'000, done);
  while (std::atomic_ref(counters->sequence).load() == 0) SleepMs(1);
  const long long cycles = Stat("runlist_cycles");
  for (int i = 0; i < 10; ++i) EXPECT_THAT(idle.SetPercentage(100) == 0);
  std::printf("cycles %lld\n", Stat("runlist_cycles") - cycles);
  EXPECT_THAT(WaitZero(done));
  std::printf("kernel_ms %.1f\n", static_cast<double>(KernelNs(runtime, done)) / 1e6);
}

// Without CWSR the ioctl waits until the running workgroups have ended by themselves.
// Two rounds of 80 workgroups, the queue off in the first. False: we were that late that the second had begun,
// which is then drained, too.
bool OffInTheFirstRound(const Runtime& runtime, WorkKernel* kernel, Queue* queue,
                        std::uint32_t round_ns) {
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const hsa_signal_t done = runtime.Signal(1);
  kernel->Dispatch(queue, counters, 0, 160, round_ns, done, 65536);
  WaitUntilRunning(*queue);
  EXPECT_THAT(queue->SetPercentage(0) == 0);
  const std::uint64_t drained = counters->done;
  std::printf("done when the ioctl returns: %llu\n", static_cast<unsigned long long>(drained));
  if (drained == 160) {
    EXPECT_THAT(queue->SetPercentage(100) == 0 && WaitZero(done));
    return false;
  }
  EXPECT_THAT(drained == 80);
  kfd::GetQueueWaveStateArgs state = {0, 0, 0, queue->kfd().queue_id, 0};
  EXPECT_THAT(KfdIoctl(queue->kfd().fd, 0x1b, &state, sizeof(state)) == EINVAL);
  EXPECT_THAT(queue->SetPercentage(100) == 0);
  EXPECT_THAT(WaitZero(done) && counters->done == 160);
  return true;
}

void Drain() {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel kernel(runtime);
  std::uint32_t round_ns = 400'000'000;
  while (!OffInTheFirstRound(runtime, &kernel, &queue, round_ns)) {
    EXPECT_THAT(round_ns < 3'200'000'000);
    round_ns *= 2;
  }
}

}  // namespace

void AddRulePrograms(Programs* programs) {
  programs->insert({
      {"bad-arguments", BadArguments},
      {"bad-creations", BadCreations},
      {"noop-updates", NoopUpdates},
      {"drain", Drain},
  });
}

}  // namespace virtual_gpu::test

// hsa_harness.h: the little HSA that the virtual GPU's test programs need.
//
// Why        The tests exercise the device through the unmodified runtime, as applications do.
// Threads    one, unless a program says otherwise.
// Errors     Die() with the failing call: a test program has no other way on.
#pragma once

#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>

#include <cstdint>
#include <string>

#include "dual-model/work_kernel_abi.h"

namespace virtual_gpu::test {

inline constexpr int kSkipped = 77;  // exit code: this build has no work kernels

[[noreturn]] void Die(const char* format, ...) __attribute__((format(printf, 1, 2)));
void Check(hsa_status_t status, const char* call);
#define HSA_CHECK(call) ::virtual_gpu::test::Check((call), #call)
void Expect(bool holds, const char* what);
#define EXPECT_THAT(condition) ::virtual_gpu::test::Expect((condition), #condition)

struct Runtime {
  Runtime();  // hsa_init and the first GPU
  hsa_agent_t gpu = {}, cpu = {};
  hsa_amd_memory_pool_t vram = {}, host = {};  // host: fine grained

  void* Vram(std::size_t bytes) const;
  // Visible to the GPU, zeroed.
  void* Host(std::size_t bytes) const;
  hsa_signal_t Signal(std::int64_t value) const;
};

// What KFD knows of a queue; learned from the runtime's own ioctls.
struct KfdQueueInfo {
  int fd = -1;
  std::uint32_t queue_id = 0;
  std::uint64_t ring = 0;
  std::uint32_t ring_bytes = 0;
};

// Any KFD ioctl; returns errno.
int KfdIoctl(int fd, std::uint32_t number, void* args, unsigned bytes);
// The same; returns what the ioctl does, or -errno.
int KfdIoctlResult(int fd, std::uint32_t number, void* args, unsigned bytes);
std::uint32_t GpuIdOfNode(int node);

class Queue {
 public:
  explicit Queue(const Runtime& runtime, std::uint32_t packets = 256);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // Writes the 64-byte packet, then its header, and rings the doorbell. `barrier`: the barrier bit.
  void Submit(const void* packet, std::uint8_t type, bool barrier = true);
  void SubmitBarrierAnd(hsa_signal_t dependency, hsa_signal_t completion);
  void SubmitBarrierOr(hsa_signal_t first, hsa_signal_t second, hsa_signal_t completion);

  const KfdQueueInfo& kfd() const { return kfd_; }
  // UPDATE_QUEUE with this percentage, everything else as it is; returns errno.
  int SetPercentage(std::uint32_t percentage) const;
  int SetRingNull() const;
  int SetCuMask(const std::uint32_t* words, std::uint32_t bits) const;
  hsa_queue_t* hsa() const { return queue_; }

 private:
  hsa_queue_t* queue_ = nullptr;
  KfdQueueInfo kfd_;
};

// The load generator's kernel, loaded; exits with kSkipped when the build has none.
class WorkKernel {
 public:
  explicit WorkKernel(const Runtime& runtime, std::uint32_t vgprs = 32);

  struct Counters {
    std::uint64_t done = 0, sequence = 0, order_errors = 0;
  };
  // Dispatches `workgroups` of one wave each that keep their slot for workgroup_ns.
  void Dispatch(Queue* queue, Counters* counters, std::uint64_t expected_sequence,
                std::uint32_t workgroups, std::uint32_t workgroup_ns, hsa_signal_t completion,
                std::uint32_t lds_bytes = 0, bool barrier = true);

  // The same for a data kernel ("xsched_fill", ...) of workgroups of 64 work-items.
  WorkKernel(const Runtime& runtime, const std::string& name);
  void DispatchData(Queue* queue, dual_model::DataKernarg data, hsa_signal_t completion);

  // Overwrites the signature in the loaded code: now nobody knows this kernel.
  void Spoil();
  // The same, and its first instruction is this one.
  void SpoilWith(std::uint32_t instruction);
  std::uint64_t object() const { return kernel_object_; }

 private:
  void Submit(Queue* queue, void* kernarg, std::uint32_t workgroups, std::uint32_t lds_bytes,
              hsa_signal_t completion, bool barrier);

  const Runtime& runtime_;
  char* Entry() const;

  std::uint64_t kernel_object_ = 0;
};

// False after 20 s.
bool WaitZero(hsa_signal_t signal, hsa_wait_state_t state = HSA_WAIT_STATE_BLOCKED);
void SleepMs(int ms);
// What `virtual-gpu stats` says of the device: the first number of that name; with `pid`, the first
// after that process's entry. -1: none.
long long Stat(const std::string& name, long pid = 0);
std::string StatsText(const std::string& flags);
// Until the queue has workgroups on CUs.
void WaitUntilRunning(const Queue& queue);
// The virtual-gpu program of this build, quoted for a shell.
std::string VirtualGpuProgram();
// Kernel time of a completed signal, in nanoseconds.
std::uint64_t KernelNs(const Runtime& runtime, hsa_signal_t signal);

}  // namespace virtual_gpu::test

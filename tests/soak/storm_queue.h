// storm_queue.h: one AQL queue whose every packet is accounted for.
//
// Why        "Exactly once and in order" has to be seen by the program itself. Each packet completes a
//            signal of its ring slot, which was 1 before and must be 0 after: 1 is lost, below 0 ran
//            again. Every kKernelEvery-th packet is a kernel that compares a counter in memory with
//            its own place in the queue, so that an exchange of two packets across it shows exactly;
//            between two kernels neighbours are compared from outside: a completed packet whose
//            predecessor has not completed is out of order (each has the barrier bit).
// Threads    Submit: any number for a MULTI queue, one for a SINGLE one.
// Ownership  borrows the device; the queue is destroyed by Destroy, or left to the process's end.
// Errors     one line on stderr and exit 1, where a packet has not run after a minute, or SetPatience.
#pragma once

#include <hsa/hsa.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

#include "dual-model/work_kernel_abi.h"
#include "hsa_device.h"

namespace soak {

inline constexpr std::uint64_t kKernelEvery = 16;

struct Tally {
  std::uint64_t submitted = 0, completed = 0, lost = 0, repeated = 0, reordered = 0;
  std::uint64_t abandoned = 0;  // of a queue that was destroyed with work: never ran, legally
  std::uint64_t rounds = 0, refused = 0;  // queues that were, and that could not be had
  Tally& operator+=(const Tally& other);
};

// How a producer takes slots and rings.
enum class Style { kOne, kBatch, kBackwards, kCas, kStore, kCount };

class StormQueue {
 public:
  // queue() is null where the driver refuses one; nothing else may be called then.
  StormQueue(dual_model::HsaDevice* device, std::uint32_t packets, bool single,
             std::uint32_t kernel_ns);
  ~StormQueue();
  StormQueue(const StormQueue&) = delete;
  StormQueue& operator=(const StormQueue&) = delete;

  void Submit(std::uint64_t count, Style style, std::mt19937_64* random);
  // Waits for everything and looks at every slot.
  void Drain(Tally* tally);
  // Without waiting; what ran has to be a beginning of what was submitted.
  void DestroyAndJudge(Tally* tally);
  hsa_queue_t* queue() { return queue_; }

 private:
  struct Counters {
    alignas(64) std::uint64_t workgroups_done;
    alignas(64) std::uint64_t sequence;
    alignas(64) std::uint64_t order_errors;
  };
  std::uint64_t Reserve(std::uint64_t count, Style style);
  void WaitForRoom(std::uint64_t index);
  void Write(std::uint64_t index);
  void CompareNeighbours(std::mt19937_64* random);
  bool IsKernel(std::uint64_t index) const { return index % kKernelEvery == kKernelEvery - 1; }
  hsa_signal_t SignalOf(std::uint64_t index) const { return signals_[index & (packets_ - 1)]; }

  dual_model::HsaDevice* device_;
  const std::uint32_t packets_, kernel_ns_;
  hsa_queue_t* queue_ = nullptr;
  std::vector<hsa_signal_t> signals_;
  Counters* counters_ = nullptr;
  dual_model::WorkKernarg* kernargs_ = nullptr;
  std::atomic<std::uint64_t> submitted_{0}, repeated_{0}, reordered_{0};
};

// Before the first queue. How long one of many queues waits is the machine's and the policy's to say: who runs
// many watches that the whole of them goes on.
void SetPatience(std::chrono::seconds patience);
[[noreturn]] void Fail(const char* what, std::uint64_t detail);

}  // namespace soak

// replay_queue.h: one AQL queue that replays a plan's kernels and checks that each ran once, in
// order.
//
// Why        Packets are written as HIP writes them: reserve by write index, wait for room, fill,
//            release-store the header, ring the doorbell; the last one of an iteration carries the
//            completion signal that the host waits on.
// Order      every packet has the barrier bit: kernels of one inference depend on each other.
// Check      the kernels count workgroups and compare a sequence number (work_kernel_abi.h).
// Threads    one.
// Ownership  borrows the device. The destructor destroys the queue and frees its memory.
// Errors     false and one line; the queue is then unusable except for destruction.
// Limits     a completion that takes longer than the timeout given is an error: a lost packet must
//            not look like a slow device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "dual-model/work_kernel_abi.h"
#include "hsa_device.h"
#include "replay_clock.h"

namespace dual_model {

// What the device's counters say against what was asked for.
struct ReplayCheck {
  std::uint64_t packets_submitted = 0;
  std::uint64_t packets_completed = 0;  // dispatches that began, as the device counted them
  std::uint64_t workgroups_expected = 0;
  std::uint64_t workgroups_done = 0;
  std::uint64_t order_errors = 0;
  std::uint64_t signal_errors = 0;  // completion signals that did not fire exactly once
  bool Passed() const;
  std::string Text() const;  // all figures, one line
};

// How late this machine was with the launches of a host-bound model: the load generator's own
// noise.
struct LaunchLag {
  std::uint64_t launches = 0, late = 0;  // late: by more than kLateNs of device time
  std::int64_t max_ns = 0;               // machine time
};
inline constexpr double kLateNs = 20'000;  // about one host gap

class ReplayQueue {
 public:
  // `ring_packets`: a power of two. `timeout_ns`: machine time one iteration may take.
  static std::unique_ptr<ReplayQueue> Create(HsaDevice* device, const ReplayPlan& plan,
                                             const ReplayClock& clock, std::uint32_t ring_packets,
                                             std::int64_t timeout_ns, std::string* error);
  ~ReplayQueue();
  ReplayQueue(const ReplayQueue&) = delete;
  ReplayQueue& operator=(const ReplayQueue&) = delete;

  // Launches every kernel of one inference, and returns when the last one has completed.
  bool RunIteration(std::string* error);

  // Any thread, any time.
  std::uint64_t WorkgroupsDone() const;
  // Only between iterations: nothing of ours is in flight.
  ReplayCheck Check() const;
  hsa_queue_t* handle() const { return queue_; }
  const LaunchLag& launch_lag() const { return launch_lag_; }

 private:
  struct Counters {
    alignas(64) std::uint64_t workgroups_done;
    alignas(64) std::uint64_t sequence;
    alignas(64) std::uint64_t order_errors;
  };

  // The HSA specification wants kernel arguments aligned to 16 bytes; a cache line each is better.
  struct alignas(64) KernargSlot {
    WorkKernarg kernarg;
  };

  ReplayQueue(HsaDevice* device, const ReplayPlan& plan, const ReplayClock& clock,
              std::int64_t timeout_ns)
      : device_(device), plan_(plan), clock_(clock), timeout_ns_(timeout_ns) {}
  bool Allocate(std::uint32_t ring_packets, std::string* error);
  bool WaitForRoom(std::uint64_t packet_index, std::string* error);
  bool Launch(const ReplayKernel& kernel, bool first, bool last, std::string* error);
  bool WaitForTurn(std::int64_t due_ns, std::string* error);
  bool WaitForCompletion(std::string* error);

  HsaDevice* device_;
  const ReplayPlan& plan_;
  ReplayClock clock_;
  std::int64_t timeout_ns_;
  hsa_queue_t* queue_ = nullptr;
  hsa_signal_t completion_{};
  Counters* counters_ = nullptr;
  KernargSlot* kernargs_ = nullptr;  // twice the ring: see Launch
  LaunchLag launch_lag_;
  std::uint64_t timestamp_hz_ = 1;
  std::uint64_t packets_ = 0, workgroups_ = 0, signal_errors_ = 0;
};

}  // namespace dual_model

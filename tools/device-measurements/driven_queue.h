// driven_queue.h: a queue that replays kernels and is suspended, resumed and masked by its owner.
//
// Why        What a preemption costs on a device is asked in the way in which the layer preempts: by
//            UPDATE_QUEUE and SET_CU_MASK from inside the owning process (hsa-intercept/kfd_access.h).
// Threads    Suspend, Resume and UseUnits from one thread; the replay may run in another meanwhile.
// Ownership  borrows the device. A queue that dies suspended is destroyed as it is: it was only ours.
// Units      device milliseconds (ReplayClock).
// Errors     false and one line.
// Limits     this process has to be listed in /sys/class/kfd/kfd/proc under its own pid: not inside a
//            PID namespace.
#pragma once

#include <hsa/hsa.h>

#include <cstdint>
#include <memory>
#include <string>

#include "hsa_device.h"
#include "kfd_access.h"
#include "replay_clock.h"
#include "replay_queue.h"

namespace device_measurements {

// The agent as the kernel driver knows it.
bool FindNode(const dual_model::HsaDevice& device, xsched_hsa::KfdNode* node, std::string* error);

class DrivenQueue {
 public:
  static std::unique_ptr<DrivenQueue> Create(dual_model::HsaDevice* device,
                                             const dual_model::ReplayPlan& plan,
                                             const dual_model::ReplayClock& clock,
                                             const xsched_hsa::KfdNode& node, std::string* error);

  dual_model::ReplayQueue& replay() { return *replay_; }
  std::uint64_t read_index() const;

  // Each is one preemption of everything on the device; *ms is how long the call took.
  bool Suspend(double* ms, std::string* error) { return Update(0, ms, error); }
  bool Resume(double* ms, std::string* error) { return Update(100, ms, error); }
  // The first `units` of the driver's order: equally many in every shader array if their number
  // divides it.
  bool UseUnits(std::uint32_t units, double* ms, std::string* error);

 private:
  explicit DrivenQueue(const dual_model::ReplayClock& clock) : clock_(clock) {}
  bool Update(std::uint32_t percentage, double* ms, std::string* error);
  bool Report(const char* call, int code, std::int64_t began_ns, double* ms, std::string* error);

  dual_model::ReplayClock clock_;
  xsched_hsa::KfdAccess kfd_;
  xsched_hsa::KfdQueue queue_;
  xsched_hsa::KfdNode node_;
  std::unique_ptr<dual_model::ReplayQueue> replay_;
};

}  // namespace device_measurements

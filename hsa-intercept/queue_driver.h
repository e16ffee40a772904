// queue_driver.h: the driver calls, and for intercept queues ROCr's in place of one of them.
//
// Why        UPDATE_QUEUE needs the true ring. Of an intercept queue only ROCr knows it: what the
//            program has is the proxy's. A null ring with percentage 0 takes a queue off the hardware
//            ("update with NULL ring address is used to disable the queue",
//            kfd_process_queue_manager.c), and ROCr's own set_priority gives it back, with the ring
//            as it is and percentage 100 (amd_aql_queue.cpp: SetPriority).
// Threads    as KfdCalls; the caller holds the preemptor's mutex.
// Errors     errno values; EIO when ROCr refuses.
// Limits     ROCr knows three priorities: ours is rounded to the nearest.
// See        docs/decisions.md, queue_driver_test.cc
#pragma once

#include "kfd_access.h"
#include "real_api.h"

namespace xsched_hsa {

// What ROCr makes of its three priorities: HIGH is 11 since 6.2, whose extension table is that long.
constexpr std::uint32_t KfdPriorityOf(hsa_amd_queue_priority_t priority,
                                      std::uint32_t ext_table_bytes) {
  constexpr std::uint32_t kExtTableBytes62 = 576;
  if (priority == HSA_AMD_QUEUE_PRIORITY_LOW) return 0;
  if (priority == HSA_AMD_QUEUE_PRIORITY_NORMAL) return 7;
  return ext_table_bytes >= kExtTableBytes62 ? 11 : 15;
}

class QueueDriver final : public KfdCalls {
 public:
  constexpr QueueDriver(const RealApi& api, KfdCalls* kfd) : api_(api), kfd_(kfd) {}

  int Update(const KfdQueue& queue, std::uint32_t percentage) override {
    if (queue.runtime_queue == nullptr) return kfd_->Update(queue, percentage);
    if (percentage == 0) {
      KfdQueue off = queue;
      off.ring_base = 0;
      off.ring_bytes = 0;
      return kfd_->Update(off, 0);
    }
    const hsa_amd_queue_priority_t priority = queue.priority < 4    ? HSA_AMD_QUEUE_PRIORITY_LOW
                                              : queue.priority < 10 ? HSA_AMD_QUEUE_PRIORITY_NORMAL
                                                                    : HSA_AMD_QUEUE_PRIORITY_HIGH;
    return api_.queue_set_priority(queue.runtime_queue, priority) == HSA_STATUS_SUCCESS ? 0 : EIO;
  }
  int SetMask(const KfdQueue& queue, const std::uint32_t* mask, std::uint32_t bits) override {
    return kfd_->SetMask(queue, mask, bits);
  }
  bool CanBatch() override { return kfd_->CanBatch(); }
  int SuspendBatch(const std::uint32_t* ids, std::uint32_t count) override {
    return kfd_->SuspendBatch(ids, count);
  }
  int ResumeBatch(const std::uint32_t* ids, std::uint32_t count) override {
    return kfd_->ResumeBatch(ids, count);
  }

 private:
  const RealApi& api_;
  KfdCalls* kfd_;
};

}  // namespace xsched_hsa

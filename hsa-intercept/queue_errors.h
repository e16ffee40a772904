// queue_errors.h: hears of the errors for which ROCr stops a queue.
//
// Why        ROCr takes a queue in error off the hardware itself (UPDATE_QUEUE with percentage 0) and then
//            calls what the program gave to hsa_queue_create. Every update of ours would say 100 and bring it
//            back, to the packet that it failed at; and it has work for ever, so that an urgent one would
//            hold everybody else. So ROCr is given a callback of ours, which passes on.
// Threads    any; OnQueueError: ROCr's for all callbacks.
// Ownership  a static pool: ROCr may call as long as the queue is there.
// Errors     TakeErrorRelay gives null where no place is left: the program's own callback is used then.
// Limits     queues of hsa_amd_queue_create and of a tool above us keep the callback they were made with.
// Source     amd_aql_queue.cpp of rocm-5.2.3 ... 7.0: DynamicScratchHandler, ExceptionHandler.
// See        layer_queues_test.cc, preemptor_course_test.cc, tests/misuse_test.cc
#pragma once

#include <hsa/hsa.h>

#include <atomic>
#include <cstdint>

#include "managed_queue.h"
#include "queue_registry.h"

namespace xsched_hsa {

using QueueCallback = void (*)(hsa_status_t, hsa_queue_t*, void*);

struct ErrorRelay {
  std::atomic<std::uint32_t> in_use{0};
  std::atomic<hsa_queue_t*> queue{nullptr};
  QueueCallback callback = nullptr;  // the program's; may be null
  void* data = nullptr;
};

ErrorRelay* TakeErrorRelay(QueueCallback callback, void* data);
void ReleaseErrorRelay(ErrorRelay* relay);
// Before a queue is destroyed, since the moment after it the next queue may have its address: nobody finds the relay
// under it any more. It is released once ROCr calls it no more. Null: the queue has none.
ErrorRelay* UnlinkErrorRelay(const hsa_queue_t* queue);

// Gate, pump and preemptor leave it alone from now on. False: that was so before.
inline bool LeaveStopped(ManagedQueue* queue) {
  if (queue->failed.exchange(1, std::memory_order_seq_cst) != 0) return false;
  LeaveAlone(queue);
  return true;
}

// `registry` finds a queue under `queue`: it is marked. Null: there is none, it is on its way out, or was marked
// before. Waits for nobody, and whoever lets go of a queue waits for us (queue_end.h), so that what is marked is no
// other queue that has the entry by then.
inline ManagedQueue* LeaveStoppedIn(const QueueRegistry& registry, const hsa_queue_t* queue) {
  ManagedQueue* const managed = registry.Find(queue);
  if (managed == nullptr) return nullptr;
  managed->error_inside.fetch_add(1, std::memory_order_seq_cst);
  const bool is_here =
      managed->live.load(std::memory_order_seq_cst) != 0 && registry.Find(queue) == managed;
  const bool marked = is_here && LeaveStopped(managed);
  managed->error_inside.fetch_sub(1, std::memory_order_seq_cst);
  return marked ? managed : nullptr;
}

// What ROCr calls, with the relay as its data.
void OnQueueError(hsa_status_t status, hsa_queue_t* queue, void* relay);

}  // namespace xsched_hsa

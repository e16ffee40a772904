#include "queue_errors.h"

#include "layer.h"

namespace xsched_hsa {
namespace {

constinit ErrorRelay g_relays[kQueuesMax]{};

}  // namespace

ErrorRelay* TakeErrorRelay(QueueCallback callback, void* data) {
  for (ErrorRelay& relay : g_relays) {
    if (relay.in_use.exchange(1, std::memory_order_acquire) != 0) continue;
    relay.callback = callback;
    relay.data = data;
    return &relay;
  }
  return nullptr;
}

void ReleaseErrorRelay(ErrorRelay* relay) {
  if (relay == nullptr) return;
  relay->queue.store(nullptr, std::memory_order_relaxed);
  relay->in_use.store(0, std::memory_order_release);
}

ErrorRelay* UnlinkErrorRelay(const hsa_queue_t* queue) {
  for (ErrorRelay& relay : g_relays) {
    if (relay.queue.load(std::memory_order_relaxed) != queue) continue;
    relay.queue.store(nullptr, std::memory_order_relaxed);
    return &relay;
  }
  return nullptr;
}

void OnQueueError(hsa_status_t status, hsa_queue_t* queue, void* relay) {
  const ErrorRelay* const to = static_cast<const ErrorRelay*>(relay);
  TheLayer().QueueHasFailed(queue, status);
  if (to->callback != nullptr) to->callback(status, queue, to->data);
}

}  // namespace xsched_hsa

// public_api.cc: the functions that xsched_hsa.h looks up. Exported as version XSCHED_HSA_1.
#include "layer.h"
#include "xsched_hsa.h"

#define XSCHED_HSA_EXPORT extern "C" __attribute__((visibility("default")))

XSCHED_HSA_EXPORT int xsched_hsa_layer_request_begin(uint64_t deadline_us, uint64_t* request) {
  if (request == nullptr) return XSCHED_HSA_BAD_ARGUMENT;
  return xsched_hsa::TheLayer().BeginRequest(deadline_us, request);
}
XSCHED_HSA_EXPORT int xsched_hsa_layer_request_end(uint64_t request) {
  return xsched_hsa::TheLayer().EndRequest(request);
}
XSCHED_HSA_EXPORT int xsched_hsa_layer_set_queue_priority(const void* queue, int32_t priority) {
  return xsched_hsa::TheLayer().SetRequestedPriority(queue, priority);
}
XSCHED_HSA_EXPORT int xsched_hsa_layer_set_thread_priority(int32_t priority) {
  return xsched_hsa::TheLayer().SetThreadPriority(priority);
}
XSCHED_HSA_EXPORT int xsched_hsa_layer_get_state(xsched_hsa_state* state) {
  if (state == nullptr) return XSCHED_HSA_BAD_ARGUMENT;
  return xsched_hsa::TheLayer().GetState(state);
}

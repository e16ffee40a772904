// layer_chain.cc: beside other tools of the runtime, loaded before us or after us.
//
// Why        Tools patch the tables in load order, so one before us lies below, one after us above. Who
//            only counts or times needs nothing from us. Who makes the program's queues, as profilers
//            do with hsa_amd_queue_intercept_create, decides what kind of queue the program has: then
//            its intercept queue is what we hold, by registering with it, and all tools see every
//            packet.
//              below   its hsa_queue_create is called, and what comes of it is asked.
//              above   it calls our hsa_amd_queue_intercept_create, and later registers its handler;
//                      right after that we register ours. ROCr calls who registered last first, so
//                      in both cases we see the packets as the program wrote them.
// Limits     a tool above that registers a second handler sees our marks in it; one that makes two queues
//            before it registers with the first has the first pass through.
// See        docs/life-of-a-packet.md, tests/companions_test.cc
#include <dlfcn.h>
#include <hsa/hsa_ext_amd.h>
#include <pthread.h>

#include <cstdio>
#include <cstring>

#include "layer.h"
#include "log.h"

namespace xsched_hsa {

void Layer::LookBelow() {
  Dl_info info;
  tool_below_[0] = '\0';
  if (dladdr(reinterpret_cast<const void*>(real_.queue_create), &info) == 0 ||
      info.dli_fname == nullptr || std::strstr(info.dli_fname, "libhsa-runtime64.so") != nullptr) {
    return;
  }
  const char* slash = std::strrchr(info.dli_fname, '/');
  std::snprintf(tool_below_, sizeof(tool_below_), "%s",
                slash != nullptr ? slash + 1 : info.dli_fname);
  Log(LogLevel::kInfo, "%s was loaded before us: it makes this program's queues, we hold them",
      tool_below_);
}

// With creation_mutex_ held, like the next two.
hsa_status_t Layer::MakeQueueAboveATool(const QueueRequest& r, GateKind gate,
                                        InterceptGate** intercept) {
  const hsa_status_t status =
      real_.queue_create(r.agent, r.packets, r.type, r.callback, r.data, r.private_segment_size,
                         r.group_segment_size, r.queue);
  if (status != HSA_STATUS_SUCCESS || gate == GateKind::kNone ||
      real_.queue_intercept_register == nullptr || (*r.queue)->size < InterceptGate::kPacketsMin) {
    return status;
  }
  *intercept = InterceptGate::Make(real_, r.agent, *r.queue, InterceptGate::kSlotsEachWithATool);
  return status;
}

bool Layer::IsMakingHere() const {
  return making_.load(std::memory_order_relaxed) == pthread_self();
}

hsa_status_t Layer::CreateIntercepted(const QueueRequest& r) {
  const auto make = [&] {
    return real_.queue_intercept_create(r.agent, r.packets, r.type, r.callback, r.data,
                                        r.private_segment_size, r.group_segment_size, r.queue);
  };
  if (inert_.load(std::memory_order_acquire) || r.queue == nullptr || IsMakingHere() ||
      !IsGpu(r.agent)) {
    return make();
  }
  CreationScope scope(this);
  QueueIdProbe probe("", DriverPid(), &destructions_);
  const bool probing = probe.TakeBefore();
  const hsa_status_t status = make();
  if (status != HSA_STATUS_SUCCESS) return status;
  if (const hsa_queue_t* earlier = intercepted_.load(std::memory_order_relaxed)) {
    PassThrough(*earlier, "another tool made it and did not register with it");
  }
  intercepted_agent_ = r.agent;
  intercepted_probe_ = probe;
  intercepted_probing_ = probing;
  intercepted_.store(*r.queue, std::memory_order_relaxed);
  return status;
}

void Layer::ForgetIntercepted(const hsa_queue_t* queue) {
  if (intercepted_.load(std::memory_order_relaxed) == queue) {
    intercepted_.store(nullptr, std::memory_order_relaxed);
  }
}

hsa_status_t Layer::RegisterInterceptor(hsa_queue_t* queue, hsa_amd_queue_intercept_handler handler,
                                        void* data) {
  const hsa_status_t status = real_.queue_intercept_register(queue, handler, data);
  if (status != HSA_STATUS_SUCCESS || inert_.load(std::memory_order_acquire) || IsMakingHere()) {
    return status;
  }
  CreationScope scope(this);
  if (intercepted_.load(std::memory_order_relaxed) != queue) return status;
  intercepted_.store(nullptr, std::memory_order_relaxed);
  AdoptIntercepted(queue);
  return status;
}

void Layer::AdoptIntercepted(hsa_queue_t* queue) {
  if (config_.gate == GateRequest::kNone) return PassThrough(*queue, "XSCHED_HSA_GATE is none");
  if (queue->type != HSA_QUEUE_TYPE_MULTI && queue->type != HSA_QUEUE_TYPE_SINGLE) {
    return PassThrough(*queue, "only queues of type MULTI and SINGLE are held");
  }
  if (queue->size < InterceptGate::kPacketsMin) {
    return PassThrough(*queue, "another tool intercepts it, and its ring is too small for two");
  }
  InterceptGate* gate =
      InterceptGate::Make(real_, intercepted_agent_, queue, InterceptGate::kSlotsEachWithATool);
  if (gate == nullptr) return PassThrough(*queue, "ROCr did not let us intercept it, too");
  Log(LogLevel::kInfo, "queue %lu was made by a tool that was loaded after us", queue->id);
  if (!Manage(intercepted_agent_, queue, intercepted_probing_ ? &intercepted_probe_ : nullptr,
              gate)) {
    gate->Abandon();
  }
}

}  // namespace xsched_hsa

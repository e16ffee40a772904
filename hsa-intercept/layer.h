// layer.h: everything the layer holds, in one object that is never destroyed.
//
// Why        Attaching and detaching a session, and the life of managed queues. The packet path
//            does not come through here (hooks.cc calls WindowGate directly).
// Threads    Load: ROCr's, under its bootstrap lock. CreateQueue, DestroyQueue: any. Attach,
//            Detach: the session thread, or OnLoad. Lock order: creation_mutex_,
//            registration_mutex_, then Preemptor's mutex, Pump's event mutex or Requests' lock.
// Ownership  static storage, trivially destructible: threads may run on through exit().
// Errors     what can't be managed passes through and is counted; ROCr's statuses go back unchanged.
// See        on_load.cc (entry), hooks.cc (packet path), docs/architecture.md
#pragma once

#include <pthread.h>

#include <atomic>

#include "config.h"
#include "gate_choice.h"
#include "intercept_gate.h"
#include "kernel_times.h"
#include "kfd_access.h"
#include "mutex.h"
#include "preemptor.h"
#include "pump.h"
#include "queue_driver.h"
#include "queue_registry.h"
#include "real_api.h"
#include "requests.h"
#include "session.h"
#include "window_gate.h"
#include "xsched_hsa.h"

namespace xsched_hsa {

// What the program asks of hsa_queue_create.
struct QueueRequest {
  hsa_agent_t agent;
  std::uint32_t packets;
  hsa_queue_type32_t type;
  void (*callback)(hsa_status_t, hsa_queue_t*, void*);
  void* data;
  std::uint32_t private_segment_size, group_segment_size;
  hsa_queue_t** queue;
};

class Layer {
 public:
  // The large tables stand apart: all zero, they cost no file space.
  constexpr Layer(QueueRegistry* registry, KernelTimes* times, QueueSlot* detached_slots)
      : registry_(*registry),
        gate_(real_, times),
        pump_(registry, &gate_),
        driver_(real_, &kfd_),
        preemptor_(registry, &gate_, &pump_, &driver_),
        detached_slots_(detached_slots) {}

  // Reads the environment and tries the controller once. False: stay out of the tables.
  bool Load(const RuntimeVersion& version);

  hsa_status_t CreateQueue(hsa_agent_t agent, std::uint32_t size, hsa_queue_type32_t type,
                           void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data,
                           std::uint32_t private_segment_size, std::uint32_t group_segment_size,
                           hsa_queue_t** queue);
  // Tools beside us (layer_chain.cc). LookBelow: once the hooks are in.
  void LookBelow();
  hsa_status_t CreateIntercepted(const QueueRequest& request);
  hsa_status_t RegisterInterceptor(hsa_queue_t* queue, hsa_amd_queue_intercept_handler handler,
                                   void* data);
  // hsa_amd_queue_create and hsa_amd_counted_queue_acquire of newer runtimes.
  hsa_status_t CreateQueues(hsa_agent_t agent, QueueDescriptor* descriptors, std::uint32_t count);
  hsa_status_t AcquireCounted(hsa_agent_t agent, hsa_queue_type_t type,
                              hsa_amd_queue_priority_t priority,
                              void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data,
                              std::uint64_t flags, hsa_queue_t** queue);
  hsa_status_t DestroyQueue(hsa_queue_t* queue);
  hsa_status_t InactivateQueue(hsa_queue_t* queue);
  // The program's own wishes for a queue; what the preemptor does meanwhile survives them.
  hsa_status_t SetQueuePriority(hsa_queue_t* queue, hsa_amd_queue_priority_t priority);
  hsa_status_t SetCuMask(const hsa_queue_t* queue, std::uint32_t bits, const std::uint32_t* mask);

  // For xsched_hsa.h; each returns one of its results (layer_api.cc).
  int BeginRequest(std::uint64_t deadline_us, std::uint64_t* request);
  int EndRequest(std::uint64_t request);
  int SetRequestedPriority(const void* queue, std::int32_t priority);
  int SetThreadPriority(std::int32_t priority);
  int GetState(xsched_hsa_state* state);

  // ROCr has stopped it after an error. Waits for nobody: it comes on ROCr's thread for all callbacks.
  void QueueHasFailed(hsa_queue_t* queue, hsa_status_t status);

  // Opens every gate for good: exit, unload.
  void OpenAll();
  // In a fork child: forget everything, touch nothing of the parent's.
  void AfterForkInChild();

  RealApi* real() { return &real_; }
  QueueRegistry* registry() { return &registry_; }
  WindowGate* gate() { return &gate_; }
  Pump* pump() { return &pump_; }
  const RuntimeVersion& version() const { return version_; }

 private:
  static void* SessionMain(void* self);
  void RunSession();
  void BeginDebugSession();
  bool TryAttach(char* why, std::uint32_t why_bytes, bool* refused);
  bool TryAgain();
  void AttachTo(const SessionLink& link);
  void Attach(const SessionLink& link);
  void Detach();
  void AttachQueue(ManagedQueue* queue);
  void DetachQueue(ManagedQueue* queue);
  // layer_queues.cc
  hsa_status_t MakeQueue(const QueueRequest& request, GateKind gate, InterceptGate** intercept);
  hsa_status_t MakeHeldQueue(const QueueRequest& request);
  hsa_status_t MakeAndHearErrors(QueueRequest request, GateKind gate, InterceptGate** intercept);
  hsa_status_t MakeQueueAboveATool(const QueueRequest& request, GateKind gate,
                                   InterceptGate** intercept);
  void AdoptIntercepted(hsa_queue_t* queue);
  void ForgetIntercepted(const hsa_queue_t* queue);
  // Has creation_mutex_ for as long as it lives; only the thread that has it IsMakingHere.
  class CreationScope {
   public:
    explicit CreationScope(Layer* layer) : layer_(layer) {
      layer_->creation_mutex_.Lock();
      layer_->making_.store(pthread_self(), std::memory_order_relaxed);
    }
    ~CreationScope() {
      layer_->making_.store(0, std::memory_order_relaxed);
      layer_->creation_mutex_.Unlock();
    }
    CreationScope(const CreationScope&) = delete;
    CreationScope& operator=(const CreationScope&) = delete;

   private:
    Layer* layer_;
  };
  bool IsMakingHere() const;
  bool IsGpu(hsa_agent_t agent) const;
  void PassThrough(const hsa_queue_t& queue, const char* why);
  void AdoptDescribed(hsa_agent_t agent, const QueueDescriptor& descriptor,
                      const QueueIdProbe* probe);
  bool Manage(hsa_agent_t agent, hsa_queue_t* queue, const QueueIdProbe* probe,
              InterceptGate* intercept);
  void LearnKfdQueue(ManagedQueue* queue, const QueueIdProbe* probe);
  std::int32_t DriverPid();
  void Unmanage(ManagedQueue* queue);
  void CountPassedThrough();
  void NotManaged(const hsa_queue_t& queue, bool is_ring, GpuKey key);
  bool StartThreads();
  bool IsActive() const {
    return loaded_.load(std::memory_order_acquire) && !inert_.load(std::memory_order_relaxed);
  }
  std::int32_t PriorityOfNewQueue() const;
  void ShowDeadline(std::uint64_t earliest_us);

  RealApi real_{};
  Config config_{};
  RuntimeVersion version_{};
  QueueRegistry& registry_;
  WindowGate gate_;
  Pump pump_;
  KfdAccess kfd_;
  QueueDriver driver_;
  Preemptor preemptor_;
  QueueDestructions destructions_;
  Mutex creation_mutex_{};  // one queue is made at a time: its KFD id is the new one
  // The thread that has creation_mutex_: a tool below may come back to us on it, and passes through.
  std::atomic<std::uint64_t> making_{0};
  // A tool above us has made this intercept queue and not registered with it yet; what is known of
  // it is under creation_mutex_.
  std::atomic<hsa_queue_t*> intercepted_{nullptr};
  hsa_agent_t intercepted_agent_{};
  bool intercepted_probing_ = false;
  QueueIdProbe intercepted_probe_{"", 0};
  char tool_below_[128] = "";  // the file that makes the program's queues, unless it is the runtime
  Mutex registration_mutex_{};
  SessionLink link_{};                // under registration_mutex_
  SessionLink joining_{};             // the session thread's: not ours yet
  std::uint32_t passed_through_ = 0;  // under registration_mutex_
  bool told_refusal_ = false;         // the same; one line until a controller takes us
  bool told_no_kfd_ = false;          // the same
  bool told_no_room_ = false;         // the same
  Requests requests_;
  std::atomic<std::uint64_t> shown_deadline_us_{0};  // as in every queue's slot
  std::atomic<bool> loaded_{false};                  // the hooks go in
  std::atomic<bool> inert_{false};                   // exiting, or a fork child
  std::atomic<bool> is_fork_child_{false};           // locks and queues are the parent's
  std::atomic<bool> session_started_{false};
  QueueSlot* detached_slots_;  // kQueuesMax of them, mode 0: pass everything
};

// The one layer of this process; inline, for the packet path.
extern Layer g_layer;
inline Layer& TheLayer() { return g_layer; }

}  // namespace xsched_hsa

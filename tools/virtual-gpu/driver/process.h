// process.h: one application under the virtual GPU: its memory, events and queues.
//
// Why        What the kernel keeps in struct kfd_process.
// Threads    `queues`, `doorbell_slots` and `finished` belong to the server's thread; memory and
//            events have locks of their own.
// Ownership  shared by the process's connections and by pending device operations. The queues must
//            be off their GPUs before it is destroyed (Server::EndProcess).
// Limits     1024 queues and 1024 doorbells per GPU, as KFD on gfx9.
#pragma once

#include <sys/types.h>

#include <bitset>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "address_space.h"
#include "arena.h"
#include "compute_queue.h"
#include "connection.h"
#include "events.h"
#include "sdma_queue.h"

namespace virtual_gpu {

inline constexpr std::uint32_t kQueuesMax = 1024;
// Per process and GPU, in the file behind /dev/kfd: a page of doorbells, then the MMIO remap page.
// The GPU number is above bit 32, for the old thunk masks the low half away (facts/feasibility.md,
// S2).
inline constexpr std::uint64_t kDoorbellBytes = 8192;
inline constexpr std::uint64_t kMmioOffset = 65536;
inline constexpr unsigned kGpuShift = 32;

struct KfdQueue {
  std::uint32_t id = 0;
  std::uint32_t gpu_index = 0;
  std::uint32_t type = 0;
  std::uint32_t sdma_engine = 0;
  std::uint32_t doorbell_slot = 0;
  std::uint64_t ring_base = 0;
  std::uint32_t ring_bytes = 0;
  std::uint64_t write_pointer = 0, read_pointer = 0;
  std::uint64_t save_area = 0;
  std::uint32_t save_area_bytes = 0, control_stack_bytes = 0;
  std::uint32_t percentage = 0;
  std::uint32_t priority = 0;
  std::unique_ptr<ComputeQueue> aql;  // AQL or PM4
  std::unique_ptr<SdmaQueue> sdma;

  // As in struct queue_properties. None of them is cleared by UPDATE_QUEUE.
  bool evicted = false;          // with the whole process
  bool suspended = false;        // by DBG_TRAP
  bool being_destroyed = false;  // DESTROY_QUEUE waits for the debugger to resume it
  bool gws = false;
  std::vector<std::uint32_t> cu_mask;  // as SET_CU_MASK gave it; empty: all
  std::uint64_t exceptions = 0;
  std::vector<Request> waiting_destroys;

  // QUEUE_IS_ACTIVE in kfd_priv.h.
  bool Active() const {
    return ring_base != 0 && ring_bytes != 0 && percentage != 0 && !evicted && !suspended;
  }
};

// What KFD keeps of a process's debugger.
struct DebugSession {
  bool enabled = false;
  std::uint64_t exceptions_enabled = 0;
  std::uint64_t exceptions = 0;  // of the process itself
  std::uint64_t debugger = 0;    // Process::key of who has attached; may be the process itself
  int event_fd = -1;             // gets a byte for an exception; our own duplicate
  std::uint32_t flags = 0;
};

class Process;
// By (pid, nonce), as rpc_protocol.h says.
using ProcessTable = std::map<std::pair<pid_t, std::uint64_t>, std::shared_ptr<Process>>;

class Process {
 public:
  // Null when the doorbell memory cannot be had.
  static std::shared_ptr<Process> Create(std::uint64_t key, pid_t pid, std::uint64_t nonce,
                                         std::uint32_t gpus);

  const std::uint64_t key;  // the device's name for it, never reused
  const pid_t pid;
  const std::uint64_t nonce;
  std::string command;  // as in /proc/PID/comm

  std::unique_ptr<Arena> doorbells;
  AddressSpace memory;
  EventTable events;

  std::uint64_t* Doorbell(std::uint32_t gpu_index, std::uint32_t slot) const;
  std::uint64_t DoorbellOffset(std::uint32_t gpu_index, std::uint32_t slot) const;
  // False when all are taken.
  bool TakeDoorbell(std::uint32_t gpu_index, std::uint32_t* slot);
  void GiveDoorbell(std::uint32_t gpu_index, std::uint32_t slot);
  bool FreeQueueId(std::uint32_t* id) const;
  KfdQueue* FindQueue(std::uint32_t id);

  std::map<std::uint32_t, std::unique_ptr<KfdQueue>> queues;
  std::uint64_t next_handle = 1;
  int pid_fd = -1;
  bool runtime_enabled = false;
  std::uint64_t r_debug = 0;
  std::uint32_t ttmp_setup = 0;
  DebugSession debug;
  std::vector<Request> waiting_runtime_enables;  // until the debugger lets the runtime go on
  bool evicted = false;                          // KFD has taken all its queues off
  std::int64_t evicted_since_ns = 0, evicted_ns = 0;
  bool finished = false;

  ~Process();

 private:
  Process(std::uint64_t key_in, pid_t pid_in, std::uint64_t nonce_in)
      : key(key_in), pid(pid_in), nonce(nonce_in), memory(pid_in) {}

  std::vector<std::bitset<kQueuesMax>> doorbell_slots_;
};

}  // namespace virtual_gpu

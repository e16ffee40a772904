// gate_choice.h: which of the two gates holds a queue's packets, or none.
//
// Why        The window gate (window_gate.h) works on the real queue's write index and doorbell. The
//            intercept gate (intercept_gate.h) leaves both to ROCr's own intercept queue. The first
//            is cheaper and is the default wherever it fits; where the second can't be had, or must
//            not be, the first is used.
// Threads    any; pure.
// Source     facts of each rule stand beside it in gate_choice.cc.
// See        docs/life-of-a-packet.md, docs/environment.md (XSCHED_HSA_GATE), gate_choice_test.cc
#pragma once

#include <cstdint>

#include "config.h"
#include "queue-ctl/wire.h"

namespace xsched_hsa {

// How the program came by its queue.
enum class QueueOrigin {
  kQueueCreate,     // hsa_queue_create
  kAmdQueueCreate,  // hsa_amd_queue_create: a descriptor, perhaps with its ring in device memory
  kCounted,         // hsa_amd_counted_queue_acquire: one of several handles of a shared queue
};

struct QueueTraits {
  QueueOrigin origin = QueueOrigin::kQueueCreate;
  std::uint32_t type = 0;  // hsa_queue_type32_t
  std::uint32_t packets = 0;
  bool host_memory = true;            // ring and indexes
  std::uint32_t ext_table_bytes = 0;  // tells the runtime's release; 0: no such table
};

struct GateChosen {
  GateKind kind = GateKind::kNone;
  const char* why = "";  // where it is not what was asked for
};

GateChosen ChooseGate(GateRequest request, const QueueTraits& traits);

}  // namespace xsched_hsa

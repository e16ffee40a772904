// queue_end.h: a queue's end, as its pump, preemptor and gate see it.
//
// Why        The program destroys a queue whenever it likes, and its ring is gone the moment after. Here is the order
//            in which everybody lets go of it; apart from Layer, so that the explorer tries it in every interleaving.
// Threads    the thread that destroys the queue, under Layer's registration mutex.
// See        explore/explore_queues_test.cc
#pragma once

#include "managed_queue.h"
#include "mutex.h"
#include "preemptor.h"
#include "window_gate.h"

namespace xsched_hsa {

// After this neither the pump nor the preemptor nor a producer touches the real queue through us, nor does ROCr's word
// of an error reach its entry; every packet that was announced is published as far as there is room, and nothing
// restricts it.
inline void LetGo(ManagedQueue* queue, Preemptor* preemptor, WindowGate* gate) {
  queue->live.store(0, std::memory_order_seq_cst);
  for (int looks = 0; queue->pump_inside.load(std::memory_order_seq_cst) != 0; ++looks) {
    WaitALittle(looks);
  }
  // Bounded: its thread may be the one that we are on, in a handler that exits.
  for (int looks = 0; looks < 1000 && queue->error_inside.load(std::memory_order_seq_cst) != 0;
       ++looks) {
    WaitALittle(looks);
  }
  preemptor->Forget(queue);
  gate->Retire(queue);
}

}  // namespace xsched_hsa

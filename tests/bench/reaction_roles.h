// reaction_roles.h: a program's half of the layer on a ring in plain memory, under a real controller.
//
// Why        What a device would add is not the reaction: here packets are taken by whoever asks, at once,
//            and everything else is the product's own: gate, pump, pages, controller.
// Threads    one, besides the pump's.
// Ownership  never ends: the pump's thread doesn't either. One a process.
#pragma once

#include <memory>
#include <string>

#include "layer_client.h"
#include "pump.h"
#include "queue_registry.h"
#include "test_ring.h"
#include "window_gate.h"

namespace xsched_hsa::bench {

class Program {
 public:
  // Joins the controller as a program of that priority, with one queue. Exits with a line where it can't.
  Program(const std::string& socket, int priority);

  // Writes a packet; it is to be rung for next.
  void Write();
  // Rings for what is written. False: the gate kept it; *decided_ns is set to when that was known,
  // where the doorbell's call then goes on to wake the pump.
  bool Ring(std::int64_t* decided_ns = nullptr);
  // What is published, taken by the device.
  void TakeAll();
  bool HasBacklog() const { return ring_.published() < submitted_; }
  bool WaitForMode(std::uint32_t mode);
  bool IsActive() const { return slot_->active.load() != 0; }

 private:
  TestRing ring_{1024};
  std::unique_ptr<testing::LayerClient> client_;
  KernelTimes times_{};
  QueueRegistry registry_;
  WindowGate gate_{TestRing::Api(), &times_};
  Pump pump_{&registry_, &gate_};
  ManagedQueue* queue_ = nullptr;
  QueueSlot* slot_ = nullptr;
  std::uint64_t submitted_ = 0;
};

}  // namespace xsched_hsa::bench

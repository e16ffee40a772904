// sim_layer.h: the layer's real code as it is in one process, without sockets and real threads.
//
// Why        Gate, kernel times, pump, preemptor and plan are hsa-intercept's own objects, put
//            together as its Layer does; here their threads are Tasks, the page comes from the
//            controller's Core by a call, and the driver is the device model's.
// Wakes      nothing here sleeps on a futex: Look compares the words that a thread would sleep on
//            with what they were, after each event.
// Threads    as World.
// See        hsa-intercept/layer.cc
#pragma once

#include <functional>
#include <memory>

#include "hsa-intercept/preemptor.h"
#include "kfd_driver.h"
#include "ring.h"
#include "task.h"

namespace ablation {

class SimLayer {
 public:
  SimLayer(World* world, DeviceDriver* driver, int priority);
  ~SimLayer();

  // A queue of the program, before Attach.
  void Manage(Ring* ring, const virtual_gpu::DeviceParams& device, xsched_hsa::GpuKey gpu);
  // With the page as the controller has made it; `tell` is the eventfd's other end.
  void Attach(xsched_hsa::UserPage* user_page, std::function<void()> tell);

  // What the hooks do.
  std::uint64_t Reserve() { return queue_->reserved_index.fetch_add(1); }
  void Doorbell(std::uint64_t end);
  std::uint64_t LoadReadIndex();

  void Look();
  bool preempting() const { return preemptor_task_.looking(); }
  bool restricted() const { return queue_->restricted.restriction != xsched_hsa::kUnrestricted; }

  xsched_hsa::ProcessPage* page() { return page_.get(); }
  const xsched_hsa::QueueSlot& slot() const { return page_->queues[queue_->index]; }
  const xsched_hsa::PlanModel& model() const { return preemptor_.model(0); }

 private:
  void PumpRound();
  void PreemptorRound();
  void AttachQueue();
  bool HasEvent() const;

  const int priority_;
  std::unique_ptr<xsched_hsa::ProcessPage> page_;
  std::unique_ptr<xsched_hsa::QueueRegistry> registry_;
  std::unique_ptr<xsched_hsa::KernelTimes> times_;
  std::unique_ptr<xsched_hsa::QueueSlot> detached_slot_;
  ProcessKfd kfd_;
  xsched_hsa::WindowGate gate_;
  xsched_hsa::Pump pump_;
  xsched_hsa::Preemptor preemptor_;
  Task pump_task_, preemptor_task_;
  Ring* ring_ = nullptr;
  xsched_hsa::ManagedQueue* queue_ = nullptr;
  xsched_hsa::UserPage* user_page_ = nullptr;
  std::function<void()> tell_;
  int event_ = -1;
  std::uint32_t wake_seen_ = 0, bell_seen_ = 0;
  Fiber fiber_;  // last: its round uses everything else
};

}  // namespace ablation

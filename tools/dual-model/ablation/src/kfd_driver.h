// kfd_driver.h: the kernel driver as the layer's preemptors see it, on the device model.
//
// Why        UPDATE_QUEUE and SET_CU_MASK keep their caller until the device has unmapped
//            everybody, and one caller at a time (tools/virtual-gpu/driver/runlist_gate.h). The
//            calling thread stands still meanwhile; everybody else goes on.
// Errors     errno values as the driver model's; ECANCELED when the simulation ends during a call.
#pragma once

#include <functional>
#include <map>

#include "fiber.h"
#include "hsa-intercept/kfd_access.h"
#include "world.h"

namespace ablation {

// Shared by all processes of the device.
class DeviceDriver {
 public:
  explicit DeviceDriver(World* world) : world_(world) {}

  // As at the queue's creation. The KFD id is the device's.
  virtual_gpu::QueueId Create(virtual_gpu::PacketSource* source, std::uint64_t process,
                              std::uint32_t priority);
  using Change = std::function<virtual_gpu::Status(TimeNs now, TimeNs* returns_at)>;
  int Call(Fiber* caller, const Change& change);

  World* world() { return world_; }
  virtual_gpu::QueueConfig& config(virtual_gpu::QueueId id) { return configs_.at(id); }
  std::uint64_t calls() const { return calls_; }

 private:
  bool Sleep(Fiber* caller, TimeNs until);

  World* world_;
  TimeNs busy_until_ = 0;
  std::uint64_t calls_ = 0;
  std::map<virtual_gpu::QueueId, virtual_gpu::QueueConfig> configs_;
};

// One process's descriptor of it; calls must come from `caller`.
class ProcessKfd final : public xsched_hsa::KfdCalls {
 public:
  ProcessKfd(DeviceDriver* driver, Fiber* caller) : driver_(driver), caller_(caller) {}
  int Update(const xsched_hsa::KfdQueue& queue, std::uint32_t percentage) override;
  int SetMask(const xsched_hsa::KfdQueue& queue, const std::uint32_t* mask,
              std::uint32_t bits) override;

 private:
  DeviceDriver* driver_;
  Fiber* caller_;
};

}  // namespace ablation

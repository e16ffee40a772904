// controller.h: the controller's real Core, as a Task.
//
// Why        In xsched-hsad the server's loop calls Core when a layer writes its eventfd and when a
//            lease is due; here the Task does.
// Threads    as World.
// See        queue-ctl/src/server.cc
#pragma once

#include <memory>
#include <set>

#include "mechanisms.h"
#include "queue-ctl/src/core.h"
#include "sim_layer.h"
#include "task.h"

namespace ablation {

class Controller {
 public:
  Controller(World* world, const Mechanisms& mechanisms);

  // What xsched-hsad reads from the driver.
  void Know(xsched_hsa::GpuKey gpu, const virtual_gpu::DeviceParams& device);
  // Makes the program's session and tells its layer.
  void Join(SimLayer* layer, int priority, const xsched_hsa::ProgramClass& ordered);

 private:
  class VirtualClock final : public xsched_hsa::Clock {
   public:
    explicit VirtualClock(World* world) : world_(world) {}
    std::uint64_t NowUs() const override {
      return static_cast<std::uint64_t>(world_->now()) / 1000;
    }

   private:
    World* world_;
  };
  // Sleepers find out by themselves (SimLayer::Look).
  class WordWaker final : public xsched_hsa::Waker {
   public:
    void Wake(xsched_hsa::ProcessPage& page) override { page.wake.fetch_add(1); }
    void Ring(xsched_hsa::UserPage& page) override { page.bell.fetch_add(1); }
  };

  void Round();

  World* world_;
  VirtualClock clock_;
  WordWaker waker_;
  std::unique_ptr<xsched_hsa::UserPage> user_page_;
  xsched_hsa::Core core_;
  std::set<std::uint32_t> told_;  // sessions
  std::int32_t programs_ = 0;
  Task task_;
};

}  // namespace ablation

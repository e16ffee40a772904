// world.h: one virtual clock for the device model, the host programs and our threads.
//
// Why        The ablation runs the real decision code (layer, controller) against the device model
//            without waiting: whatever anybody does is an event at a virtual time, and the clock
//            jumps from one to the next. Equal seeds give equal runs.
// Threads    one at a time; a Task's body may run on a thread of its own (fiber.h), but only while
//            everybody else stands still.
// Lookahead  the device is advanced at most `lookahead` past its next event before the hosts' next:
//            what it calls back for may cause host events no earlier than that after it happened.
// Units      TimeNs: virtual nanoseconds. The layer's and the controller's clock are the same.
// See        simulation.h
#pragma once

#include <functional>
#include <memory>
#include <queue>
#include <vector>

#include "device.h"
#include "random.h"

namespace ablation {

using virtual_gpu::kNever;
using virtual_gpu::TimeNs;

// What the host costs. None of these is simulated: they are assumptions, printed with each result.
struct HostParams {
  double wake_us = 30;        // from a futex wake or an expired timer until the thread runs, mean
  double round_us = 3;        // one look of the pump, the preemptor or the controller
  double launch_us = 5;       // one launch of a program that launches as fast as it can
  double doorbell_us = 0.25;  // one publication
};

class World {
 public:
  World(const virtual_gpu::DeviceParams& device, const HostParams& host, std::uint64_t seed);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  TimeNs now() const { return now_; }
  const HostParams& host() const { return host_; }
  virtual_gpu::Device& device() { return *device_; }

  void At(TimeNs when, std::function<void()> act);
  // Called after each host event: who looks whether somebody was woken by it.
  void AfterEach(std::function<void()> look) { looks_.push_back(std::move(look)); }
  // Until `done` says so (asked after each event) or the time comes. False: the time came.
  bool Run(TimeNs until, const std::function<bool()>& done);

  // From a wake to running: never less than the lookahead, with a tail.
  TimeNs DrawWake();
  double DrawUniform() { return random_.Uniform(); }

 private:
  struct Event {
    TimeNs when;
    std::uint64_t order;  // events of one time happen in the order they were made
    std::function<void()> act;
    bool operator>(const Event& other) const {
      return when != other.when ? when > other.when : order > other.order;
    }
  };

  const HostParams host_;
  const TimeNs lookahead_;
  std::unique_ptr<virtual_gpu::Device> device_;
  virtual_gpu::Random random_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<std::function<void()>> looks_;
  std::uint64_t order_ = 0;
  TimeNs now_;
};

std::uint32_t Units(const virtual_gpu::DeviceParams& device);

}  // namespace ablation

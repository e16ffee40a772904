// runlist_gate.h: one change to a GPU's runlist at a time.
//
// Why        KFD holds dqm_lock from the unmap to the new runlist: CREATE, DESTROY, UPDATE and
//            SET_CU_MASK of all processes queue up there, while other ioctls go on. The caller
//            stays in its ioctl until the simulated time at which the real one would return.
// Threads    the server's only.
// Ownership  an operation holds what it needs in its closures.
#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "sim_clock.h"
#include "sim_timer.h"
#include "timers.h"

namespace virtual_gpu {

class RunlistGate {
 public:
  // `start` makes the change and returns the simulated time at which the ioctl returns; `finish`
  // answers it then.
  struct Operation {
    std::function<TimeNs()> start;
    std::function<void()> finish;
  };

  RunlistGate(const SimClock* clock, Timers* timers) : clock_(clock), timers_(timers) {}

  void Submit(Operation operation) {
    waiting_.push_back(std::move(operation));
    if (!busy_) StartNext();
  }

 private:
  void StartNext() {
    if (waiting_.empty()) return;
    busy_ = true;
    Operation operation = std::move(waiting_.front());
    waiting_.pop_front();
    const TimeNs returns_at = operation.start();
    AddAtSimTime(timers_, clock_, returns_at, [this, finish = std::move(operation.finish)] {
      busy_ = false;
      finish();
      if (!busy_) StartNext();
    });
  }

  const SimClock* const clock_;
  Timers* const timers_;
  std::deque<Operation> waiting_;
  bool busy_ = false;
};

}  // namespace virtual_gpu

#include "task.h"

namespace ablation {

void Task::Wake() {
  if (looking_) {
    woken_ = true;
    return;
  }
  const TimeNs when = world_->now() + world_->DrawWake();
  if (when < due_) Schedule(when);
}

void Task::Schedule(TimeNs when) {
  due_ = when;
  world_->At(when, [this, turn = ++turn_] {
    if (turn != turn_) return;
    due_ = kNever;
    looking_ = true;
    woken_ = false;
    start_();
  });
}

void Task::Finished(TimeNs sleep_ns) {
  looking_ = false;
  const TimeNs ready = world_->now() + static_cast<TimeNs>(world_->host().round_us * 1000);
  if (woken_ || sleep_ns == 0) {
    Schedule(ready);
  } else if (sleep_ns < kNever - ready) {
    Schedule(ready + sleep_ns + world_->DrawWake());
  }
}

}  // namespace ablation

// task.h: one of our threads in virtual time: asleep until it is woken or its timer expires.
//
// Why        Pump, preemptor and controller are loops of "look, then sleep on a word". The look is
//            the real code; sleeping, and what it takes to wake up, is this.
// Contract   Start runs one look and calls Finished with how long to sleep, at once or, if the look
//            makes driver calls, later. A wake during a look makes the next one follow at once, as
//            a futex word that has changed does.
#pragma once

#include <functional>

#include "world.h"

namespace ablation {

class Task {
 public:
  Task(World* world, std::function<void()> start) : world_(world), start_(std::move(start)) {}

  void Wake();
  void Finished(TimeNs sleep_ns);  // kNever: until woken
  bool looking() const { return looking_; }

 private:
  void Schedule(TimeNs when);

  World* world_;
  std::function<void()> start_;
  TimeNs due_ = kNever;
  std::uint64_t turn_ = 0;  // a later plan makes an earlier one void
  bool looking_ = false, woken_ = false;
};

}  // namespace ablation

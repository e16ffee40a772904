// fiber.h: a body that can stop in the middle and go on later: a thread that has the baton or
// waits.
//
// Why        The preemptor makes driver calls from deep inside its rounds, and each takes simulated
//            time in which others act. Threads and not ucontext, because sanitizers understand
//            them.
// Threads    exactly one of caller and body runs at any time; Resume returns when the body gives
//            the baton back.
// Ownership  the destructor lets a body that stands in Pause run to the end of its round.
#pragma once

#include <functional>
#include <semaphore>
#include <thread>

namespace ablation {

class Fiber {
 public:
  // `round` is run once for each Start.
  explicit Fiber(std::function<void()> round);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // From outside: begins a round, or continues one; returns when it pauses or is over.
  void Resume();
  // From inside: gives the baton back until the next Resume. False: there will be none.
  bool Pause();
  bool InRound() const { return in_round_; }

 private:
  void Main();

  std::function<void()> round_;
  std::binary_semaphore inside_{0}, outside_{0};
  bool in_round_ = false, stop_ = false;
  std::thread thread_;
};

}  // namespace ablation

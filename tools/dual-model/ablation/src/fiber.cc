#include "fiber.h"

namespace ablation {

Fiber::Fiber(std::function<void()> round) : round_(std::move(round)), thread_([this] { Main(); }) {}

Fiber::~Fiber() {
  stop_ = true;
  inside_.release();
  thread_.join();
}

void Fiber::Main() {
  for (;;) {
    inside_.acquire();
    if (stop_) return;
    in_round_ = true;
    round_();
    in_round_ = false;
    if (stop_) return;
    outside_.release();
  }
}

void Fiber::Resume() {
  inside_.release();
  outside_.acquire();
}

bool Fiber::Pause() {
  if (stop_) return false;
  outside_.release();
  inside_.acquire();
  return !stop_;
}

}  // namespace ablation

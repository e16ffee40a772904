#include "sdma_engine.h"

#include <algorithm>

#include "pacer.h"

namespace virtual_gpu {

SdmaEngine::~SdmaEngine() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void SdmaEngine::Add(SdmaQueue* queue) {
  {
    std::lock_guard lock(mutex_);
    queues_.push_back(queue);
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  }
  changed_.notify_one();
}

void SdmaEngine::Remove(SdmaQueue* queue) {
  std::lock_guard lock(mutex_);
  std::erase(queues_, queue);
}

void SdmaEngine::Run() {
  Pacer::PrepareThread();
  Pacer pacer(clock_->scale());
  for (;;) {
    bool stepped = false, work = false;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || !queues_.empty(); });
      if (stop_) return;
      for (SdmaQueue* queue : queues_) {
        stepped |= queue->Step(clock_->Now());
        work |= queue->HasWork();
      }
    }
    if (!stepped) Pacer::Sleep(pacer.SleepNs(RawNs(), work));
  }
}

}  // namespace virtual_gpu

// sdma_engine.h: the thread that carries out the SDMA queues of one GPU.
//
// Why        A large copy is a long memcpy; on a thread of its own it does not delay the compute
//            queues' events. Exists from the first SDMA queue on.
// Threads    Add, Remove and WithLock from any thread; packets on the engine's own.
// Ownership  queues are borrowed from Add until Remove returns.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "sdma_queue.h"
#include "sim_clock.h"

namespace virtual_gpu {

class SdmaEngine {
 public:
  explicit SdmaEngine(const SimClock* clock) : clock_(clock) {}
  ~SdmaEngine();

  void Add(SdmaQueue* queue);
  void Remove(SdmaQueue* queue);
  template <typename Change>
  void WithLock(const Change& change) {
    std::lock_guard lock(mutex_);
    change();
    changed_.notify_one();
  }

 private:
  void Run();

  const SimClock* const clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SdmaQueue*> queues_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace virtual_gpu

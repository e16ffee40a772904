// mutex.h: a pthread mutex with a scope, because the layer has no C++ runtime library.
//
// Why        Recursive: a signal handler may call exit in the middle of a call of ours, and what runs then on the
//            same thread (Layer::OpenAll, queues that are destroyed) must not wait for the frame that it has
//            interrupted, which never goes on.
// Threads    lock order: layer.h.
#pragma once

#include <pthread.h>
#include <sched.h>

#include <ctime>

namespace xsched_hsa {

// Between two looks at what another thread is about to let go. Only a sleep lets a thread of lower priority run, where
// the caller's scheduling is real-time.
inline void WaitALittle(int looks) {
  if (looks < 64) {
    sched_yield();
    return;
  }
  const timespec pause{0, 100'000};
  nanosleep(&pause, nullptr);
}

class Mutex {
 public:
  void Lock() { pthread_mutex_lock(&mutex_); }
  void Unlock() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_ = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
};

class MutexScope {
 public:
  explicit MutexScope(Mutex* mutex) : mutex_(mutex) { mutex_->Lock(); }
  ~MutexScope() { mutex_->Unlock(); }
  MutexScope(const MutexScope&) = delete;
  MutexScope& operator=(const MutexScope&) = delete;

 private:
  Mutex* mutex_;
};

}  // namespace xsched_hsa

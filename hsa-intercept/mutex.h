// mutex.h: a pthread mutex with a scope, because the layer has no C++ runtime library.
//
// Threads    lock order: layer.h.
#pragma once

#include <pthread.h>

namespace xsched_hsa {

class Mutex {
 public:
  void Lock() { pthread_mutex_lock(&mutex_); }
  void Unlock() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
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

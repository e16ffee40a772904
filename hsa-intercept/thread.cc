#include "thread.h"

#include <pthread.h>

#include <csignal>
#include <cstddef>

namespace xsched_hsa {
namespace {
constexpr std::size_t kStackBytes = 128 * 1024;
}  // namespace

bool StartDetachedThread(void* (*main)(void*), void* argument) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, main, argument);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attributes);
  return error == 0;
}

}  // namespace xsched_hsa

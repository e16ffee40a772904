#include "thread.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace xsched_hsa {
namespace {
constexpr std::size_t kStackBytes = std::size_t{128} * 1024;
constexpr int kNice = -10;
constexpr std::uint64_t kSliceNs = 100'000;

// The kernel's struct sched_attr, first version: linux/sched/types.h can't be had beside pthread.h.
struct ThreadAttributes {
  std::uint32_t size, policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t runtime_ns, deadline_ns, period_ns;
};
static_assert(sizeof(ThreadAttributes) == 48);

struct Start {
  void* (*main)(void*);
  void* argument;
};

// Refusals are no matter. Before Linux 6.12 the slice of an ordinary thread is ignored.
void AskForAPromptStart() {
  const auto thread = static_cast<pid_t>(syscall(SYS_gettid));
  setpriority(PRIO_PROCESS, static_cast<id_t>(thread), kNice);
  ThreadAttributes attributes = {};
  if (syscall(SYS_sched_getattr, thread, &attributes, sizeof(attributes), 0) != 0) return;
  attributes.runtime_ns = kSliceNs;
  syscall(SYS_sched_setattr, thread, &attributes, 0);
}

void* Main(void* argument) {
  const Start start = *static_cast<Start*>(argument);
  std::free(argument);
  AskForAPromptStart();
  return start.main(start.argument);
}
}  // namespace

bool StartDetachedThread(void* (*main)(void*), void* argument) {
  auto* start = static_cast<Start*>(std::malloc(sizeof(Start)));
  if (start == nullptr) return false;
  *start = {main, argument};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, &Main, start);
  if (error != 0) std::free(start);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attributes);
  return error == 0;
}

}  // namespace xsched_hsa

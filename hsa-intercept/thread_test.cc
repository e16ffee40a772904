// What the layer's threads ask of the scheduler, and that the program's own keep what they have.
#include "thread.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <thread>

namespace xsched_hsa {
namespace {

struct Seen {
  int nice = 0;
  std::uint64_t slice_ns = 0;
  bool blocks_signals = false;
  std::atomic<bool> done{false};
};

std::uint64_t SliceNs() {
  std::uint64_t attributes[6] = {};  // struct sched_attr; the fourth word is sched_runtime
  if (syscall(SYS_sched_getattr, 0, attributes, sizeof(attributes), 0) != 0) return 0;
  return attributes[3];
}
int Nice() { return getpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid))); }

void* Look(void* argument) {
  auto* seen = static_cast<Seen*>(argument);
  seen->nice = Nice();
  seen->slice_ns = SliceNs();
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  seen->blocks_signals = sigismember(&blocked, SIGTERM) == 1 && sigismember(&blocked, SIGUSR1) == 1;
  seen->done.store(true);
  return nullptr;
}

bool IsLinux(int major, int minor) {
  utsname name;
  int is_major = 0, is_minor = 0;
  uname(&name);
  std::sscanf(name.release, "%d.%d", &is_major, &is_minor);
  return is_major > major || (is_major == major && is_minor >= minor);
}

// Of a thread of its own: whether the system grants what the layer asks for.
bool MayBeNice() {
  bool may = false;
  std::thread([&may] {
    may = setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), -10) == 0;
  }).join();
  return may;
}

TEST(ThreadTest, AsksForAPromptStartForItselfOnly) {
  const int nice_before = Nice();
  const std::uint64_t slice_before = SliceNs();
  Seen seen;
  ASSERT_TRUE(StartDetachedThread(&Look, &seen));
  for (int i = 0; i < 30'000 && !seen.done.load(); ++i) usleep(1000);
  ASSERT_TRUE(seen.done.load());
  EXPECT_TRUE(seen.blocks_signals);
  EXPECT_EQ(Nice(), nice_before);
  EXPECT_EQ(SliceNs(), slice_before);
  EXPECT_EQ(seen.nice, MayBeNice() ? -10 : nice_before);
  if (IsLinux(6, 12) && slice_before != 0) {
    EXPECT_EQ(seen.slice_ns, 100'000u);
  }
}

}  // namespace
}  // namespace xsched_hsa

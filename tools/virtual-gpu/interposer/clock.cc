// clock.cc: CLOCK_MONOTONIC that stands while the virtual GPU's clock stands, for who asks for it.
//
// Why        The device's clock stands while its model catches up (clock_page.h). What measures how
//            long kernels, driver calls and requests take must not count that: on a device they would
//            not have taken it. VIRTUAL_GPU_CLOCK_FOR names the objects (a shared library's or a
//            program's file name, separated by colons) that read this clock; all others, and all of
//            them where it is not set, read the host's.
// What       clock_gettime(CLOCK_MONOTONIC), and timerfd_settime with an absolute time, which is
//            translated. Relative waits are the host's: they may end before this clock has moved.
// Units      nanoseconds since the device's start, standing excluded, plus kEpochNs, since a program
//            may look back; equal in all processes of a device.
// Threads    any. Once a process reads this clock it does so until its end.
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "next.h"
#include "virtual-gpu/clock_page.h"

namespace virtual_gpu::interposer {
namespace {

constexpr char kObjectsEnv[] = "VIRTUAL_GPU_CLOCK_FOR", kSocketEnv[] = "VIRTUAL_GPU_SOCKET";
constexpr std::int64_t kEpochNs = 1'000'000'000'000, kSecondNs = 1'000'000'000;
// Both set once: names in the environment may change, and asking for them is not free.
const ClockPage* g_page = nullptr;  // null: the host's clock for everybody
char g_objects[256];
pthread_once_t g_once = PTHREAD_ONCE_INIT;

void* g_next_gettime = nullptr;
int HostClock(clockid_t clock, timespec* now) {
  return Next<int (*)(clockid_t, timespec*)>(&g_next_gettime, "clock_gettime")(clock, now);
}

void Begin() {
  const int error = errno;
  const char* objects = getenv(kObjectsEnv);
  const char* socket = getenv(kSocketEnv);
  if (objects == nullptr || *objects == '\0' || socket == nullptr) return;
  if (strlen(objects) >= sizeof(g_objects)) {
    dprintf(STDERR_FILENO,
            "virtual-gpu: %s has more than %zu characters; everybody keeps the host's clock\n",
            kObjectsEnv, sizeof(g_objects) - 1);
  } else {
    strcpy(g_objects, objects);
    g_page = MapClockPage(socket);
  }
  errno = error;
}

bool IsNamed(const char* file) {
  const char* slash = strrchr(file, '/');
  const char* name = slash == nullptr ? file : slash + 1;
  const std::size_t length = strlen(name);
  for (const char* at = g_objects; *at != '\0';) {
    const char* end = strchrnul(at, ':');
    if (static_cast<std::size_t>(end - at) == length && memcmp(at, name, length) == 0) return true;
    at = *end == '\0' ? end : end + 1;
  }
  return false;
}

// The clock's page, if the code at `caller` is to read it.
const ClockPage* PageFor(void* caller) {
  pthread_once(&g_once, &Begin);
  if (g_page == nullptr) return nullptr;
  static const link_map* known = nullptr;  // the last object that was named
  dl_find_object found;
  if (_dl_find_object(caller, &found) != 0) return nullptr;
  if (found.dlfo_link_map == __atomic_load_n(&known, __ATOMIC_RELAXED)) return g_page;
  const char* file = found.dlfo_link_map->l_name;
  if (!IsNamed(*file == '\0' ? program_invocation_name : file)) return nullptr;
  __atomic_store_n(&known, found.dlfo_link_map, __ATOMIC_RELAXED);
  return g_page;
}

std::int64_t Ns(const timespec& time) { return time.tv_sec * kSecondNs + time.tv_nsec; }
timespec TimeOf(std::int64_t ns) { return {ns / kSecondNs, ns % kSecondNs}; }

}  // namespace
}  // namespace virtual_gpu::interposer

using virtual_gpu::ClockPage;
using namespace virtual_gpu::interposer;

extern "C" {

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, timespec* now) noexcept {
  if (clock != CLOCK_MONOTONIC) return HostClock(clock, now);
  const ClockPage* page = PageFor(__builtin_return_address(0));
  if (page == nullptr) return HostClock(clock, now);
  *now = TimeOf(virtual_gpu::ClockPageNow(*page) + kEpochNs);
  return 0;
}

__attribute__((visibility("default"))) int timerfd_settime(int fd, int flags,
                                                           const itimerspec* when,
                                                           itimerspec* before) noexcept {
  static void* next = nullptr;
  const auto function =
      Next<int (*)(int, int, const itimerspec*, itimerspec*)>(&next, "timerfd_settime");
  const ClockPage* page =
      (flags & TFD_TIMER_ABSTIME) != 0 && when != nullptr && Ns(when->it_value) != 0
          ? PageFor(__builtin_return_address(0))
          : nullptr;
  if (page == nullptr) return function(fd, flags, when, before);
  timespec host;
  HostClock(CLOCK_MONOTONIC, &host);
  const std::int64_t left = Ns(when->it_value) - kEpochNs - virtual_gpu::ClockPageNow(*page);
  itimerspec translated = *when;
  translated.it_value = TimeOf(std::max<std::int64_t>(1, Ns(host) + left));
  return function(fd, flags, &translated, before);
}

}  // extern "C"

// clock_page.h: the device's clock, for programs that measure in its time.
//
// Why        A virtual GPU follows the host's clock, slowed by its time scale K. When the model needs
//            more host time than that, simulated time stands until the model has caught up: a slow
//            simulation must look like nothing at all, not like a slow device. A program on the host's
//            clock would see the difference as latency; on this one it does not. What the host does
//            meanwhile is free of charge, as it is everywhere at a time scale above 1, only more so.
// Where      the file `clock` beside the device's socket (VIRTUAL_GPU_SOCKET), mapped read-only. Absent:
//            there is no virtual GPU, or one of another build; use the host's clock.
// Threads    the device process writes `start_raw_ns` before `limit_ns`; a reader loads them the other
//            way round, and looks at the host's clock last: so it never sees time go back.
// Units      host nanoseconds since the device's start, standing excluded; / scale: simulated ones.
#pragma once

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace virtual_gpu {

inline constexpr std::uint32_t kClockPageMagic = 0x4b4c4356;  // "VCLK"
inline constexpr char kClockFileName[] = "clock";
inline constexpr std::int64_t kNoLimitNs = INT64_MAX;

struct ClockPage {
  std::uint32_t magic = kClockPageMagic;
  std::uint32_t bytes = sizeof(ClockPage);
  double scale = 1;
  std::atomic<std::int64_t> start_raw_ns = 0;       // CLOCK_MONOTONIC_RAW, moved on by standing
  std::atomic<std::int64_t> limit_ns = kNoLimitNs;  // time stands here
  std::atomic<std::int64_t> stood_ns = 0;           // so far, and how often
  std::atomic<std::uint64_t> stops = 0;
};

inline std::int64_t RawClockNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC_RAW, &t);
  return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec;
}

template <typename RawNow>
std::int64_t ClockPageNowBy(const ClockPage& page, RawNow raw_now) {
  for (;;) {
    const std::int64_t limit_ns = page.limit_ns.load(std::memory_order_acquire);
    const std::int64_t start_ns = page.start_raw_ns.load(std::memory_order_acquire);
    const std::int64_t now_ns = raw_now() - start_ns;
    // A limit only grows, except that there may be a first one: who was kept from running between the two reads
    // would be past it already.
    if (limit_ns != kNoLimitNs || page.limit_ns.load(std::memory_order_acquire) == kNoLimitNs)
      return std::min(limit_ns, now_ns);
  }
}

inline std::int64_t ClockPageNow(const ClockPage& page) {
  return ClockPageNowBy(page, &RawClockNs);
}

// Of the device whose socket this is; null when there is none. Mapped for the process's life. Needs libc
// only: the interposer maps it, too.
inline const ClockPage* MapClockPage(const char* socket_path) {
  const char* slash = strrchr(socket_path, '/');
  const int folder = slash == nullptr ? 0 : static_cast<int>(slash - socket_path + 1);
  char path[PATH_MAX];
  const int length = snprintf(path, sizeof(path), "%.*s%s", folder, socket_path, kClockFileName);
  if (length < 0 || length >= PATH_MAX) return nullptr;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  struct stat info = {};
  void* at = MAP_FAILED;
  if (fstat(fd, &info) == 0 && info.st_size >= static_cast<off_t>(sizeof(ClockPage))) {
    at = mmap(nullptr, sizeof(ClockPage), PROT_READ, MAP_SHARED, fd, 0);
  }
  close(fd);
  if (at == MAP_FAILED) return nullptr;
  const auto* page = static_cast<const ClockPage*>(at);
  if (page->magic == kClockPageMagic && page->bytes == sizeof(ClockPage)) return page;
  munmap(at, sizeof(ClockPage));
  return nullptr;
}

}  // namespace virtual_gpu

// explored_layer.h: the layer itself, compiled like explored_sources.h, on a driver's list of queues, a device file and
// a controller that are made up. To be included once, in the place of that one. It finds races of the layer's own; what
// ROCr and the driver do is never concluded from it, but tested with ROCr (tests/).
#pragma once

// Whatever the layer's sources include of the system, unchanged, and the test's own.
#include <dirent.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/ioctl.h>
#include <sys/ioctl.h>

#include <optional>
#include <vector>

#include "explored_sources.h"
//

#include "../config.h"
#include "../ext_table.h"
#include "../gate_choice.h"
#include "../kfd_debug_session.h"
#include "../queue_descriptor.h"
#include "../session.h"

namespace explore {

// The driver: ids of queues, the lowest free one first, as KFD gives them.
struct MadeUpDriver {
  static constexpr std::uint32_t kIds = 8;
  struct Entry {
    bool is_there = false, off = false;
    std::uint64_t ring_base = 0;
  };
  Entry entries[kIds];
  std::vector<std::string> texts;  // of open files
  bool is_silent = false;          // nobody may ask it for anything any more
  static inline MadeUpDriver* self;

  std::uint32_t Add(std::uint64_t ring_base) {
    for (std::uint32_t id = 0; id < kIds; ++id) {
      if (entries[id].is_there) continue;
      entries[id] = {true, false, ring_base};
      return id;
    }
    return kIds;
  }
};

inline constexpr std::uint32_t kGpuId = 4711;
inline constexpr std::uint64_t kRingBytes = 64 * 64;
inline constexpr int kFirstText = 100'000;

// One for all worlds, whose layers do not end; a fork child's closes it.
inline int MadeUpKfd() {
  static int fd = -1;
  if (fcntl(fd, F_GETFD) < 0) fd = (open)("/dev/null", O_RDWR | O_CLOEXEC);
  return fd;
}

inline int MadeUpOpen(const char* path, int) {
  Explorer::Point();
  MadeUpDriver& driver = *MadeUpDriver::self;
  if (std::strcmp(path, "/dev/kfd") == 0) return MadeUpKfd();
  std::string text;
  unsigned id = 0;
  char file[32];
  const char* queues = std::strstr(path, "/queues/");
  if (queues != nullptr && std::sscanf(queues, "/queues/%u/%31s", &id, file) == 2) {
    if (id >= MadeUpDriver::kIds || !driver.entries[id].is_there) return errno = ENOENT, -1;
    text = std::strcmp(file, "type") == 0   ? "0"
           : std::strcmp(file, "size") == 0 ? std::to_string(kRingBytes)
                                            : std::to_string(kGpuId);
  } else if (std::strstr(path, "/gpu_id") != nullptr) {
    text = std::to_string(kGpuId);
  } else if (std::strstr(path, "/properties") != nullptr) {
    text =
        "location_id 768\ndomain 0\nsimd_count 320\nsimd_per_cu 4\narray_count 16\n"
        "gfx_target_version 90402\n";
  } else {
    return errno = ENOENT, -1;
  }
  driver.texts.push_back(text);
  return kFirstText + static_cast<int>(driver.texts.size()) - 1;
}
inline ssize_t MadeUpRead(int fd, void* to, std::size_t bytes) {
  std::string& text = MadeUpDriver::self->texts.at(static_cast<std::size_t>(fd - kFirstText));
  const std::size_t count = std::min(bytes, text.size());
  std::memcpy(to, text.data(), count);
  text.erase(0, count);
  return static_cast<ssize_t>(count);
}
inline int MadeUpClose(int fd) { return fd < kFirstText ? (close)(fd) : 0; }
inline int MadeUpAccess(const char*, int) { return 0; }

// A directory that changes while it is read: each step is one of its own.
struct MadeUpDirectory {
  bool of_queues = false;
  std::uint32_t next = 0;
  dirent entry{};
};
inline MadeUpDirectory* MadeUpOpendir(const char* path) {
  return new MadeUpDirectory{std::strstr(path, "/queues") != nullptr, 0, {}};
}
inline const dirent* MadeUpReaddir(MadeUpDirectory* directory) {
  Explorer::Point();
  const std::uint32_t end = directory->of_queues ? MadeUpDriver::kIds : 1;
  while (directory->next < end) {
    const std::uint32_t id = directory->next++;
    if (directory->of_queues && !MadeUpDriver::self->entries[id].is_there) continue;
    std::snprintf(directory->entry.d_name, sizeof(directory->entry.d_name), "%u", id);
    return &directory->entry;
  }
  return nullptr;
}
inline int MadeUpClosedir(MadeUpDirectory* directory) { return delete directory, 0; }

// UPDATE_QUEUE: of a queue that is there, with that one's own ring.
struct UpdateArgs {
  std::uint64_t ring_base;
  std::uint32_t id, ring_bytes, percentage, priority;
};
inline int MadeUpIoctl(int, unsigned long request, void* argument) {
  Explorer::Point();
  MadeUpDriver& driver = *MadeUpDriver::self;
  const auto& args = *static_cast<const UpdateArgs*>(argument);
  if (request != 0x40184b07) return errno = ENOTTY, -1;
  if (driver.is_silent) Explorer::active->Fail("a fork child asks the driver");
  if (args.id >= MadeUpDriver::kIds || !driver.entries[args.id].is_there) {
    Explorer::active->Fail("the driver is asked for a queue that has gone");
    return errno = EFAULT, -1;
  }
  if (driver.entries[args.id].ring_base != args.ring_base) {
    Explorer::active->Fail("the driver is asked for somebody else's queue");
  }
  driver.entries[args.id].off = args.percentage == 0;
  return 0;
}

// A thread of ours, as far as the scenario has any.
enum LayersThread : std::uint32_t { kPump = 1, kPreemptor = 2, kSession = 4 };
struct Started {
  void* (*main)(void*);
  void* argument;
};
inline std::vector<Started> g_started;
inline std::uint32_t g_threads_wanted = 0;

// All threads of the explorer are one thread.
inline std::uint64_t MadeUpSelf() {
  return Explorer::active != nullptr ? static_cast<std::uint64_t>(Explorer::active->current() + 2)
                                     : 1;
}

}  // namespace explore

namespace xsched_hsa {

// A controller that is there and takes its time; and its end, when the scenario says so.
struct MadeUpController {
  ProcessPage* pages[2] = {};  // one a session
  UserPage* user_page = nullptr;
  std::uint32_t joined = 0, left = 0;
  std::uint64_t answers_after_ns = 0;
  bool hung_up = false;
  static inline MadeUpController* self;
};
inline bool MadeUpConnect(const Config&, const RuntimeVersion&, SessionLink* link, char* why,
                          std::uint32_t) {
  MadeUpController& controller = *MadeUpController::self;
  why[0] = '\0';
  explore::Explorer* const explorer = explore::Explorer::active;
  if (explorer != nullptr && explorer->current() >= 0) {
    explorer->WaitUntil([] { return false; }, controller.answers_after_ns);
  }
  if (controller.joined == 2) return false;
  link->process_page = controller.pages[controller.joined++];
  link->user_page = controller.user_page;
  return true;
}
inline void MadeUpWaitForHangup(const SessionLink&) {
  explore::Explorer::active->WaitUntil([] { return MadeUpController::self->hung_up; });
  MadeUpController::self->hung_up = false;
}
inline void MadeUpDisconnect(SessionLink* link) {
  if (link->process_page != nullptr) ++MadeUpController::self->left;
  *link = SessionLink{};
}
inline void ReadConfig(Config* config) { *config = Config{}; }
inline void FindSocketPath(char*, std::uint32_t) {}

}  // namespace xsched_hsa

#define open(...) explore::MadeUpOpen(__VA_ARGS__)
#define access(...) explore::MadeUpAccess(__VA_ARGS__)
#define close(...) explore::MadeUpClose(__VA_ARGS__)
#define read explored_read
#define opendir(...) explore::MadeUpOpendir(__VA_ARGS__)
#define readdir(...) explore::MadeUpReaddir(__VA_ARGS__)
#define closedir(...) explore::MadeUpClosedir(__VA_ARGS__)
#define ioctl(...) explore::MadeUpIoctl(__VA_ARGS__)
#define DIR explore::MadeUpDirectory
#define pthread_self() explore::MadeUpSelf()
#define dladdr(...) 0
#define Connect MadeUpConnect
#define WaitForHangup MadeUpWaitForHangup
#define Disconnect MadeUpDisconnect

inline ssize_t explored_read(int fd, void* to, std::size_t bytes) {
  return explore::MadeUpRead(fd, to, bytes);
}

// NOLINTBEGIN(bugprone-suspicious-include): on purpose.
#include "../gate_choice.cc"
#include "../kfd_access.cc"
#define Call DebugCall
#define kTriesMax kDebugTriesMax
#include "../kfd_debug_session.cc"
#undef Call
#undef kTriesMax
#include "../layer.cc"
#include "../layer_api.cc"
#include "../layer_chain.cc"
#include "../layer_queues.cc"
#include "../layer_session.cc"
#include "../requests.cc"
// A pool that is soon full, and is soon gone through.
#define kQueuesMax 3u
#include "../queue_errors.cc"
#undef kQueuesMax
// NOLINTEND(bugprone-suspicious-include)

#undef open
#undef access
#undef close
#undef read
#undef opendir
#undef readdir
#undef closedir
#undef ioctl
#undef DIR
#undef pthread_self
#undef dladdr
#undef Connect
#undef WaitForHangup
#undef Disconnect

#include "kfd_debug_session.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa {
namespace {

// ABI, as in kfd_access.cc.
struct RuntimeEnableArgs {
  std::uint64_t r_debug;
  std::uint32_t mode_mask, capabilities_mask;
};
struct DebugHeader {
  std::uint32_t pid, op;
};
struct EnableArgs {
  DebugHeader header;
  std::uint64_t exception_mask, info;
  std::uint32_t info_bytes, event_fd;
};
struct SuspendArgs {
  DebugHeader header;
  std::uint64_t exception_mask, ids;
  std::uint32_t count, grace_period;
};
struct ResumeArgs {
  DebugHeader header;
  std::uint64_t ids;
  std::uint32_t count, padding;
  std::uint64_t unused;
};
struct SnapshotArgs {
  DebugHeader header;
  std::uint64_t exception_mask, entries;
  std::uint32_t count, entry_bytes;
};
struct SnapshotEntry {
  std::uint64_t words[8];
};
constexpr unsigned long kRuntimeEnable = _IOWR('K', 0x25, RuntimeEnableArgs);
constexpr unsigned long kDebugTrap = _IOWR('K', 0x26, SuspendArgs);
static_assert(kRuntimeEnable == 0xc0104b25 && kDebugTrap == 0xc0204b26);
static_assert(sizeof(EnableArgs) == 32 && sizeof(ResumeArgs) == 32 && sizeof(SnapshotArgs) == 32);

enum Op : std::uint32_t { kEnable = 0, kSuspendQueues = 6, kResumeQueues = 7, kSnapshot = 13 };
constexpr std::uint32_t kRuntimeOn = 1;
constexpr std::uint64_t kQueueNew = std::uint64_t{1} << 30;  // KFD_EC_MASK(EC_QUEUE_NEW)
constexpr std::uint32_t kMarks = 0xc0000000;  // KFD_DBG_QUEUE_ERROR_MASK | _INVALID_MASK
constexpr int kTriesMax = 64;

DebugHeader Myself(Op op) { return {static_cast<std::uint32_t>(getpid()), op}; }

// What the ioctl returns, or minus errno.
int Call(int fd, unsigned long request, void* args) {
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const int result = ioctl(fd, request, args);
    if (result >= 0) return result;
    if (errno != EINTR && errno != EAGAIN) break;
  }
  return -errno;
}

}  // namespace

std::int32_t TracerPid(const char* root) {
  char path[256], text[4096];
  std::snprintf(path, sizeof(path), "%s/proc/self/status", root);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t got = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (got <= 0) return 0;
  text[got] = '\0';
  const char* line = std::strstr(text, "\nTracerPid:");
  return line != nullptr ? static_cast<std::int32_t>(std::strtol(line + 11, nullptr, 10)) : 0;
}

int KfdDebugSession::Begin(int fd) {
  if (TracerPid("") != 0) return EBUSY;
  RuntimeEnableArgs runtime{0, kRuntimeOn, 0};
  const int enabled = Call(fd, kRuntimeEnable, &runtime);
  if (enabled < 0 && enabled != -EBUSY) return -enabled;  // EBUSY: ROCr has done it
  // The driver wants somewhere to report to; nothing is asked for, so nothing comes.
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return errno;
  std::uint64_t info[2] = {};
  EnableArgs enable{Myself(kEnable), 0, reinterpret_cast<std::uint64_t>(info), sizeof(info),
                    static_cast<std::uint32_t>(ends[1])};
  const int begun = Call(fd, kDebugTrap, &enable);
  close(ends[0]);
  close(ends[1]);
  if (begun < 0) return -begun;
  fd_ = fd;
  on_ = true;
  return 0;
}

// A queue that the debugger has not seen yet is refused.
int KfdDebugSession::AcceptNewQueues() {
  static SnapshotEntry entries[kQueuesMax];  // one call at a time
  SnapshotArgs args{Myself(kSnapshot), kQueueNew, reinterpret_cast<std::uint64_t>(entries),
                    kQueuesMax, sizeof(SnapshotEntry)};
  return -Call(fd_, kDebugTrap, &args);
}

int KfdDebugSession::Change(std::uint32_t op, const std::uint32_t* ids, std::uint32_t count) {
  std::uint32_t marked[kQueuesMax];
  if (!on_ || count == 0 || count > kQueuesMax) return EINVAL;
  std::memcpy(marked, ids, count * sizeof(*ids));
  const auto at = reinterpret_cast<std::uint64_t>(marked);
  SuspendArgs suspend{Myself(kSuspendQueues), 0, at, count, 0};
  ResumeArgs resume{Myself(kResumeQueues), at, count, 0, 0};
  void* args = op == kSuspendQueues ? static_cast<void*>(&suspend) : &resume;
  const int changed = Call(fd_, kDebugTrap, args);
  if (changed < 0) return -changed;
  for (std::uint32_t i = 0; i < count; ++i) {
    if ((marked[i] & kMarks) != 0) return ENODEV;
  }
  return 0;
}

int KfdDebugSession::Suspend(const std::uint32_t* ids, std::uint32_t count) {
  if (!on_) return EINVAL;
  if (const int error = AcceptNewQueues(); error != 0) return error;
  return Change(kSuspendQueues, ids, count);
}

int KfdDebugSession::Resume(const std::uint32_t* ids, std::uint32_t count) {
  return Change(kResumeQueues, ids, count);
}

}  // namespace xsched_hsa

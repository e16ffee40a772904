// hooks.cc: the libc functions that libvirtual-gpu.so replaces: opening and ioctl.
//
// Why        Every exported symbol is here and in hooks_stat.cc, one line of logic each;
//            exports.map lists them. Anything that is not the virtual GPU's goes to the next
//            definition.
// Threads    any; before constructors; in a fork child.
// Errors     libc's contract: -1 or null, and errno.

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client.h"
#include "ioctls.h"
#include "next.h"
#include "redirect.h"

namespace virtual_gpu::interposer {
namespace {

// Kernel and DRM ioctl types of the two nodes.
constexpr unsigned kKfdType = 'K';
constexpr unsigned kDrmType = 'd';

bool NeedsMode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

// Redirect, and what is to be shown is made.
const char* Prepare(const char* path, char (&buffer)[PATH_MAX]) {
  const char* target = Redirect(path, buffer);
  if (target != path && ShowsTheMoment(path)) RefreshFile(path);
  return target;
}

// A KFD file that is not modelled: the device process names it.
void Missed(const char* path, const char* target) {
  if (target != path && errno == ENOENT && IsTopologyPath(path)) RefreshFile(path);
}

// The descriptor of a virtual node in *fd, when `path` is one.
bool OpenDevice(const char* path, int flags, int* fd) {
  unsigned minor = 0;
  switch (DeviceNode(path, &minor)) {
    case Node::kKfd:
      *fd = OpenKfd(flags);
      return true;
    case Node::kRender:
      *fd = OpenRenderNode(minor, flags);
      return true;
    case Node::kNone:
      break;
  }
  return false;
}

using OpenFn = int (*)(const char*, int, ...);
using OpenAtFn = int (*)(int, const char*, int, ...);

int OpenVia(const char* name, void** slot, const char* path, int flags, unsigned mode) {
  int fd = -1;
  if (OpenDevice(path, flags, &fd)) return fd;
  char buffer[PATH_MAX];
  const char* target = Prepare(path, buffer);
  fd = Next<OpenFn>(slot, name)(target, flags, mode);
  if (fd < 0) Missed(path, target);
  return fd;
}

int OpenAtVia(const char* name, void** slot, int directory, const char* path, int flags,
              unsigned mode) {
  int fd = -1;
  if (OpenDevice(path, flags, &fd)) return fd;
  char buffer[PATH_MAX];
  const auto real = Next<OpenAtFn>(slot, name);
  fd = real(directory, Prepare(path, buffer), flags, mode);
  if (fd >= 0 || errno != ENOENT) return fd;
  // Relative to a real directory above one of ours, /sys/class for instance.
  const char* target = RedirectAt(directory, path, buffer);
  if (target != nullptr) return real(AT_FDCWD, target, flags, mode);
  errno = ENOENT;
  return -1;
}

// Only environment: no socket, no thread, nothing that a host program could notice.
__attribute__((constructor)) void SetEnvironment() {
  if (!Active()) return;
  // The thunk then takes rings, signals and kernargs from memory that the device process sees too.
  setenv("HSA_USERPTR_FOR_PAGED_MEM", "0", 0);
}

}  // namespace
}  // namespace virtual_gpu::interposer

using namespace virtual_gpu::interposer;

extern "C" {

#define VG_EXPORT __attribute__((visibility("default")))
#define VG_MODE(flags, last)            \
  unsigned mode = 0;                    \
  if (NeedsMode(flags)) {               \
    va_list arguments;                  \
    va_start(arguments, last);          \
    mode = va_arg(arguments, unsigned); \
    va_end(arguments);                  \
  }

VG_EXPORT int open(const char* path, int flags, ...) {
  static void* next;
  VG_MODE(flags, flags)
  return OpenVia("open", &next, path, flags, mode);
}
VG_EXPORT int open64(const char* path, int flags, ...) {
  static void* next;
  VG_MODE(flags, flags)
  return OpenVia("open64", &next, path, flags, mode);
}
VG_EXPORT int openat(int directory, const char* path, int flags, ...) {
  static void* next;
  VG_MODE(flags, flags)
  return OpenAtVia("openat", &next, directory, path, flags, mode);
}
VG_EXPORT int openat64(int directory, const char* path, int flags, ...) {
  static void* next;
  VG_MODE(flags, flags)
  return OpenAtVia("openat64", &next, directory, path, flags, mode);
}
// The fortified forms; they take no mode.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): glibc's own names
VG_EXPORT int __open_2(const char* path, int flags) {
  static void* next;
  return OpenVia("open", &next, path, flags, 0);
}
VG_EXPORT int __open64_2(const char* path, int flags) {
  static void* next;
  return OpenVia("open64", &next, path, flags, 0);
}
VG_EXPORT int __openat_2(int directory, const char* path, int flags) {
  static void* next;
  return OpenAtVia("openat", &next, directory, path, flags, 0);
}
VG_EXPORT int __openat64_2(int directory, const char* path, int flags) {
  static void* next;
  return OpenAtVia("openat64", &next, directory, path, flags, 0);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

VG_EXPORT FILE* fopen(const char* path, const char* mode) {
  static void* next;
  char buffer[PATH_MAX];
  const char* target = Prepare(path, buffer);
  FILE* file = Next<FILE* (*)(const char*, const char*)>(&next, "fopen")(target, mode);
  if (file == nullptr) Missed(path, target);
  return file;
}
VG_EXPORT FILE* fopen64(const char* path, const char* mode) {
  static void* next;
  char buffer[PATH_MAX];
  const char* target = Prepare(path, buffer);
  FILE* file = Next<FILE* (*)(const char*, const char*)>(&next, "fopen64")(target, mode);
  if (file == nullptr) Missed(path, target);
  return file;
}
VG_EXPORT DIR* opendir(const char* path) {
  static void* next;
  char buffer[PATH_MAX];
  return Next<DIR* (*)(const char*)>(&next, "opendir")(Redirect(path, buffer));
}

VG_EXPORT int ioctl(int fd, unsigned long request, ...) {
  static void* next;
  va_list arguments;
  va_start(arguments, request);
  void* arg = va_arg(arguments, void*);
  va_end(arguments);
  const unsigned type = _IOC_TYPE(request);
  if (type == kKfdType || type == kDrmType) {
    unsigned gpu = 0;
    switch (Classify(fd, &gpu)) {
      case FdKind::kKfd:
        if (type == kKfdType) return KfdIoctl(request, arg);
        errno = ENOTTY;
        return -1;
      case FdKind::kStaleKfd:  // as KFD: the descriptor belongs to the parent
        errno = EBADF;
        return -1;
      case FdKind::kRender:
        return DrmIoctl(gpu, request, arg);
      case FdKind::kOther:
        break;
    }
  }
  return Next<int (*)(int, unsigned long, ...)>(&next, "ioctl")(fd, request, arg);
}

}  // extern "C"

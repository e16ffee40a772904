// hooks_stat.cc: the libc functions that libvirtual-gpu.so replaces: asking about files.
//
// Why        libdrm accepts a render node only if fstat says "character device 226:N" and looks the
//            device up below /sys/dev/char; see hooks.cc for the rest of the contract.

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "client.h"
#include "next.h"
#include "redirect.h"

namespace virtual_gpu::interposer {
namespace {

constexpr unsigned kDrmMajorNumber = 226;
constexpr unsigned kKfdMajorNumber = 511;  // dynamic on a real machine; nothing depends on it

static_assert(sizeof(struct stat) == sizeof(struct stat64), "x86-64: one layout");

void MakeCharacterDevice(struct stat* info, unsigned major_number, unsigned minor_number) {
  info->st_mode = S_IFCHR | 0666;
  info->st_rdev = makedev(major_number, minor_number);
  info->st_size = 0;
}

void PatchByPath(const char* path, struct stat* info) {
  unsigned minor_number = 0;
  const Node node = DeviceNode(path, &minor_number);
  if (node == Node::kKfd) MakeCharacterDevice(info, kKfdMajorNumber, 0);
  if (node == Node::kRender) MakeCharacterDevice(info, kDrmMajorNumber, minor_number);
}

void PatchByInode(struct stat* info) {
  unsigned gpu = 0;
  const FdKind kind = ClassifyInode(info->st_dev, info->st_ino, &gpu);
  if (kind == FdKind::kKfd) MakeCharacterDevice(info, kKfdMajorNumber, 0);
  if (kind == FdKind::kRender) {
    MakeCharacterDevice(info, kDrmMajorNumber, FirstRenderMinor() + gpu);
  }
}

using StatFn = int (*)(const char*, struct stat*);
using FstatFn = int (*)(int, struct stat*);
using FstatAtFn = int (*)(int, const char*, struct stat*, int);
using XstatFn = int (*)(int, const char*, struct stat*);
using FxstatFn = int (*)(int, int, struct stat*);

int StatVia(const char* name, void** slot, const char* path, struct stat* info) {
  char buffer[PATH_MAX];
  const int rc = Next<StatFn>(slot, name)(Redirect(path, buffer), info);
  if (rc == 0) PatchByPath(path, info);
  return rc;
}

int XstatVia(const char* name, void** slot, int version, const char* path, struct stat* info) {
  char buffer[PATH_MAX];
  const int rc = Next<XstatFn>(slot, name)(version, Redirect(path, buffer), info);
  if (rc == 0) PatchByPath(path, info);
  return rc;
}

int FstatVia(const char* name, void** slot, int fd, struct stat* info) {
  const int rc = Next<FstatFn>(slot, name)(fd, info);
  if (rc == 0) PatchByInode(info);
  return rc;
}

int FstatAtVia(const char* name, void** slot, int directory, const char* path, struct stat* info,
               int flags) {
  char buffer[PATH_MAX];
  const auto real = Next<FstatAtFn>(slot, name);
  int rc = real(directory, Redirect(path, buffer), info, flags);
  if (rc != 0 && errno == ENOENT) {
    const char* target = RedirectAt(directory, path, buffer);
    if (target != nullptr) rc = real(AT_FDCWD, target, info, flags);
    if (target == nullptr) errno = ENOENT;
  }
  if (rc != 0) return rc;
  if (path != nullptr && path[0] == '\0') {
    PatchByInode(info);
  } else {
    PatchByPath(path, info);
  }
  return rc;
}

struct stat* Plain(struct stat64* info) {
  return reinterpret_cast<struct stat*>(info);
}

}  // namespace
}  // namespace virtual_gpu::interposer

using namespace virtual_gpu::interposer;

extern "C" {

#define VG_EXPORT __attribute__((visibility("default")))

VG_EXPORT int stat(const char* path, struct stat* info) {
  static void* next;
  return StatVia("stat", &next, path, info);
}
VG_EXPORT int stat64(const char* path, struct stat64* info) {
  static void* next;
  return StatVia("stat64", &next, path, Plain(info));
}
VG_EXPORT int lstat(const char* path, struct stat* info) {
  static void* next;
  return StatVia("lstat", &next, path, info);
}
VG_EXPORT int lstat64(const char* path, struct stat64* info) {
  static void* next;
  return StatVia("lstat64", &next, path, Plain(info));
}
VG_EXPORT int fstat(int fd, struct stat* info) {
  static void* next;
  return FstatVia("fstat", &next, fd, info);
}
VG_EXPORT int fstat64(int fd, struct stat64* info) {
  static void* next;
  return FstatVia("fstat64", &next, fd, Plain(info));
}
VG_EXPORT int fstatat(int directory, const char* path, struct stat* info, int flags) {
  static void* next;
  return FstatAtVia("fstatat", &next, directory, path, info, flags);
}
VG_EXPORT int fstatat64(int directory, const char* path, struct stat64* info, int flags) {
  static void* next;
  return FstatAtVia("fstatat64", &next, directory, path, Plain(info), flags);
}

// What programs built against glibc before 2.33 call.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): glibc's own names
VG_EXPORT int __xstat(int version, const char* path, struct stat* info) {
  static void* next;
  return XstatVia("__xstat", &next, version, path, info);
}
VG_EXPORT int __xstat64(int version, const char* path, struct stat64* info) {
  static void* next;
  return XstatVia("__xstat64", &next, version, path, Plain(info));
}
VG_EXPORT int __lxstat(int version, const char* path, struct stat* info) {
  static void* next;
  return XstatVia("__lxstat", &next, version, path, info);
}
VG_EXPORT int __lxstat64(int version, const char* path, struct stat64* info) {
  static void* next;
  return XstatVia("__lxstat64", &next, version, path, Plain(info));
}
VG_EXPORT int __fxstat(int version, int fd, struct stat* info) {
  static void* next;
  const int rc = Next<FxstatFn>(&next, "__fxstat")(version, fd, info);
  if (rc == 0) PatchByInode(info);
  return rc;
}
VG_EXPORT int __fxstat64(int version, int fd, struct stat64* info) {
  static void* next;
  const int rc = Next<FxstatFn>(&next, "__fxstat64")(version, fd, Plain(info));
  if (rc == 0) PatchByInode(Plain(info));
  return rc;
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

VG_EXPORT int access(const char* path, int mode) {
  static void* next;
  char buffer[PATH_MAX];
  return Next<int (*)(const char*, int)>(&next, "access")(Redirect(path, buffer), mode);
}
VG_EXPORT int faccessat(int directory, const char* path, int mode, int flags) {
  static void* next;
  char buffer[PATH_MAX];
  return Next<int (*)(int, const char*, int, int)>(&next, "faccessat")(
      directory, Redirect(path, buffer), mode, flags);
}
VG_EXPORT ssize_t readlink(const char* path, char* target, size_t bytes) {
  static void* next;
  char buffer[PATH_MAX];
  return Next<ssize_t (*)(const char*, char*, size_t)>(&next, "readlink")(Redirect(path, buffer),
                                                                          target, bytes);
}
// A redirected path resolves to itself: callers compare and print it, and come back with it.
VG_EXPORT char* realpath(const char* path, char* resolved) {
  static void* next;
  const auto real = Next<char* (*)(const char*, char*)>(&next, "realpath");
  char buffer[PATH_MAX];
  if (Redirect(path, buffer) == path) return real(path, resolved);
  char* found = real(buffer, nullptr);
  if (found == nullptr) return nullptr;
  const size_t root_bytes = strlen(RootDirectory());
  const bool inside = strncmp(found, RootDirectory(), root_bytes) == 0;
  const char* answer = inside ? found + root_bytes : found;
  if (resolved == nullptr) {
    resolved = strdup(answer);
  } else {
    memcpy(resolved, answer, strlen(answer) + 1);
  }
  free(found);
  return resolved;
}

}  // extern "C"

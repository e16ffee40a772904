#include "redirect.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>

#include "client.h"

namespace virtual_gpu::interposer {
namespace {

struct Prefix {
  const char* text;
  bool whole_component;  // the prefix must end at '/' or at the path's end
};
constexpr Prefix kPrefixes[] = {
    {"/sys/devices/virtual/kfd", true},
    {"/sys/class/kfd", true},
    {"/sys/kernel/debug/kfd", true},
    {"/sys/dev/char/226:", false},
    {"/sys/module/amdgpu", true},
    {"/sys/class/drm", true},
    {"/proc/modules", true},
    {"/dev/kfd", true},
    {"/dev/dri", true},
    {"/usr/share/libdrm/amdgpu.ids", true},
};
constexpr char kRenderPrefix[] = "/dev/dri/renderD";

}  // namespace

const char* Redirect(const char* path, char (&buffer)[PATH_MAX]) {
  if (path == nullptr || path[0] != '/' || !Active()) return path;
  for (const Prefix& prefix : kPrefixes) {
    const size_t bytes = strlen(prefix.text);
    if (strncmp(path, prefix.text, bytes) != 0) continue;
    if (prefix.whole_component && path[bytes] != '\0' && path[bytes] != '/') continue;
    const int written = snprintf(buffer, sizeof(buffer), "%s%s", RootDirectory(), path);
    return written < static_cast<int>(sizeof(buffer)) ? buffer : path;
  }
  return path;
}

const char* RedirectAt(int directory, const char* path, char (&buffer)[PATH_MAX]) {
  if (path == nullptr || path[0] == '/' || path[0] == '\0' || !Active()) return nullptr;
  char link[64], joined[PATH_MAX];
  if (directory == AT_FDCWD) {
    snprintf(link, sizeof(link), "/proc/self/cwd");
  } else {
    snprintf(link, sizeof(link), "/proc/self/fd/%d", directory);
  }
  const long bytes = syscall(SYS_readlink, link, joined, sizeof(joined) - 1);
  if (bytes <= 0) return nullptr;
  const size_t at = static_cast<size_t>(bytes);
  const char* slash = joined[at - 1] == '/' ? "" : "/";
  const size_t room = sizeof(joined) - at;
  if (snprintf(joined + at, room, "%s%s", slash, path) >= static_cast<int>(room)) return nullptr;
  return Redirect(joined, buffer) == joined ? nullptr : buffer;
}

bool ShowsTheMoment(const char* path) {
  if (path == nullptr || path[0] != '/') return false;
  if (strncmp(path, "/sys/kernel/debug/kfd/", 22) == 0) return true;
  const char* proc = strstr(path, "/kfd/proc/");
  if (proc == nullptr || strstr(path, "/queues") != nullptr) return false;
  for (const char* name : {"/vram_", "/sdma_", "/stats_"}) {
    if (strstr(proc, name) != nullptr) return true;
  }
  return false;
}

bool IsTopologyPath(const char* path) {
  return path != nullptr && strstr(path, "/kfd/") != nullptr && path[1] == 's' &&
         strstr(path, "/kfd/proc/") == nullptr;
}

Node DeviceNode(const char* path, unsigned* minor) {
  if (path == nullptr || path[0] != '/' || !Active()) return Node::kNone;
  if (strcmp(path, "/dev/kfd") == 0) return Node::kKfd;
  constexpr size_t kBytes = sizeof(kRenderPrefix) - 1;
  if (strncmp(path, kRenderPrefix, kBytes) != 0) return Node::kNone;
  char* end = nullptr;
  const unsigned long value = strtoul(path + kBytes, &end, 10);
  if (end == path + kBytes || *end != '\0' || value > 4095) return Node::kNone;
  *minor = static_cast<unsigned>(value);
  return Node::kRender;
}

}  // namespace virtual_gpu::interposer

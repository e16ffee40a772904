#include "socket_path.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "queue-ctl/client.h"

namespace xsched_hsa {
namespace {

constexpr char kSystemSocket[] = "/run/xsched-hsa/control.sock";

std::string UserSocketPath() {
  const char* runtime_dir = std::getenv("XDG_RUNTIME_DIR");
  if (runtime_dir != nullptr && runtime_dir[0] == '/') {
    return std::string(runtime_dir) + "/xsched-hsa/control.sock";
  }
  return "/tmp/xsched-hsa-" + std::to_string(geteuid()) + "/control.sock";
}

const char* SocketFromEnvironment() {
  const char* path = std::getenv("XSCHED_HSA_SOCKET");
  return path != nullptr && path[0] != '\0' ? path : nullptr;
}

}  // namespace

bool FillAddress(const std::string& path, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address->sun_path) return false;
  std::memcpy(address->sun_path, path.data(), path.size());
  return true;
}

std::string DefaultSocketPath() {
  if (const char* path = SocketFromEnvironment()) return path;
  if (access(kSystemSocket, F_OK) == 0) return kSystemSocket;
  return UserSocketPath();
}

std::string ControllerSocketPath() {
  if (const char* path = SocketFromEnvironment()) return path;
  return geteuid() == 0 ? kSystemSocket : DefaultSocketPath();
}

std::string PrepareSocketDirectory(const std::string& socket_path) {
  const std::size_t slash = socket_path.rfind('/');
  if (slash == std::string::npos || slash == 0) return {};
  const std::string directory = socket_path.substr(0, slash);
  const mode_t mode = geteuid() == 0 ? 0755 : 0700;
  if (mkdir(directory.c_str(), mode) != 0 && errno != EEXIST) {
    return "cannot make " + directory + ": " + std::strerror(errno) + "; give another --socket";
  }
  struct stat status;
  if (lstat(directory.c_str(), &status) != 0) {
    return "cannot look at " + directory + ": " + std::strerror(errno) + "; give another --socket";
  }
  if (S_ISLNK(status.st_mode) && stat(directory.c_str(), &status) != 0) {
    return "cannot look at " + directory + ": " + std::strerror(errno) + "; give another --socket";
  }
  if (!S_ISDIR(status.st_mode)) return directory + " is not a directory; give another --socket";
  const bool trusted_owner = status.st_uid == 0 || status.st_uid == geteuid();
  const bool others_write = (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  if (!trusted_owner || (others_write && (status.st_mode & S_ISVTX) == 0)) {
    return directory + " can be written by other users, who could take the socket's place; " +
           "give a --socket in a directory of your own";
  }
  return {};
}

}  // namespace xsched_hsa

#include "device_client.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace virtual_gpu::cli {

DeviceClient::~DeviceClient() {
  if (fd_ >= 0) close(fd_);
}

bool DeviceClient::Connect(const std::filesystem::path& socket_path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = socket_path;
  if (path.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    close(fd);
    return false;
  }
  fd_ = fd;
  return true;
}

bool DeviceClient::Call(rpc::Kind kind, std::uint32_t number, void* arg, std::uint32_t arg_bytes,
                        int* fd) {
  rpc::RequestHeader header;
  header.kind = kind;
  header.number = number;
  header.arg_bytes = arg_bytes;
  iovec out_parts[2] = {{&header, sizeof(header)}, {arg, arg_bytes}};
  msghdr out = {};
  out.msg_iov = out_parts;
  out.msg_iovlen = 2;
  if (sendmsg(fd_, &out, MSG_NOSIGNAL) < 0) return false;

  rpc::ReplyHeader reply;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  iovec in_parts[2] = {{&reply, sizeof(reply)}, {arg, arg_bytes}};
  msghdr in = {};
  in.msg_iov = in_parts;
  in.msg_iovlen = 2;
  in.msg_control = control;
  in.msg_controllen = sizeof(control);
  ssize_t got;
  do {
    got = recvmsg(fd_, &in, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < static_cast<ssize_t>(sizeof(reply)) || reply.error != 0) return false;
  const cmsghdr* rights = CMSG_FIRSTHDR(&in);
  if (fd != nullptr && rights != nullptr && rights->cmsg_type == SCM_RIGHTS) {
    std::memcpy(fd, CMSG_DATA(rights), sizeof(*fd));
  }
  return true;
}

bool DeviceClient::Watch(rpc::HelloReply* description) {
  return Call(rpc::Kind::kWatch, 0, description, sizeof(*description), nullptr);
}

bool DeviceClient::Stats(bool with_cus, std::string* json) {
  int fd = -1;
  if (!Call(rpc::Kind::kStats, with_cus ? 1 : 0, nullptr, 0, &fd) || fd < 0) return false;
  char buffer[4096];
  off_t at = 0;
  for (ssize_t got; (got = pread(fd, buffer, sizeof(buffer), at)) > 0; at += got) {
    json->append(buffer, static_cast<std::size_t>(got));
  }
  close(fd);
  return true;
}

bool DeviceClient::ArmFault(const std::string& fault, std::string* error) {
  char arg[rpc::kArgBytesMax] = {};
  fault.copy(arg, sizeof(arg) - 1);
  if (Call(rpc::Kind::kFault, 0, arg, sizeof(arg), nullptr)) return true;
  *error = fault == arg ? "the device process hung up" : arg;
  return false;
}

bool DeviceClient::Shutdown() { return Call(rpc::Kind::kShutdown, 0, nullptr, 0, nullptr); }

bool DeviceClient::WaitForEnd(int timeout_ms) {
  pollfd wait = {fd_, POLLIN, 0};
  return poll(&wait, 1, timeout_ms) == 1;
}

bool ValidDeviceName(const std::string& name) {
  constexpr std::size_t kNameMax = 32;
  if (name.empty() || name.size() > kNameMax || name[0] == '.') return false;
  return name.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
         std::string::npos;
}

std::filesystem::path DeviceDirectory(const std::string& name) {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const bool usable = runtime != nullptr && *runtime == '/' && access(runtime, W_OK) == 0;
  const std::filesystem::path base = usable ? runtime : "/tmp";
  return base / ("virtual-gpu-" + std::to_string(getuid())) / name;
}

}  // namespace virtual_gpu::cli

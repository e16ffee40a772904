#include "connection.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>

namespace virtual_gpu {

Connection::~Connection() { close(fd_); }

void Connection::Reply(int error, std::span<const std::byte> arg,
                       std::span<const std::byte> payload, std::span<const int> fds) const {
  rpc::ReplyHeader header;
  header.error = error;
  header.arg_bytes = static_cast<std::uint32_t>(arg.size());
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  iovec parts[3] = {
      {&header, sizeof(header)},
      {const_cast<std::byte*>(arg.data()), arg.size()},
      {const_cast<std::byte*>(payload.data()), payload.size()},
  };
  msghdr out = {};
  out.msg_iov = parts;
  out.msg_iovlen = 3;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * (1 + rpc::kGpusMax))] = {};
  if (!fds.empty()) {
    out.msg_control = control;
    out.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&out);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  // The peer waits for this reply, so its buffer has room; if it has gone there is nobody to tell.
  const ssize_t sent = sendmsg(fd_, &out, MSG_NOSIGNAL | MSG_DONTWAIT);
  (void)sent;
}

}  // namespace virtual_gpu

// connection.h: one accepted socket: replies, and who is at the other end.
//
// Why        A reply may come later and from another thread than the request (WAIT_EVENTS is
//            answered by the device thread that raises the event).
// Threads    Reply from any; SOCK_SEQPACKET sends are atomic and a connection has one request at a
//            time. Fields are set by the server's thread before any request is handled.
// Ownership  owns the descriptor; shared by the server and by pending replies.
// Errors     a reply to a process that has gone is dropped.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "rpc_protocol.h"
#include "timers.h"

namespace virtual_gpu {

class Process;

class Connection {
 public:
  Connection(int fd, pid_t pid, uid_t uid) : fd_(fd), pid_(pid), uid_(uid) {}
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Reply(int error, std::span<const std::byte> arg, std::span<const std::byte> payload = {},
             std::span<const int> fds = {}) const;

  int fd() const { return fd_; }
  pid_t pid() const { return pid_; }
  uid_t uid() const { return uid_; }

  std::shared_ptr<Process> process;  // after hello
  bool is_main = false;              // its end is the end of the process
  bool is_user = false;              // keeps the device process alive
  Timers::Id wait_timeout;           // of its last WAIT_EVENTS; ROCr's are weeks away

 private:
  const int fd_;
  const pid_t pid_;
  const uid_t uid_;
};

// A request as received: what the header announces has been checked against what came.
struct Request {
  std::shared_ptr<Connection> connection;
  rpc::RequestHeader header;
  std::vector<std::byte> arg;
  std::vector<std::byte> payload;

  // The ioctl's struct, as the kernel sees it: the caller's bytes, the rest zero. Stored back by
  // ReplyWith, as many bytes as the caller has.
  template <typename T>
  T Arg() const {
    T value = {};
    std::size_t bytes = arg.size() < sizeof(T) ? arg.size() : sizeof(T);
    if (bytes != 0) __builtin_memcpy(&value, arg.data(), bytes);
    return value;
  }
  void Reply(int error) const { connection->Reply(error, arg, {}); }
  template <typename T>
  void ReplyWith(int error, const T& value, std::span<const std::byte> out = {}) const {
    std::vector<std::byte> copy = arg;
    std::size_t bytes = arg.size() < sizeof(T) ? arg.size() : sizeof(T);
    if (bytes != 0) __builtin_memcpy(copy.data(), &value, bytes);
    connection->Reply(error, copy, out);
  }
};

}  // namespace virtual_gpu

// spare_descriptor.h: a descriptor that is given up to refuse a connection when there are none left.
//
// Why        A connection that cannot be accepted stays in the listener's queue, which stays readable: a loop that
//            waits for it would spin.
// Threads    one.
// Errors     without a spare, since there was none left at the start either, nothing is refused.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace xsched_hsa {

class SpareDescriptor {
 public:
  SpareDescriptor() = default;
  ~SpareDescriptor() { Close(); }
  SpareDescriptor(const SpareDescriptor&) = delete;
  SpareDescriptor& operator=(const SpareDescriptor&) = delete;

  void Open() { fd_ = open("/dev/null", O_RDONLY | O_CLOEXEC); }
  // After an accept that failed: where that was for want of descriptors, whoever waits first is sent away. Says
  // whether it was so.
  bool Refuse(int listen_fd) {
    if ((errno != EMFILE && errno != ENFILE) || fd_ < 0) return false;
    Close();
    const int refused = accept4(listen_fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (refused >= 0) close(refused);
    Open();
    return true;
  }

 private:
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  int fd_ = -1;
};

}  // namespace xsched_hsa

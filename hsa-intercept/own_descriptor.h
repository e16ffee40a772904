// own_descriptor.h: a descriptor of ours, for as long as the program leaves it to us.
//
// Why        Some programs close every descriptor that they do not know. The number may be a file of theirs by now:
//            nothing may be written there, nor read, nor may it be closed.
// Threads    as a value. Between a look and a use the program may still close it; that is what is left of it.
// Ownership  whoever has it closes it, by Close. Copies are of the same descriptor.
// Errors     none: one that is not ours any more reads as -1.
// Limits     eventfds share one inode, so another eventfd of the program looks like ours: it is woken once too often.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

namespace xsched_hsa {

class OwnDescriptor {
 public:
  constexpr OwnDescriptor() = default;
  // Just opened; -1: none.
  explicit OwnDescriptor(int fd) {
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0) return;
    fd_ = fd;
    device_ = about.st_dev;
    inode_ = about.st_ino;
  }

  // -1: there is none, or it is not ours any more.
  int fd() const {
    struct stat about;
    const bool is_ours =
        fd_ >= 0 && fstat(fd_, &about) == 0 && about.st_dev == device_ && about.st_ino == inode_;
    return is_ours ? fd_ : -1;
  }
  // There was one.
  bool was_given() const { return fd_ >= 0; }
  void Close() {
    if (const int ours = fd(); ours >= 0) close(ours);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace xsched_hsa

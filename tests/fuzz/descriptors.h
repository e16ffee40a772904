// descriptors.h: has a descriptor been left behind?
#pragma once

#include <fcntl.h>
#include <unistd.h>

namespace fuzz {

// What is left behind takes the lowest number that was free.
inline int LowestFreeDescriptor() {
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  close(fd);
  return fd;
}

}  // namespace fuzz

#include "shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace xsched_hsa {

std::unique_ptr<SharedMemory> SharedMemory::Make(const char* name, std::size_t size_bytes) {
  const int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return nullptr;
  void* data = MAP_FAILED;
  if (ftruncate(fd, static_cast<off_t>(size_bytes)) == 0) {
    data = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  if (data == MAP_FAILED ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    const int saved = errno;
    if (data != MAP_FAILED) munmap(data, size_bytes);
    close(fd);
    errno = saved;
    return nullptr;
  }
  return std::unique_ptr<SharedMemory>(new SharedMemory(fd, data, size_bytes));
}

SharedMemory::~SharedMemory() {
  munmap(data_, size_bytes_);
  CloseFd();
}

void SharedMemory::CloseFd() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

}  // namespace xsched_hsa

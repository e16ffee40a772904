#include "arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <iterator>

namespace virtual_gpu {

std::unique_ptr<Arena> Arena::Create(const char* name, std::uint64_t bytes) {
  const int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return nullptr;
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    close(fd);
    return nullptr;
  }
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (base == MAP_FAILED) {
    close(fd);
    return nullptr;
  }
  madvise(base, bytes, MADV_DONTDUMP);
  return std::unique_ptr<Arena>(new Arena(fd, static_cast<std::byte*>(base), bytes));
}

Arena::Arena(int fd, std::byte* base, std::uint64_t bytes) : fd_(fd), base_(base), bytes_(bytes) {
  free_[0] = bytes;
}

Arena::~Arena() {
  munmap(base_, bytes_);
  close(fd_);
}

bool Arena::Allocate(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t* offset) {
  bytes = RoundUp(bytes, kPageBytes);
  if (bytes == 0) return false;
  std::lock_guard lock(mutex_);
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const auto [start, length] = *it;
    const std::uint64_t aligned = RoundUp(start, alignment);
    if (aligned + bytes > start + length) continue;
    free_.erase(it);
    if (aligned > start) free_[start] = aligned - start;
    if (aligned + bytes < start + length) free_[aligned + bytes] = start + length - aligned - bytes;
    *offset = aligned;
    return true;
  }
  return false;
}

void Arena::Free(std::uint64_t offset, std::uint64_t bytes) {
  bytes = RoundUp(bytes, kPageBytes);
  fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
            static_cast<off_t>(bytes));
  std::lock_guard lock(mutex_);
  auto next = free_.lower_bound(offset);
  if (next != free_.end() && offset + bytes == next->first) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    auto previous = std::prev(next);
    if (previous->first + previous->second == offset) {
      previous->second += bytes;
      return;
    }
  }
  free_[offset] = bytes;
}

}  // namespace virtual_gpu

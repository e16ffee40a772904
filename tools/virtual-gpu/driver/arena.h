// arena.h: one sparse memory file, mapped here whole and by processes in pieces.
//
// Why        VRAM and GTT of one GPU, doorbells of one process: what both sides must see.
// Threads    Allocate and Free take a lock; pointers stay valid for the arena's life, also after
//            Free (the pages then read as zero), so a late packet can never crash the device.
// Ownership  owns the descriptor and the mapping. The file is sealed in size: a client that holds
//            the descriptor cannot shrink it under us.
// Units      bytes; allocations are whole pages.
// Errors     Create returns null with errno; Allocate returns false when nothing fits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

namespace virtual_gpu {

class Arena {
 public:
  static std::unique_ptr<Arena> Create(const char* name, std::uint64_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  bool Allocate(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t* offset);
  void Free(std::uint64_t offset, std::uint64_t bytes);

  std::byte* At(std::uint64_t offset) const { return base_ + offset; }
  int fd() const { return fd_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  Arena(int fd, std::byte* base, std::uint64_t bytes);

  const int fd_;
  std::byte* const base_;
  const std::uint64_t bytes_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> free_;  // offset -> bytes, never adjacent
};

inline constexpr std::uint64_t kPageBytes = 4096;
inline std::uint64_t RoundUp(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace virtual_gpu

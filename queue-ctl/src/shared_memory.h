// shared_memory.h: the memfds behind ProcessPage and UserPage.
//
// Why        Sealed against shrinking and growing before anybody else gets them, so that neither
//            side can make the other one fault; and against further seals, so that no program can
//            spoil a user page for those to come.
// Ownership  unmaps and closes when it goes; the other side's mapping lives on.
// Errors     Make returns an empty object with errno set.
#pragma once

#include <cstddef>
#include <memory>

namespace xsched_hsa {

class SharedMemory {
 public:
  static std::unique_ptr<SharedMemory> Make(const char* name, std::size_t size_bytes);
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  void* data() const { return data_; }
  int fd() const { return fd_; }
  void CloseFd();  // once nobody else will need it

 private:
  SharedMemory(int fd, void* data, std::size_t size_bytes)
      : fd_(fd), data_(data), size_bytes_(size_bytes) {}
  int fd_;
  void* data_;
  std::size_t size_bytes_;
};

}  // namespace xsched_hsa

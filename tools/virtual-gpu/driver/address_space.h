// address_space.h: what one process's GPU virtual addresses lead to.
//
// Why        Every pointer in a packet goes through here: into an arena (VRAM, GTT) by a
//            bounds-checked host pointer, or into the process's own pages (USERPTR) by
//            process_vm_readv/writev.
// Threads    any; one lock, leaf in the lock order.
// Ownership  owns the process's allocations in the arenas until Free or destruction.
// Units      addresses and sizes in bytes.
// Errors     false or null: not mapped to a GPU, out of bounds, or the process's pages have gone.
//            The caller raises the memory fault.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

#include "arena.h"

namespace virtual_gpu {

struct Allocation {
  enum class Kind { kVram, kGtt, kUserptr, kDoorbell, kMmio };
  Kind kind = Kind::kVram;
  std::uint64_t handle = 0;
  std::uint64_t va = 0, bytes = 0;
  std::uint32_t gpu_id = 0;
  std::uint32_t gpu_index = 0;
  Arena* arena = nullptr;         // null for kUserptr, kDoorbell, kMmio
  std::uint64_t offset = 0;       // in the arena; kUserptr: the process's own address
  std::uint32_t mapped_gpus = 0;  // bit per GPU index
};

class AddressSpace {
 public:
  explicit AddressSpace(pid_t pid) : pid_(pid) {}
  ~AddressSpace();

  // Takes over `allocation`'s arena range. False when the address range is taken already.
  bool Add(const Allocation& allocation);
  // False: no such handle. The range in the arena is given back.
  bool Free(std::uint64_t handle, Allocation* freed);
  bool Find(std::uint64_t handle, Allocation* found) const;
  bool SetMapped(std::uint64_t handle, std::uint32_t gpu_bits, bool mapped);

  // Null unless [va, va+bytes) lies in one mapped arena allocation.
  std::byte* HostPointer(std::uint64_t va, std::uint64_t bytes) const;
  // The bytes of the allocation that holds `va`, for looking around it. False when there is none.
  bool Range(std::uint64_t va, std::uint64_t* start, std::uint64_t* bytes) const;

  bool Read(std::uint64_t va, void* to, std::uint64_t bytes) const;
  bool Write(std::uint64_t va, const void* from, std::uint64_t bytes);
  bool Copy(std::uint64_t to, std::uint64_t from, std::uint64_t bytes);
  bool Fill(std::uint64_t to, std::uint32_t pattern, std::uint64_t bytes);
  // All atomic where the memory is shared and `va` aligned (USERPTR: a plain read or write, or both).
  bool Load64(std::uint64_t va, std::uint64_t* value) const;
  bool Store64(std::uint64_t va, std::uint64_t value);
  bool AtomicAdd64(std::uint64_t va, std::uint64_t add, std::uint64_t* old);

  template <typename T>
  bool ReadValue(std::uint64_t va, T* value) const {
    return Read(va, value, sizeof(T));
  }
  template <typename T>
  bool WriteValue(std::uint64_t va, const T& value) {
    return Write(va, &value, sizeof(T));
  }

  std::uint64_t UsedBytes(Allocation::Kind kind, std::uint32_t gpu_index) const;
  std::size_t Count() const;

 private:
  // The part of [va, va+bytes) that one allocation holds; null when `va` is not mapped.
  const Allocation* FindMapped(std::uint64_t va) const;
  // Splits a range at allocation borders and hands each piece to `step`.
  template <typename Step>
  bool ForEachPiece(std::uint64_t va, std::uint64_t bytes, const Step& step) const;

  const pid_t pid_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, Allocation> by_va_;         // start address -> allocation
  std::map<std::uint64_t, std::uint64_t> by_handle_;  // handle -> start address
};

}  // namespace virtual_gpu

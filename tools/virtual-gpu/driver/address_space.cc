#include "address_space.h"

#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iterator>
#include <vector>

namespace virtual_gpu {
namespace {

bool ReadProcess(pid_t pid, std::uint64_t address, void* to, std::uint64_t bytes) {
  iovec local = {to, bytes};
  iovec remote = {reinterpret_cast<void*>(address), bytes};
  return process_vm_readv(pid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(bytes);
}

bool WriteProcess(pid_t pid, std::uint64_t address, const void* from, std::uint64_t bytes) {
  iovec local = {const_cast<void*>(from), bytes};
  iovec remote = {reinterpret_cast<void*>(address), bytes};
  return process_vm_writev(pid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(bytes);
}

// Copies of shared memory go through a bounce buffer of this size when a side is USERPTR memory.
constexpr std::uint64_t kBounceBytes = std::uint64_t{256} * 1024;

}  // namespace

AddressSpace::~AddressSpace() {
  for (const auto& [va, allocation] : by_va_) {
    if (allocation.arena != nullptr) allocation.arena->Free(allocation.offset, allocation.bytes);
  }
}

bool AddressSpace::Add(const Allocation& allocation) {
  std::lock_guard lock(mutex_);
  const auto next = by_va_.lower_bound(allocation.va);
  if (next != by_va_.end() && next->first < allocation.va + allocation.bytes) return false;
  if (next != by_va_.begin()) {
    const auto& previous = std::prev(next)->second;
    if (previous.va + previous.bytes > allocation.va) return false;
  }
  by_va_[allocation.va] = allocation;
  by_handle_[allocation.handle] = allocation.va;
  return true;
}

bool AddressSpace::Free(std::uint64_t handle, Allocation* freed) {
  std::lock_guard lock(mutex_);
  const auto it = by_handle_.find(handle);
  if (it == by_handle_.end()) return false;
  const auto entry = by_va_.find(it->second);
  *freed = entry->second;
  by_va_.erase(entry);
  by_handle_.erase(it);
  if (freed->arena != nullptr) freed->arena->Free(freed->offset, freed->bytes);
  return true;
}

bool AddressSpace::Find(std::uint64_t handle, Allocation* found) const {
  std::lock_guard lock(mutex_);
  const auto it = by_handle_.find(handle);
  if (it == by_handle_.end()) return false;
  *found = by_va_.at(it->second);
  return true;
}

bool AddressSpace::SetMapped(std::uint64_t handle, std::uint32_t gpu_bits, bool mapped) {
  std::lock_guard lock(mutex_);
  const auto it = by_handle_.find(handle);
  if (it == by_handle_.end()) return false;
  std::uint32_t& bits = by_va_.at(it->second).mapped_gpus;
  bits = mapped ? bits | gpu_bits : bits & ~gpu_bits;
  return true;
}

const Allocation* AddressSpace::FindMapped(std::uint64_t va) const {
  auto it = by_va_.upper_bound(va);
  if (it == by_va_.begin()) return nullptr;
  const Allocation& allocation = std::prev(it)->second;
  if (va - allocation.va >= allocation.bytes || allocation.mapped_gpus == 0) return nullptr;
  const bool memory = allocation.arena != nullptr || allocation.kind == Allocation::Kind::kUserptr;
  return memory ? &allocation : nullptr;
}

std::byte* AddressSpace::HostPointer(std::uint64_t va, std::uint64_t bytes) const {
  std::lock_guard lock(mutex_);
  const Allocation* found = FindMapped(va);
  if (found == nullptr || found->arena == nullptr) return nullptr;
  const std::uint64_t into = va - found->va;
  return bytes <= found->bytes - into ? found->arena->At(found->offset + into) : nullptr;
}

bool AddressSpace::Range(std::uint64_t va, std::uint64_t* start, std::uint64_t* bytes) const {
  std::lock_guard lock(mutex_);
  const Allocation* found = FindMapped(va);
  if (found == nullptr) return false;
  *start = found->va;
  *bytes = found->bytes;
  return true;
}

template <typename Step>
bool AddressSpace::ForEachPiece(std::uint64_t va, std::uint64_t bytes, const Step& step) const {
  while (bytes > 0) {
    Allocation allocation;
    {
      std::lock_guard lock(mutex_);
      const Allocation* found = FindMapped(va);
      if (found == nullptr) return false;
      allocation = *found;
    }
    const std::uint64_t into = va - allocation.va;
    const std::uint64_t piece = std::min(bytes, allocation.bytes - into);
    if (!step(allocation, into, piece)) return false;
    va += piece;
    bytes -= piece;
  }
  return true;
}

bool AddressSpace::Read(std::uint64_t va, void* to, std::uint64_t bytes) const {
  auto* out = static_cast<std::byte*>(to);
  return ForEachPiece(va, bytes, [&](const Allocation& a, std::uint64_t into, std::uint64_t piece) {
    if (a.arena != nullptr) {
      std::memcpy(out, a.arena->At(a.offset + into), piece);
    } else if (!ReadProcess(pid_, a.offset + into, out, piece)) {
      return false;
    }
    out += piece;
    return true;
  });
}

bool AddressSpace::Write(std::uint64_t va, const void* from, std::uint64_t bytes) {
  const auto* in = static_cast<const std::byte*>(from);
  return ForEachPiece(va, bytes, [&](const Allocation& a, std::uint64_t into, std::uint64_t piece) {
    if (a.arena != nullptr) {
      std::memcpy(a.arena->At(a.offset + into), in, piece);
    } else if (!WriteProcess(pid_, a.offset + into, in, piece)) {
      return false;
    }
    in += piece;
    return true;
  });
}

bool AddressSpace::Copy(std::uint64_t to, std::uint64_t from, std::uint64_t bytes) {
  std::byte* out = HostPointer(to, bytes);
  std::byte* in = HostPointer(from, bytes);
  if (out != nullptr && in != nullptr) {
    std::memmove(out, in, bytes);
    return true;
  }
  if (out != nullptr) return Read(from, out, bytes);
  if (in != nullptr) return Write(to, in, bytes);
  std::vector<std::byte> bounce(std::min(bytes, kBounceBytes));
  for (std::uint64_t done = 0; done < bytes; done += bounce.size()) {
    const std::uint64_t piece = std::min<std::uint64_t>(bounce.size(), bytes - done);
    if (!Read(from + done, bounce.data(), piece)) return false;
    if (!Write(to + done, bounce.data(), piece)) return false;
  }
  return true;
}

bool AddressSpace::Fill(std::uint64_t to, std::uint32_t pattern, std::uint64_t bytes) {
  if (bytes == 0) return true;
  std::vector<std::uint32_t> block((std::min(bytes, kBounceBytes) + 3) / 4, pattern);
  for (std::uint64_t done = 0; done < bytes; done += block.size() * 4) {
    const std::uint64_t piece = std::min<std::uint64_t>(block.size() * 4, bytes - done);
    if (!Write(to + done, block.data(), piece)) return false;
  }
  return true;
}

bool AddressSpace::Load64(std::uint64_t va, std::uint64_t* value) const {
  std::byte* host = va % alignof(std::uint64_t) == 0 ? HostPointer(va, sizeof(*value)) : nullptr;
  if (host == nullptr) return ReadValue(va, value);
  *value = std::atomic_ref(*reinterpret_cast<std::uint64_t*>(host)).load(std::memory_order_acquire);
  return true;
}

bool AddressSpace::Store64(std::uint64_t va, std::uint64_t value) {
  std::byte* host = va % alignof(std::uint64_t) == 0 ? HostPointer(va, sizeof(value)) : nullptr;
  if (host == nullptr) return WriteValue(va, value);
  std::atomic_ref(*reinterpret_cast<std::uint64_t*>(host)).store(value, std::memory_order_release);
  return true;
}

bool AddressSpace::AtomicAdd64(std::uint64_t va, std::uint64_t add, std::uint64_t* old) {
  if (va % alignof(std::uint64_t) != 0) return false;
  if (std::byte* host = HostPointer(va, sizeof(std::uint64_t))) {
    *old = std::atomic_ref(*reinterpret_cast<std::uint64_t*>(host)).fetch_add(add);
    return true;
  }
  if (!ReadValue(va, old)) return false;
  return WriteValue(va, *old + add);
}

std::uint64_t AddressSpace::UsedBytes(Allocation::Kind kind, std::uint32_t gpu_index) const {
  std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& [va, a] : by_va_) {
    if (a.kind == kind && a.gpu_index == gpu_index) sum += a.bytes;
  }
  return sum;
}

std::size_t AddressSpace::Count() const {
  std::lock_guard lock(mutex_);
  return by_va_.size();
}

}  // namespace virtual_gpu

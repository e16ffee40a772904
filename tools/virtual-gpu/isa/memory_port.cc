#include "memory_port.h"

#include <atomic>
#include <cstring>

namespace virtual_gpu::isa {
namespace {

constexpr std::uint64_t kPacketBytes = 64;

template <typename T>
void AtomicAt(std::byte* host, AtomicStep step, std::uint64_t operand, std::uint64_t compare,
              std::uint64_t* old) {
  std::atomic_ref<T> word(*reinterpret_cast<T*>(host));
  T seen = word.load();
  while (!word.compare_exchange_weak(seen, static_cast<T>(step(seen, operand, compare)))) {
  }
  *old = seen;
}

}  // namespace

std::byte* LiveMemory::Host(std::uint64_t va, std::uint32_t bytes) {
  for (const Known& known : known_) {
    if (va - known.start < known.bytes && bytes <= known.bytes - (va - known.start)) {
      return known.host + (va - known.start);
    }
  }
  Known found;
  if (!memory_->Range(va, &found.start, &found.bytes)) return nullptr;
  found.host = memory_->HostPointer(found.start, found.bytes);
  if (found.host == nullptr || bytes > found.bytes - (va - found.start)) return nullptr;
  known_[next_++ % known_.size()] = found;
  return found.host + (va - found.start);
}

bool LiveMemory::Load(std::uint64_t va, void* to, std::uint32_t bytes) {
  if (va - packet_va_ < kPacketBytes && bytes <= kPacketBytes - (va - packet_va_)) {
    std::memcpy(to, packet_ + (va - packet_va_), bytes);
    return true;
  }
  const std::byte* host = Host(va, bytes);
  if (host == nullptr) return memory_->Read(va, to, bytes);
  std::memcpy(to, host, bytes);
  return true;
}

bool LiveMemory::Store(std::uint64_t va, const void* from, std::uint32_t bytes) {
  std::byte* host = Host(va, bytes);
  if (host == nullptr) return memory_->Write(va, from, bytes);
  std::memcpy(host, from, bytes);
  return true;
}

bool LiveMemory::Atomic(std::uint64_t va, std::uint32_t bytes, AtomicStep step,
                        std::uint64_t operand, std::uint64_t compare, std::uint64_t* old) {
  if (va % bytes != 0) return false;
  if (std::byte* host = Host(va, bytes)) {
    if (bytes == 8)
      AtomicAt<std::uint64_t>(host, step, operand, compare, old);
    else
      AtomicAt<std::uint32_t>(host, step, operand, compare, old);
    return true;
  }
  // The program's own pages (USERPTR): a read and a write.
  *old = 0;
  if (!memory_->Read(va, old, bytes)) return false;
  const std::uint64_t value = step(*old, operand, compare);
  return memory_->Write(va, &value, bytes);
}

bool TrialMemory::Load(std::uint64_t va, void* to, std::uint32_t bytes) {
  if (!live_.Load(va, to, bytes)) return false;
  if (stored_.empty()) return true;
  for (std::uint32_t i = 0; i < bytes; ++i) {
    if (const auto it = stored_.find(va + i); it != stored_.end()) {
      static_cast<std::byte*>(to)[i] = it->second;
    }
  }
  return true;
}

bool TrialMemory::Store(std::uint64_t va, const void* from, std::uint32_t bytes) {
  std::byte unused[64];
  if (!live_.Load(va, unused, bytes)) return false;
  for (std::uint32_t i = 0; i < bytes; ++i) {
    stored_[va + i] = static_cast<const std::byte*>(from)[i];
  }
  return true;
}

bool TrialMemory::Atomic(std::uint64_t va, std::uint32_t bytes, AtomicStep step,
                         std::uint64_t operand, std::uint64_t compare, std::uint64_t* old) {
  *old = 0;
  if (va % bytes != 0 || !Load(va, old, bytes)) return false;
  const std::uint64_t value = step(*old, operand, compare);
  return Store(va, &value, bytes);
}

}  // namespace virtual_gpu::isa

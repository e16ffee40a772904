// memory_port.h: what an interpreted wave sees of memory.
//
// Why        The same instructions run for real and, before that, on trial (to be counted): the trial's
//            stores go nowhere.
// Threads    one; atomics of the live port are atomic against the host's threads too.
// Errors     false: not mapped to the GPU, or an atomic that is not aligned.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>

#include "../driver/address_space.h"

namespace virtual_gpu::isa {

// What is stored for `old`, given the operand and, of compare-and-swap, the value compared with.
using AtomicStep = std::uint64_t (*)(std::uint64_t old, std::uint64_t operand,
                                     std::uint64_t compare);

class MemoryPort {
 public:
  virtual ~MemoryPort() = default;
  virtual bool Load(std::uint64_t va, void* to, std::uint32_t bytes) = 0;
  virtual bool Store(std::uint64_t va, const void* from, std::uint32_t bytes) = 0;
  // `bytes` is 4 or 8.
  virtual bool Atomic(std::uint64_t va, std::uint32_t bytes, AtomicStep step, std::uint64_t operand,
                      std::uint64_t compare, std::uint64_t* old) = 0;
};

// The process's memory. Remembers a few allocations: it lives no longer than one call of the device.
// Waves find their dispatch packet at its address in the ring also when the slot is in use again.
class LiveMemory final : public MemoryPort {
 public:
  LiveMemory(AddressSpace* memory, std::uint64_t packet_va, const void* packet)
      : memory_(memory), packet_va_(packet_va), packet_(static_cast<const std::byte*>(packet)) {}
  bool Load(std::uint64_t va, void* to, std::uint32_t bytes) override;
  bool Store(std::uint64_t va, const void* from, std::uint32_t bytes) override;
  bool Atomic(std::uint64_t va, std::uint32_t bytes, AtomicStep step, std::uint64_t operand,
              std::uint64_t compare, std::uint64_t* old) override;

 private:
  struct Known {
    std::uint64_t start = 0, bytes = 0;
    std::byte* host = nullptr;
  };
  std::byte* Host(std::uint64_t va, std::uint32_t bytes);

  AddressSpace* const memory_;
  const std::uint64_t packet_va_;
  const std::byte* const packet_;
  std::array<Known, 8> known_ = {};
  unsigned next_ = 0;
};

// Reads the process's memory; keeps what is stored to itself.
class TrialMemory final : public MemoryPort {
 public:
  TrialMemory(AddressSpace* memory, std::uint64_t packet_va, const void* packet)
      : live_(memory, packet_va, packet) {}
  bool Load(std::uint64_t va, void* to, std::uint32_t bytes) override;
  bool Store(std::uint64_t va, const void* from, std::uint32_t bytes) override;
  bool Atomic(std::uint64_t va, std::uint32_t bytes, AtomicStep step, std::uint64_t operand,
              std::uint64_t compare, std::uint64_t* old) override;

 private:
  LiveMemory live_;
  std::unordered_map<std::uint64_t, std::byte> stored_;
};

}  // namespace virtual_gpu::isa

// pm4_queue.h: a PM4 compute queue, as the device's PacketSource.
//
// Why        ROCr and HIP use AQL queues only; KFD's own test suite, and whoever talks to the
//            driver without a runtime, use PM4. It covers what they send: NOP, WRITE_DATA,
//            RELEASE_MEM, ACQUIRE_MEM, EVENT_WRITE, WAIT_REG_MEM on memory, INDIRECT_BUFFER,
//            SET_SH_REG and DISPATCH_DIRECT, whose shader runs as an opaque cost.
// Threads    as ComputeQueue.
// Units      positions, sizes and pointers in dwords, the ring's size in bytes. The write pointer
//            is 64 bits and never wraps; the read pointer is 32 bits and wraps with the ring
//            (gfx9).
// Errors     an unmapped address raises the memory event, an unknown packet is named; the queue
//            stops.
// Limits     an indirect buffer may not lie in another one.
// See        facts: amdgpu's soc15d.h, gfx_v9_0.c; tests/driver_test.cc
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "address_space.h"
#include "compute_queue.h"
#include "events.h"
#include "kernel_recogniser.h"
#include "sim_clock.h"

namespace virtual_gpu {

class Pm4Queue final : public ComputeQueue {
 public:
  struct Context {
    AddressSpace* memory;
    EventTable* events;
    const SimClock* clock;
    std::uint32_t gpu_id;
    KernelLimits limits;
    bool strict;
    std::string label;
  };
  struct Ring {
    std::uint64_t base = 0;
    std::uint32_t bytes = 0;
    std::uint64_t write_pointer = 0, read_pointer = 0;  // addresses
  };

  Pm4Queue(Context context, const Ring& ring, std::uint64_t* doorbell);

  bool SetRing(std::uint64_t base, std::uint32_t bytes) override;
  bool PollDoorbell() override;
  bool HasWork() const override { return !dead_ && (in_indirect_ || read_ < write_); }

  bool Next(Packet* packet) override;
  void RereadWriteIndex() override;
  bool DependenciesMet(const Packet& packet) override;
  void Consume(const Packet& packet) override;
  void WorkgroupsDone(const Packet& packet, std::uint64_t count, bool first_done) override;
  void Complete(const Packet& packet, TimeNs start, TimeNs end) override;

 private:
  static constexpr std::uint32_t kShRegisters = 0x400;  // of SET_SH_REG's space

  struct EndOfPipe {  // RELEASE_MEM
    std::uint32_t data = 0, interrupt = 0;
    std::uint64_t address = 0, value = 0;
    std::uint32_t context_id = 0;
  };
  struct Indirect {
    std::uint64_t address = 0;
    std::uint32_t dwords = 0, at = 0;
  };

  std::uint32_t RingWord(std::uint64_t position) const;
  // Word `offset` of the packet at the read position, in the ring or the indirect buffer.
  std::uint32_t Word(std::uint32_t offset);
  std::uint64_t AddressAt(std::uint32_t offset);
  std::uint32_t DwordsAvailable() const;
  bool Decode();
  bool Classify(std::uint32_t header);
  void Execute();
  void WriteData();
  EndOfPipe LoadEndOfPipe();
  void Apply(const EndOfPipe& end);
  void SetShRegisters();
  void EnterIndirect();
  KernelCost DispatchCost();
  void Advance();
  void Fault(std::uint64_t address);
  void Stop(const std::string& why);

  const Context context_;
  Ring ring_;
  std::uint64_t* const doorbell_;
  std::byte* bytes_ = nullptr;
  std::uint64_t* write_word_ = nullptr;
  std::uint64_t* read_word_ = nullptr;
  std::uint64_t last_doorbell_ = ~0ull;
  std::uint64_t read_ = 0, write_ = 0;
  bool in_indirect_ = false;
  Indirect indirect_;
  bool decoded_ = false;  // packet_ is the one at the read position
  std::uint32_t dwords_ = 0;
  Packet packet_;
  std::uint64_t next_index_ = 0;
  std::array<std::uint32_t, kShRegisters> registers_ = {};
};

}  // namespace virtual_gpu

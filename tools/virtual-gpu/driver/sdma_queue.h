// sdma_queue.h: the ring of one SDMA queue; copies, fills, fences and traps are carried out.
//
// Why        ROCr copies with SDMA engines. Their packets are few and easy, so data really moves;
//            the time a copy takes is that of the host's memcpy or of the assumed link, the longer
//            one.
// Threads    all methods under the lock of the queue's SdmaEngine, but Counters.
// Ownership  borrows the process's memory and events.
// Units      ring positions and sizes in bytes: SDMA write pointers and doorbells count bytes.
// Errors     an unknown packet or a bad address stops the queue for good and is reported; a bad
//            address also raises the process's memory-fault event.
// See        ROCr's amd_blit_sdma.cpp and sdma_registers.h (gfx9 packet layouts)
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "address_space.h"
#include "events.h"
#include "sim_clock.h"

namespace virtual_gpu {

class SdmaQueue {
 public:
  struct Context {
    AddressSpace* memory;
    EventTable* events;
    const SimClock* clock;
    std::uint32_t gpu_id;
    double bytes_per_ns;
    bool strict;
    std::string label;
  };
  struct Ring {
    std::uint64_t base = 0;
    std::uint32_t bytes = 0;
    std::uint64_t write_pointer = 0;  // addresses of u64
    std::uint64_t read_pointer = 0;
  };

  SdmaQueue(Context context, const Ring& ring, std::uint64_t* doorbell);

  bool Valid() const { return valid_; }
  bool SetRing(std::uint64_t base, std::uint32_t bytes);
  // Inactive queues (percentage 0, no ring) stop between packets and keep their doorbell.
  void SetActive(bool active);

  // Carries out at most one packet. False: nothing to do now.
  bool Step(TimeNs now);
  bool HasWork() const { return active_ && !dead_ && read_ < write_; }

  std::uint64_t packets() const { return packets_; }
  std::uint64_t copied_bytes() const { return copied_bytes_; }

 private:
  static constexpr std::uint32_t kPacketWordsMax = 16;

  std::uint32_t Word(std::uint64_t position) const;
  void Load(std::uint32_t* words, std::uint32_t count) const;
  // Words of the packet at read_, 0 when it is unknown, or kBlocked when a poll is not satisfied.
  bool StepPacket(TimeNs now);
  std::uint32_t Execute(TimeNs now);
  std::uint32_t Copy(const std::uint32_t* words, TimeNs now);
  std::uint32_t Fill(const std::uint32_t* words, TimeNs now);
  std::uint32_t Write();
  std::uint32_t Poll(const std::uint32_t* words);
  std::uint32_t Atomic(const std::uint32_t* words);
  void TakeTime(TimeNs now, std::uint64_t bytes);
  void Fault(std::uint64_t address);
  void Stop(const std::string& why);

  const Context context_;
  Ring ring_;
  std::uint64_t* const doorbell_;
  std::byte* bytes_ = nullptr;
  std::uint64_t* write_word_ = nullptr;
  std::uint64_t* read_word_ = nullptr;
  bool valid_ = false, active_ = true, dead_ = false;
  // A trap's interrupt takes longer to reach the host than the engine takes for the next packet: it
  // is raised one packet later, so that the waiter finds what follows the trap.
  static constexpr std::uint32_t kNoTrap = ~0u;
  std::uint32_t trap_ = kNoTrap;
  std::uint64_t last_doorbell_ = ~0ull;
  std::uint64_t read_ = 0, write_ = 0;
  TimeNs busy_until_ = 0;
  std::atomic<std::uint64_t> packets_ = 0, copied_bytes_ = 0;
};

}  // namespace virtual_gpu

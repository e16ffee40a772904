// intercept_gate.h: holds packets with ROCr's own intercept queue between program and hardware.
//
// Why        The official road: the layer never touches the ring, index or doorbell that hardware
//            reads. The program has ROCr's proxy queue; its ring is where held packets lie, and
//            raising the *proxy's* write index and ringing its doorbell is what lets them go. ROCr
//            then calls Write() here, on the thread that rang, and copies what we pass on into the
//            real ring. So all of WindowGate's algorithm holds unchanged, with three differences:
//              progress   The proxy's read index means "passed on", not "taken by hardware", and
//                         ROCr tells nobody where the real one is. So each batch is followed by a
//                         mark: a barrier packet without dependency or barrier bit, which completes
//                         when the packet processor gets to it, that is, when the packets before
//                         it were taken. Marks count on one signal.
//              room       ROCr 5.2.3 aborts when the real ring overflows twice, and spins under its
//                         lock when it is full; so no more is ever let go than fits (PublishLimit),
//                         and a full ring shows as back-pressure in the program's own.
//              ring       the real one's address is not known: a suspended queue is resumed by
//                         ROCr's own set_priority (queue_driver.h).
// Threads    Write: whoever rang, one at a time (ROCr's lock), also its async-events thread. It never
//            blocks and calls the writer at most once. Everything else: the holder of
//            ManagedQueue::lock, but Taken and PacketAt: any.
// Ownership  made before the queue is published, freed after ROCr has destroyed it.
// Errors     Make gives null; the queue is then none of ours.
// Limits     at most half the ring is with the hardware, an eighth where another tool intercepts, too. A program that moves the proxy's write index
//            itself can make ROCr pass on more than fits: that is stored here, up to two rings.
// See        docs/life-of-a-packet.md, intercept_gate_test.cc
#pragma once

#include <hsa/hsa.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "real_api.h"

namespace xsched_hsa {

class InterceptGate {
 public:
  // Never let go with one ring of the doorbell: newer ROCr stages what it intercepts.
  static constexpr std::uint64_t kBatchMax = 128;

  // Slots of the real ring that a packet is taken to need: itself and its mark; and where another
  // tool intercepts behind us, what it may put around each, more than any that is known does.
  static constexpr std::uint64_t kSlotsEach = 2, kSlotsEachWithATool = 8;
  // Below this a ring is too small, whoever else intercepts.
  static constexpr std::uint64_t kPacketsMin = 64;

  // Takes over an intercept queue that nobody uses yet. Null also where it is none.
  static InterceptGate* Make(const RealApi& api, hsa_agent_t agent, hsa_queue_t* queue,
                             std::uint64_t slots_each = kSlotsEach);
  // Passes on everything as it comes, for good: for a queue that could not be managed and is not ours to
  // destroy. Before anybody uses it.
  void Abandon() { abandoned_.store(true, std::memory_order_relaxed); }
  // After the queue was destroyed.
  void Free();

  // Packets below this were taken by the packet processor.
  std::uint64_t Taken() const;
  // The index up to which packets may be let go now.
  std::uint64_t PublishLimit() const;
  // A packet that was let go, as it was (the proxy's copy may be gone); of the last ring's worth.
  const unsigned char* PacketAt(std::uint64_t index) const {
    return copies_ + (index & (packets_ - 1)) * kPacketBytes;
  }
  // Mark each packet, not only the last of a batch: what the window learns from.
  void MarkEach(bool each) { mark_each_.store(each, std::memory_order_relaxed); }

  // How many packets, each with its mark and what another tool adds, ROCr's ring has room for beside what is stored.
  std::uint64_t RoomForPackets() const;
  // Packets that were passed to us and did not fit the real ring: a program that moves the index
  // itself may be faster than we look.
  bool HasStored() const { return stored_.load(std::memory_order_acquire) != 0; }
  // Makes ROCr call Write(), so that stored packets can go on, although the program has no more.
  void Kick();

 private:
  static constexpr std::size_t kPacketBytes = 64;
  // Slots of the real ring that stay free: the packet processor may advance its read index in
  // groups, later than it completes a mark; and ROCr wants one more than it writes.
  static constexpr std::uint64_t kSpareSlots = 18;

  InterceptGate(const RealApi& api, hsa_queue_t* queue, hsa_signal_t progress,
                std::uint64_t slots_each, unsigned char* memory);
  static void OnPackets(const void* packets, std::uint64_t count, std::uint64_t index, void* data,
                        hsa_amd_queue_intercept_packet_writer writer);
  void Write(const unsigned char* packets, std::uint64_t count, std::uint64_t index,
             hsa_amd_queue_intercept_packet_writer writer);
  bool IsKick(const unsigned char* packet) const;
  std::uint64_t Room() const;
  void Store(const unsigned char* packet, std::uint64_t index);
  void Append(const unsigned char* packet, std::uint64_t index, bool mark);
  void AppendMark(std::uint64_t end);
  std::uint64_t MarksPassed() const;

  const RealApi& api_;
  hsa_queue_t* queue_;
  const std::uint64_t packets_, slots_each_;
  hsa_signal_t progress_;  // 0, less one for each mark that was passed
  unsigned char* copies_;  // packets_ of them, by index
  unsigned char* out_;     // what goes to the writer: four times packets_
  unsigned char* store_;   // twice packets_
  std::uint64_t* store_index_;
  // By mark, packets_ of them: the index and the slots of the real ring up to and with it.
  std::atomic<std::uint64_t>* mark_end_;
  std::atomic<std::uint64_t>* mark_slots_;
  std::uint64_t out_count_ = 0;  // Write's own, like the next three
  std::uint64_t unmarked_ = 0;   // of out_: packets behind the last mark
  std::uint64_t store_first_ = 0;
  std::uint64_t marks_ = 0;
  std::atomic<std::uint64_t> slots_{0};  // written into the real ring so far
  std::atomic<std::uint64_t> stored_{0};
  std::atomic<bool> mark_each_{false}, abandoned_{false};
};

}  // namespace xsched_hsa

// aql_queue.h: the ring of one AQL queue, as the device's command processor sees it.
//
// Why        Implements PacketSource: decodes packets, applies what they do, completes signals.
//            Time and compute units are the device's business (../device).
// Threads    every method under the lock of the queue's GPU, but for the stats, which are atomic.
// Ownership  borrows the process's memory and events, which outlive it (Process destroys its queues
//            first).
// Units      indexes count packets; addresses are GPU virtual ones.
// Errors     a bad packet stops the queue for good, as on hardware: its queue_inactive_signal gets
//            the command processor's error code, or the process a memory-fault event.
#pragma once

#include <hsa/hsa.h>

#include <atomic>
#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>

#include "../device/device.h"
#include "address_space.h"
#include "compute_queue.h"
#include "events.h"
#include "faults.h"
#include "kernel_recogniser.h"
#include "sim_clock.h"

namespace virtual_gpu {

struct AqlRing {
  std::uint64_t base = 0;  // address of the first packet
  std::uint32_t bytes = 0;
  std::uint64_t write_index = 0;  // address of amd_queue_t::write_dispatch_id
  std::uint64_t read_index = 0;   // address of amd_queue_t::read_dispatch_id
};

class AqlQueue final : public ComputeQueue {
 public:
  struct Context {
    AddressSpace* memory;
    EventTable* events;
    const SimClock* clock;
    std::uint32_t gpu_id;
    KernelLimits limits;
    bool strict;
    std::string label;            // "pid 12 queue 3", for messages
    std::uint64_t save_area = 0;  // address; its header says where queue errors are to be told
    Faults* faults = nullptr;     // null: nothing goes wrong
    std::uint32_t gpu_index = 0;
  };

  AqlQueue(Context context, const AqlRing& ring, std::uint64_t* doorbell);

  bool SetRing(std::uint64_t base, std::uint32_t bytes) override;
  // Also true when a header that was INVALID below the write index has become valid.
  bool PollDoorbell() override;
  bool HasWork() const override { return !dead_ && read_index_ < known_write_index_; }

  bool Next(Packet* packet) override;
  void RereadWriteIndex() override;
  bool DependenciesMet(const Packet& packet) override;
  void Consume(const Packet& packet) override;
  void WorkgroupsDone(const Packet& packet, std::uint64_t count, bool first_done) override;
  void WorkgroupDoneOn(const Packet& packet, const CuLocation& cu, bool first_done) override;
  void Complete(const Packet& packet, TimeNs start, TimeNs end) override;

 private:
  // A packet between its decoding and its completion; the slot may long be reused.
  struct InFlight {
    Packet packet;
    KernelRun run;
    hsa_barrier_and_packet_t raw = {};  // any packet's 64 bytes
    std::uint64_t completion_signal = 0;
    std::uint64_t workgroups_done = 0;
  };

  std::uint16_t LoadHeader(std::uint64_t index) const;
  bool Decode(std::uint64_t index, std::uint16_t header, InFlight* flight);
  bool DecodeDispatch(InFlight* flight);
  bool DecodeVendor(InFlight* flight);
  bool SignalValue(std::uint64_t signal, std::int64_t* value);
  bool BarrierValueMet(const InFlight& flight);
  void ApplyBlit(const InFlight& flight);
  void CheckOrder(const InFlight& flight);
  void Add(std::uint64_t address, std::uint64_t amount, std::uint64_t* old);
  void CompleteSignal(std::uint64_t signal, TimeNs start, TimeNs end);
  void ReportOpaque(std::uint64_t kernel_object, const std::string& why);
  void FinishWorkgroups(const Packet& packet, std::uint64_t count, const CuLocation* place);
  void Execute(InFlight* flight, std::uint64_t first, std::uint64_t count, const CuLocation* place);
  bool GoesWrong(FaultKind fault);
  void Fault(std::uint64_t address);
  void StopWithError(DispatchError error, const std::string& why);
  void TellRuntime(DispatchError error);

  const Context context_;
  AqlRing ring_;
  std::uint64_t* const doorbell_;
  std::byte* packets_ = nullptr;  // ring_.base in the arena
  std::uint64_t* write_word_ = nullptr;
  std::uint64_t* read_word_ = nullptr;
  std::uint64_t last_doorbell_ = ~0ull;
  std::uint64_t known_write_index_ = 0;
  std::uint64_t read_index_ = 0;
  bool waits_for_header_ = false;                          // INVALID met below the write index
  bool decoded_ = false;                                   // current_ is the packet at read_index_
  std::unordered_map<std::uint64_t, InFlight> in_flight_;  // by packet index
  std::set<std::uint64_t> opaque_seen_;  // kernel objects already looked up by name
};

}  // namespace virtual_gpu

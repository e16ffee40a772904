// packet_source.h: what the device's command processor asks of a queue's ring.
//
// Why        The device model knows time, pipes and compute units; it does not know memory. The
//            driver model (../driver) owns rings, signals and address translation, and gives the
//            device one PacketSource per queue. Replay mode gives it one made from a file.
// Threads    all calls come from within a Device call, on the thread and under the lock of that
//            call.
// Ownership  the source outlives its queue on the device (Device::DestroyQueue).
// Units      TimeNs is simulated nanoseconds since the device started.
#pragma once

#include <cstdint>

namespace virtual_gpu {

using TimeNs = std::int64_t;

// A CU by its place: SE within its XCC, CU within its SE.
struct CuLocation {
  std::uint32_t xcc = 0, se = 0, cu = 0;
  bool operator==(const CuLocation&) const = default;
};

// What one kernel dispatch asks of the device. Resources are per workgroup.
struct KernelCost {
  std::uint64_t workgroups = 1;
  std::uint32_t waves = 1;  // per workgroup, ceil(work-items / 64)
  std::uint32_t vgprs = 8;  // per lane, as allocated (already rounded to the granule)
  std::uint32_t lds_bytes = 0;
  TimeNs workgroup_ns = 1000;  // how long one workgroup keeps its slot at full rate
  bool names_cu = false;       // WorkgroupDoneOn instead of WorkgroupsDone; never in bulk
};

struct Packet {
  enum class Kind { kDispatch, kBarrierAnd, kBarrierOr, kBarrierValue, kVendor };
  Kind kind = Kind::kVendor;
  bool barrier_bit = false;  // waits until all earlier packets of the queue completed
  KernelCost cost;           // kDispatch only
  std::uint64_t index = 0;   // packet index in the queue
  std::uint64_t cookie = 0;  // the source's own
};

class PacketSource {
 public:
  virtual ~PacketSource() = default;

  // The packet at the command processor's read position. False when there is none: the write index
  // as the device knows it (doorbell or re-read on map) is reached, or the header is still INVALID.
  // Repeated calls return the same packet until Consume().
  virtual bool Next(Packet* packet) = 0;

  // The device re-reads the write index when a queue is mapped again (MQD wptr poll).
  virtual void RereadWriteIndex() = 0;

  // Barrier packets: are the dependencies satisfied now? Polled.
  virtual bool DependenciesMet(const Packet& packet) = 0;

  // The packet has been processed (a dispatch: its last workgroup was launched): the slot's header
  // becomes INVALID and the read index advances by one.
  virtual void Consume(const Packet& packet) = 0;

  // `count` workgroups of the dispatch, `first_done` is true for the call that reports workgroup 0,
  // have finished: apply their effects. Over a dispatch's life the counts sum to cost.workgroups.
  virtual void WorkgroupsDone(const Packet& packet, std::uint64_t count, bool first_done) = 0;

  // One workgroup of a dispatch with KernelCost::names_cu, and where it was when it finished.
  virtual void WorkgroupDoneOn(const Packet& packet, const CuLocation& cu, bool first_done) {
    (void)cu;
    WorkgroupsDone(packet, 1, first_done);
  }

  // The packet is complete: write timestamps, decrement the completion signal, raise its interrupt.
  virtual void Complete(const Packet& packet, TimeNs start, TimeNs end) = 0;
};

}  // namespace virtual_gpu

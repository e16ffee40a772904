// ring.h: an AQL queue in plain memory, between a simulated program and the device model.
//
// Why        The gate works on 64-byte packets, headers, indexes and a doorbell; so those are real
//            here, and the packet processor takes them as tools/virtual-gpu/driver/aql_queue.cc
//            does: the write index as of the last doorbell or mapping, the header INVALID and the
//            read index moved when a packet's last workgroup was launched.
// Proof      every packet carries its number; Take and completion check that each comes once and in
//            order. Faults() is 0 in a sound run.
// Threads    as World: one at a time.
// See        hsa-intercept/window_gate.h
#pragma once

#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "hsa-intercept/real_api.h"
#include "packet_source.h"
#include "world.h"

namespace ablation {

// What a packet's kernarg_address points to: what only the kernel itself would know.
struct Work {
  virtual_gpu::KernelCost cost;
  std::uint32_t work_items = 64;
};

class Ring final : public virtual_gpu::PacketSource {
 public:
  Ring(World* world, std::uint32_t packets, std::uint64_t serial);

  hsa_queue_t* queue() { return &body_.hsa; }
  std::uint64_t size() const { return body_.hsa.size; }
  std::uint64_t read_index() const { return body_.read.load(); }
  // With the device already knowing the queue under this id.
  void Connect(virtual_gpu::QueueId id) { body_.device_id = id; }
  virtual_gpu::QueueId device_id() const { return body_.device_id; }

  // The packet at `index`, header last, as a program writes it. `work` must outlive it.
  void Write(std::uint64_t index, const Work& work, bool signals);
  // Without a layer: index and doorbell.
  void Publish(std::uint64_t end);
  // Called with each packet that carries a completion signal, and the time of its completion.
  void OnSignal(std::function<void(TimeNs)> act) { on_signal_ = std::move(act); }

  static const xsched_hsa::RealApi& Api();

  std::uint64_t written() const { return written_; }
  std::uint64_t completed() const { return completed_; }
  std::uint64_t workgroups() const { return workgroups_; }
  std::uint64_t workgroups_written() const { return workgroups_written_; }
  std::uint64_t Faults() const { return faults_; }
  // How long packets lay written while the device had none of them.
  TimeNs starved_ns() const { return starved_ns_; }

  bool Next(virtual_gpu::Packet* packet) override;
  void RereadWriteIndex() override;
  bool DependenciesMet(const virtual_gpu::Packet&) override { return true; }
  void Consume(const virtual_gpu::Packet& packet) override;
  void WorkgroupsDone(const virtual_gpu::Packet& packet, std::uint64_t count, bool first) override;
  void Complete(const virtual_gpu::Packet& packet, TimeNs start, TimeNs end) override;

 private:
  struct Body {
    hsa_queue_t hsa{};  // first: the queue's address is the body's
    std::atomic<std::uint64_t> write{0}, read{0};
    World* world = nullptr;
    Ring* ring = nullptr;
    virtual_gpu::QueueId device_id = 0;
  };
  struct Free {
    void operator()(unsigned char* p) const { std::free(p); }
  };
  struct InFlight {
    std::uint64_t number = 0, workgroups = 0;
    bool signals = false;
  };

  static Body& Of(const hsa_queue_t* queue) {
    return *const_cast<Body*>(reinterpret_cast<const Body*>(queue));
  }
  static void RingDoorbell(hsa_signal_t signal, hsa_signal_value_t value);
  unsigned char* Slot(std::uint64_t index) {
    return bytes_.get() + (index & (size() - 1)) * sizeof(hsa_kernel_dispatch_packet_t);
  }
  void SetHeader(std::uint64_t index, std::uint16_t header);

  Body body_;
  std::unique_ptr<unsigned char, Free> bytes_;
  std::vector<InFlight> in_flight_;  // by packet index, as the ring
  std::function<void(TimeNs)> on_signal_;
  std::uint64_t known_write_ = 0;
  bool decoded_ = false;
  virtual_gpu::Packet decoded_packet_;
  std::uint64_t written_ = 0, taken_ = 0, completed_ = 0, faults_ = 0;
  std::uint64_t workgroups_ = 0, workgroups_written_ = 0;
  TimeNs empty_since_ns_ = kNever, starved_ns_ = 0;
};

}  // namespace ablation

// test_ring.h: an AQL ring in plain memory, with the functions that a gate needs of what is below
// it.
//
// Why        The publish algorithm is about indexes, headers and order; this lets its unit tests
//            place a packet processor and producers at any point of it. The layer as a whole is
//            only ever tested on the real runtime (tests/).
// Threads    indexes and doorbell are atomics; Take() is the packet processor's, one thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>

#include "managed_queue.h"
#include "real_api.h"

namespace xsched_hsa {

class TestRing {
 public:
  explicit TestRing(std::uint64_t packets) : packets_(packets) {
    bytes_.reset(static_cast<unsigned char*>(std::aligned_alloc(64, packets * 64)));
    for (std::uint64_t i = 0; i < packets; ++i) SetHeader(i, HSA_PACKET_TYPE_INVALID);
    body_.hsa.size = static_cast<std::uint32_t>(packets);
    body_.hsa.base_address = bytes_.get();
    body_.hsa.doorbell_signal.handle = reinterpret_cast<std::uint64_t>(&body_);
    queue_.queue = &body_.hsa;
    queue_.doorbell = body_.hsa.doorbell_signal;
    queue_.ring = bytes_.get();
    queue_.ring_packets = packets;
    queue_.requested_priority = kPriorityLow;
    queue_.slot = &slot_;
    queue_.urgency = &urgency_;
    slot_.priority = -1;
  }

  ManagedQueue* queue() { return &queue_; }
  // The same ring as another record of it, one of a registry.
  void LendTo(ManagedQueue* queue) const {
    queue->queue = queue_.queue;
    queue->doorbell = queue_.doorbell;
    queue->ring = queue_.ring;
    queue->ring_packets = queue_.ring_packets;
    queue->requested_priority = kPriorityLow;
    queue->gpu_key = 7;
  }
  QueueSlot& slot() { return slot_; }
  GpuUrgency& urgency() { return urgency_; }

  std::uint64_t published() const { return body_.write.load(); }
  std::uint64_t taken() const { return body_.read.load(); }
  std::uint64_t doorbell() const { return body_.doorbell.load(); }
  // How often the doorbell was rung, also with the value that it had.
  std::uint64_t rings() const { return *static_cast<const volatile std::uint64_t*>(&body_.rings); }
  std::atomic<std::uint64_t>* real_index() { return &body_.write; }
  void PublishPastTheApi(std::uint64_t index) { body_.write = index; }

  std::uint64_t Reserve(std::uint64_t count) { return queue_.reserved_index.fetch_add(count); }
  // A dispatch of kernel `kernel` carrying `tag`, header last, as a program writes it.
  void Write(std::uint64_t index, std::uint64_t kernel, std::uint64_t tag = 0) {
    hsa_kernel_dispatch_packet_t packet{};
    packet.kernel_object = kernel;
    packet.grid_size_x = packet.workgroup_size_x = 64;
    packet.reserved2 = tag;
    unsigned char* at = Slot(index);
    std::memcpy(at + 2, reinterpret_cast<unsigned char*>(&packet) + 2, sizeof(packet) - 2);
    SetHeader(index, HSA_PACKET_TYPE_KERNEL_DISPATCH);
  }
  // The packet processor takes the next packet if it may: INVALID first, then the read index.
  bool Take(std::uint64_t* tag) {
    const std::uint64_t at = body_.read.load();
    if (at >= body_.write.load(std::memory_order_acquire)) return false;
    if ((__atomic_load_n(Header(at), __ATOMIC_ACQUIRE) & 0xff) == HSA_PACKET_TYPE_INVALID)
      return false;
    std::memcpy(tag, Slot(at) + offsetof(hsa_kernel_dispatch_packet_t, reserved2), sizeof(*tag));
    SetHeader(at, HSA_PACKET_TYPE_INVALID);
    body_.read.store(at + 1, std::memory_order_release);
    return true;
  }

  // Would Take find a packet there?
  bool IsWritten(std::uint64_t index) {
    return (__atomic_load_n(Header(index), __ATOMIC_ACQUIRE) & 0xff) != HSA_PACKET_TYPE_INVALID;
  }

  // Runs once, at the next read of a read index: after a look has seen what was announced.
  static inline std::function<void()> in_the_middle_of_a_look;

  static const RealApi& Api() {
    static const RealApi api = [] {
      RealApi a{};
      a.load_read_index_relaxed =
          a.load_read_index_scacquire = [](const hsa_queue_t* q) -> std::uint64_t {
        if (in_the_middle_of_a_look) std::exchange(in_the_middle_of_a_look, nullptr)();
        return Of(q).read.load(std::memory_order_acquire);
      };
      a.load_write_index_relaxed =
          a.load_write_index_scacquire = [](const hsa_queue_t* q) -> std::uint64_t {
        return Of(q).write.load(std::memory_order_acquire);
      };
      a.cas_write_index_scacq_screl = [](const hsa_queue_t* q, std::uint64_t expected,
                                         std::uint64_t value) -> std::uint64_t {
        Of(q).write.compare_exchange_strong(expected, value);
        return expected;
      };
      a.signal_store_screlease = [](hsa_signal_t s, hsa_signal_value_t value) {
        reinterpret_cast<Body*>(s.handle)->doorbell = static_cast<std::uint64_t>(value);
        __atomic_fetch_add(&reinterpret_cast<Body*>(s.handle)->rings, 1, __ATOMIC_RELAXED);
      };
      return a;
    }();
    return api;
  }

 private:
  struct Body {
    hsa_queue_t hsa{};  // first: the address of the queue is the address of the body
    std::atomic<std::uint64_t> write{0}, read{0}, doorbell{~0ull};
    std::uint64_t rings = 0;
  };
  struct Free {
    void operator()(unsigned char* p) const { std::free(p); }
  };

  static Body& Of(const hsa_queue_t* q) {
    return *const_cast<Body*>(reinterpret_cast<const Body*>(q));
  }
  unsigned char* Slot(std::uint64_t index) { return bytes_.get() + (index & (packets_ - 1)) * 64; }
  std::uint16_t* Header(std::uint64_t index) {
    return reinterpret_cast<std::uint16_t*>(Slot(index));
  }
  void SetHeader(std::uint64_t index, std::uint16_t type) {
    __atomic_store_n(Header(index), type, __ATOMIC_RELEASE);
  }

  std::uint64_t packets_;
  std::unique_ptr<unsigned char, Free> bytes_;
  Body body_;
  QueueSlot slot_{};
  GpuUrgency urgency_{};
  ManagedQueue queue_;
};

}  // namespace xsched_hsa

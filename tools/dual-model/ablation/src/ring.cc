#include "ring.h"

#include <algorithm>
#include <cstring>

namespace ablation {
namespace {

constexpr std::uint16_t kInvalid = HSA_PACKET_TYPE_INVALID << HSA_PACKET_HEADER_TYPE;
constexpr std::uint16_t kDispatch =
    HSA_PACKET_TYPE_KERNEL_DISPATCH << HSA_PACKET_HEADER_TYPE | 1 << HSA_PACKET_HEADER_BARRIER;
constexpr std::uint64_t kKernelObjects = 0x7f0000000000;  // one for each register count

}  // namespace

Ring::Ring(World* world, std::uint32_t packets, std::uint64_t serial) : in_flight_(packets) {
  const std::size_t bytes = std::size_t{packets} * sizeof(hsa_kernel_dispatch_packet_t);
  bytes_.reset(static_cast<unsigned char*>(std::aligned_alloc(64, bytes)));
  body_.hsa.type = HSA_QUEUE_TYPE_SINGLE;
  body_.hsa.size = packets;
  body_.hsa.base_address = bytes_.get();
  body_.hsa.doorbell_signal.handle = reinterpret_cast<std::uint64_t>(&body_) + 1;
  body_.hsa.id = serial;
  body_.world = world;
  body_.ring = this;
  for (std::uint32_t i = 0; i < packets; ++i) SetHeader(i, kInvalid);
}

void Ring::SetHeader(std::uint64_t index, std::uint16_t header) {
  __atomic_store_n(reinterpret_cast<std::uint16_t*>(Slot(index)), header, __ATOMIC_RELEASE);
}

void Ring::Write(std::uint64_t index, const Work& work, bool signals) {
  hsa_kernel_dispatch_packet_t packet{};
  packet.setup = 1 << HSA_KERNEL_DISPATCH_PACKET_SETUP_DIMENSIONS;
  packet.workgroup_size_x = static_cast<std::uint16_t>(work.work_items);
  packet.workgroup_size_y = packet.workgroup_size_z = 1;
  packet.grid_size_x = static_cast<std::uint32_t>(work.cost.workgroups * work.work_items);
  packet.grid_size_y = packet.grid_size_z = 1;
  packet.group_segment_size = work.cost.lds_bytes;
  packet.kernel_object = kKernelObjects + work.cost.vgprs * std::uint64_t{256};
  packet.kernarg_address = const_cast<Work*>(&work);
  packet.reserved2 = written_++;
  packet.completion_signal.handle = signals ? 1 : 0;
  unsigned char* slot = Slot(index);
  constexpr std::size_t kHeaderBytes = sizeof(packet.header);
  std::memcpy(slot + kHeaderBytes, reinterpret_cast<const unsigned char*>(&packet) + kHeaderBytes,
              sizeof(packet) - kHeaderBytes);
  workgroups_written_ += work.cost.workgroups;
  if (completed_ + 1 == written_ && empty_since_ns_ == kNever) empty_since_ns_ = body_.world->now();
  SetHeader(index, kDispatch);
}

void Ring::Publish(std::uint64_t end) {
  body_.write.store(end);
  RingDoorbell(body_.hsa.doorbell_signal, static_cast<hsa_signal_value_t>(end - 1));
}

void Ring::RereadWriteIndex() {
  const std::uint64_t write = body_.write.load();
  if (write > known_write_ && empty_since_ns_ != kNever) {
    starved_ns_ += std::max<TimeNs>(0, body_.world->now() - empty_since_ns_);
    empty_since_ns_ = kNever;
  }
  known_write_ = write;
}

void Ring::RingDoorbell(hsa_signal_t signal, hsa_signal_value_t) {
  Body& body = *reinterpret_cast<Body*>(signal.handle - 1);
  body.ring->RereadWriteIndex();
  body.world->device().Kick(body.world->now(), body.device_id);
}

const xsched_hsa::RealApi& Ring::Api() {
  static const xsched_hsa::RealApi api = [] {
    xsched_hsa::RealApi a{};
    a.load_read_index_relaxed = a.load_read_index_scacquire =
        [](const hsa_queue_t* queue) -> std::uint64_t { return Of(queue).read.load(); };
    a.load_write_index_relaxed = a.load_write_index_scacquire =
        [](const hsa_queue_t* queue) -> std::uint64_t { return Of(queue).write.load(); };
    a.cas_write_index_scacq_screl = [](const hsa_queue_t* queue, std::uint64_t expected,
                                       std::uint64_t value) -> std::uint64_t {
      Of(queue).write.compare_exchange_strong(expected, value);
      return expected;
    };
    a.signal_store_screlease = &Ring::RingDoorbell;
    return a;
  }();
  return api;
}

bool Ring::Next(virtual_gpu::Packet* packet) {
  const std::uint64_t index = body_.read.load();
  if (index >= known_write_) return false;
  if (!decoded_) {
    hsa_kernel_dispatch_packet_t raw;
    std::memcpy(&raw, Slot(index), sizeof(raw));
    if ((raw.header & 0xff) == HSA_PACKET_TYPE_INVALID) return false;
    const Work& work = *static_cast<const Work*>(raw.kernarg_address);
    decoded_packet_ = {};
    decoded_packet_.kind = virtual_gpu::Packet::Kind::kDispatch;
    decoded_packet_.barrier_bit = true;
    decoded_packet_.cost = work.cost;
    decoded_packet_.index = index;
    in_flight_[index & (size() - 1)] = {raw.reserved2, 0, raw.completion_signal.handle != 0};
    decoded_ = true;
  }
  *packet = decoded_packet_;
  return true;
}

void Ring::Consume(const virtual_gpu::Packet& packet) {
  const std::uint64_t index = packet.index;
  if (index != body_.read.load() || in_flight_[index & (size() - 1)].number != taken_++) ++faults_;
  SetHeader(index, kInvalid);
  decoded_ = false;
  body_.read.store(index + 1);
}

void Ring::WorkgroupsDone(const virtual_gpu::Packet& packet, std::uint64_t count, bool) {
  in_flight_[packet.index & (size() - 1)].workgroups += count;
  workgroups_ += count;
}

void Ring::Complete(const virtual_gpu::Packet& packet, TimeNs, TimeNs end) {
  const InFlight& flight = in_flight_[packet.index & (size() - 1)];
  // From its end if more was written by then, else from when more is.
  if (packet.index + 1 == known_write_ && written_ > completed_ + 1) empty_since_ns_ = end;
  if (flight.number != completed_++ || flight.workgroups != packet.cost.workgroups) ++faults_;
  if (flight.signals && on_signal_) on_signal_(end);
}

}  // namespace ablation

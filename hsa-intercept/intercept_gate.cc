#include "intercept_gate.h"

#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace xsched_hsa {
namespace {

constexpr std::uint16_t kMarkHeader = HSA_PACKET_TYPE_BARRIER_AND << HSA_PACKET_HEADER_TYPE;
static_assert(offsetof(hsa_barrier_and_packet_t, completion_signal) == 56);

// One block for an object and its arrays, for rings of `packets`.
constexpr std::size_t kObjectBytes = 4096;
static_assert(sizeof(InterceptGate) <= kObjectBytes);
constexpr std::size_t BlockBytes(std::uint64_t packets) {
  return kObjectBytes + packets * (64 + 256 + 128 + 16 + 8 + 8) + 64;
}

hsa_barrier_and_packet_t MarkPacket(hsa_signal_t completes) {
  hsa_barrier_and_packet_t mark{};
  mark.header = kMarkHeader;
  mark.completion_signal = completes;
  return mark;
}

}  // namespace

InterceptGate* InterceptGate::Make(const RealApi& api, hsa_agent_t agent, hsa_queue_t* queue,
                                   std::uint64_t slots_each) {
  hsa_signal_t progress{0};
  // A consumer that is no CPU makes it a signal without an interrupt: it is only ever looked at.
  if (api.signal_create(0, 1, &agent, &progress) != HSA_STATUS_SUCCESS) return nullptr;
  void* memory = mmap(nullptr, BlockBytes(queue->size), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  InterceptGate* gate = nullptr;
  if (memory != MAP_FAILED) {
    gate = new (memory)
        InterceptGate(api, queue, progress, slots_each, static_cast<unsigned char*>(memory));
    if (api.queue_intercept_register(queue, &InterceptGate::OnPackets, gate) ==
        HSA_STATUS_SUCCESS) {
      return gate;
    }
    munmap(memory, BlockBytes(queue->size));
  }
  api.signal_destroy(progress);
  return nullptr;
}

InterceptGate::InterceptGate(const RealApi& api, hsa_queue_t* queue, hsa_signal_t progress,
                             std::uint64_t slots_each, unsigned char* memory)
    : api_(api),
      queue_(queue),
      packets_(queue->size),
      slots_each_(slots_each),
      progress_(progress) {
  copies_ = memory + kObjectBytes;
  out_ = copies_ + packets_ * kPacketBytes;
  store_ = out_ + (4 * packets_ + 1) * kPacketBytes;
  store_index_ = reinterpret_cast<std::uint64_t*>(store_ + 2 * packets_ * kPacketBytes);
  mark_end_ = reinterpret_cast<std::atomic<std::uint64_t>*>(store_index_ + 2 * packets_);
  mark_slots_ = mark_end_ + packets_;
}

void InterceptGate::Free() {
  api_.signal_destroy(progress_);
  munmap(this, BlockBytes(packets_));
}

std::uint64_t InterceptGate::MarksPassed() const {
  return static_cast<std::uint64_t>(-api_.signal_load_scacquire(progress_));
}

std::uint64_t InterceptGate::Taken() const {
  const std::uint64_t passed = MarksPassed();
  if (passed == 0) return 0;
  return mark_end_[(passed - 1) & (packets_ - 1)].load(std::memory_order_acquire);
}

// Slots of the real ring that may still be written.
std::uint64_t InterceptGate::Room() const {
  const std::uint64_t passed = MarksPassed();
  const std::uint64_t gone =
      passed == 0 ? 0 : mark_slots_[(passed - 1) & (packets_ - 1)].load(std::memory_order_acquire);
  const std::uint64_t used = slots_.load(std::memory_order_relaxed) - gone + kSpareSlots;
  return used < packets_ ? packets_ - used : 0;
}

std::uint64_t InterceptGate::RoomForPackets() const {
  const std::uint64_t room = Room() / slots_each_;
  return room - std::min(room, stored_.load(std::memory_order_acquire));
}

// Counts on a mark behind each packet, so that the room never depends on how ROCr batches.
std::uint64_t InterceptGate::PublishLimit() const {
  return Taken() + (packets_ - kSpareSlots) / slots_each_;
}

void InterceptGate::Kick() {
  const auto ring = [this](std::uint64_t index) {
    api_.signal_store_screlease(queue_->doorbell_signal, static_cast<hsa_signal_value_t>(index));
  };
  const std::uint64_t index = api_.add_write_index_scacq_screl(queue_, 1);
  while (index - api_.load_read_index_scacquire(queue_) >= packets_) {
    ring(index);
    sched_yield();
  }
  const hsa_barrier_and_packet_t kick = MarkPacket(progress_);
  unsigned char* slot =
      static_cast<unsigned char*>(queue_->base_address) + (index & (packets_ - 1)) * kPacketBytes;
  std::memcpy(slot + 2, reinterpret_cast<const unsigned char*>(&kick) + 2, sizeof(kick) - 2);
  __atomic_store_n(reinterpret_cast<std::uint16_t*>(slot), kick.header, __ATOMIC_RELEASE);
  ring(index);
}

// Nobody else knows our signal.
bool InterceptGate::IsKick(const unsigned char* packet) const {
  std::uint64_t completes;
  std::memcpy(&completes, packet + offsetof(hsa_barrier_and_packet_t, completion_signal),
              sizeof(completes));
  return completes == progress_.handle;
}

void InterceptGate::OnPackets(const void* packets, std::uint64_t count, std::uint64_t index,
                              void* data, hsa_amd_queue_intercept_packet_writer writer) {
  static_cast<InterceptGate*>(data)->Write(static_cast<const unsigned char*>(packets), count, index,
                                           writer);
}

// Up to 7.1 ROCr hands over one packet a call, later all that are contiguous. What does not fit the
// real ring waits here, in order, for the next call.
void InterceptGate::Write(const unsigned char* packets, std::uint64_t count, std::uint64_t index,
                          hsa_amd_queue_intercept_packet_writer writer) {
  if (abandoned_.load(std::memory_order_relaxed)) return writer(packets, count);
  out_count_ = unmarked_ = 0;
  const bool each = mark_each_.load(std::memory_order_relaxed);
  std::uint64_t room = Room();
  std::uint64_t stored = stored_.load(std::memory_order_relaxed);
  std::uint64_t last_end = 0;
  const auto pass_on = [&](const unsigned char* packet, std::uint64_t at) {
    Append(packet, at, each);
    last_end = at + 1;
    room -= std::min(room, slots_each_);
  };
  const auto pass_on_stored = [&] {
    const std::uint64_t at = store_first_++ & (2 * packets_ - 1);
    pass_on(store_ + at * kPacketBytes, store_index_[at]);
    stored_.store(--stored, std::memory_order_release);
  };
  while (stored != 0 && room >= slots_each_) pass_on_stored();
  bool kicked = false;
  for (std::uint64_t i = 0; i < count; ++i) {
    const unsigned char* packet = packets + i * kPacketBytes;
    if (IsKick(packet)) {
      if (stored == 0) last_end = index + i + 1, kicked = true;
    } else if (stored == 0 && room >= slots_each_) {
      pass_on(packet, index + i);
    } else {
      // Full beyond what anything here can cause: ROCr's own overflow has to do.
      if (stored == 2 * packets_) pass_on_stored();
      Store(packet, index + i);
      ++stored;
    }
  }
  if (unmarked_ != 0 || kicked) AppendMark(last_end);
  if (out_count_ != 0) writer(out_, out_count_);
}

void InterceptGate::Store(const unsigned char* packet, std::uint64_t index) {
  const std::uint64_t at =
      (store_first_ + stored_.load(std::memory_order_relaxed)) & (2 * packets_ - 1);
  std::memcpy(store_ + at * kPacketBytes, packet, kPacketBytes);
  store_index_[at] = index;
  stored_.fetch_add(1, std::memory_order_release);
}

void InterceptGate::Append(const unsigned char* packet, std::uint64_t index, bool mark) {
  std::memcpy(out_ + out_count_++ * kPacketBytes, packet, kPacketBytes);
  std::memcpy(copies_ + (index & (packets_ - 1)) * kPacketBytes, packet, kPacketBytes);
  slots_.fetch_add(slots_each_ - 1, std::memory_order_relaxed);
  ++unmarked_;
  if (mark) AppendMark(index + 1);
}

void InterceptGate::AppendMark(std::uint64_t end) {
  const hsa_barrier_and_packet_t mark = MarkPacket(progress_);
  std::memcpy(out_ + out_count_++ * kPacketBytes, &mark, kPacketBytes);
  const std::uint64_t slots = slots_.fetch_add(1, std::memory_order_relaxed) + 1;
  unmarked_ = 0;
  mark_end_[marks_ & (packets_ - 1)].store(end, std::memory_order_release);
  mark_slots_[marks_ & (packets_ - 1)].store(slots, std::memory_order_release);
  ++marks_;
}

}  // namespace xsched_hsa

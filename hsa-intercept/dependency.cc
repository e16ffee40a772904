#include "dependency.h"

#include <fcntl.h>
#include <hsa/amd_hsa_signal.h>
#include <hsa/hsa_ext_amd.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace xsched_hsa {
namespace {

constexpr std::uint64_t kPacketsLookedAtMax = 65536;

static_assert(offsetof(amd_signal_t, value) == 8);
static_assert(offsetof(hsa_barrier_and_packet_t, dep_signal) == 8);
static_assert(offsetof(hsa_barrier_or_packet_t, dep_signal) == 8);
static_assert(offsetof(hsa_kernel_dispatch_packet_t, completion_signal) == 56 &&
              offsetof(hsa_barrier_and_packet_t, completion_signal) == 56);

bool ReadSignal(std::uint64_t signal, SafeReader* reader, std::int64_t* value) {
  return reader->Read(signal + offsetof(amd_signal_t, value), value);
}

Dependencies OfBarrier(const unsigned char* bytes, bool any_is_enough, SafeReader* reader) {
  hsa_barrier_and_packet_t packet;
  std::memcpy(&packet, bytes, sizeof(packet));
  Dependencies unmet;
  bool one_met = false;
  for (const hsa_signal_t& signal : packet.dep_signal) {
    std::int64_t value = 0;
    // One that can't be read has passed: programs keep signals as long as a packet waits.
    if (signal.handle == 0) continue;
    if (ReadSignal(signal.handle, reader, &value) && value != 0) {
      unmet.signals[unmet.count++] = signal.handle;
    } else {
      one_met = true;
    }
  }
  if (any_is_enough && one_met) return {};
  return unmet;
}

bool IsMet(const hsa_amd_barrier_value_packet_t& packet, std::int64_t seen) {
  const std::int64_t value = seen & packet.mask;
  switch (packet.cond) {
    case HSA_SIGNAL_CONDITION_EQ:
      return value == packet.value;
    case HSA_SIGNAL_CONDITION_NE:
      return value != packet.value;
    case HSA_SIGNAL_CONDITION_LT:
      return value < packet.value;
    default:
      return value >= packet.value;
  }
}

Dependencies OfBarrierValue(const unsigned char* bytes, SafeReader* reader) {
  hsa_amd_barrier_value_packet_t packet;
  std::memcpy(&packet, bytes, sizeof(packet));
  Dependencies unmet;
  std::int64_t value = 0;
  if (packet.signal.handle != 0 && ReadSignal(packet.signal.handle, reader, &value) &&
      !IsMet(packet, value)) {
    unmet.signals[unmet.count++] = packet.signal.handle;
  }
  return unmet;
}

}  // namespace

bool SafeReader::Read(std::uint64_t address, std::int64_t* value) {
  if (fds_[0] < 0 && pipe2(fds_, O_CLOEXEC | O_NONBLOCK) != 0) return false;
  // The kernel reads for us: a bad address is EFAULT, not a fault.
  if (write(fds_[1], reinterpret_cast<const void*>(address), sizeof(*value)) != sizeof(*value)) {
    return false;
  }
  return read(fds_[0], value, sizeof(*value)) == sizeof(*value);
}

Dependencies UnmetDependencies(const unsigned char* packet, SafeReader* reader) {
  std::uint16_t header;
  std::memcpy(&header, packet, sizeof(header));
  switch (header & 0xff) {
    case HSA_PACKET_TYPE_BARRIER_AND:
      return OfBarrier(packet, false, reader);
    case HSA_PACKET_TYPE_BARRIER_OR:
      return OfBarrier(packet, true, reader);
    case HSA_PACKET_TYPE_VENDOR_SPECIFIC:
      return packet[2] == HSA_AMD_PACKET_TYPE_BARRIER_VALUE ? OfBarrierValue(packet, reader)
                                                            : Dependencies{};
    default:
      return {};
  }
}

bool MayComplete(const WindowGate& gate, const ManagedQueue& queue, std::uint64_t signal) {
  // A suspended queue may have nothing left but a kernel that was already taken.
  const QueueSlot* slot = queue.slot.load(std::memory_order_acquire);
  if (!gate.HasUnfinished(queue) && slot->restriction.load(std::memory_order_relaxed) == 0) {
    return false;
  }
  const std::uint64_t end =
      std::max(queue.announced_index.load(std::memory_order_acquire), gate.Published(queue));
  const std::uint64_t count = std::min({end, queue.ring_packets, kPacketsLookedAtMax});
  for (std::uint64_t at = end - count; at < end; ++at) {
    std::uint64_t completion;
    std::memcpy(&completion, gate.PacketAt(queue, at) + 56, sizeof(completion));
    if (completion == signal) return true;
  }
  return false;
}

}  // namespace xsched_hsa

#include "kernel_times.h"

#include <hsa/hsa.h>

#include <cstring>

namespace xsched_hsa {
namespace {

constexpr std::uint32_t kProbes = 8;

std::uint64_t HashDispatch(const hsa_kernel_dispatch_packet_t& packet) {
  // A kernel's time depends on what it is and how much of it there is.
  std::uint64_t hash = packet.kernel_object * 0x9E3779B97F4A7C15u;
  const std::uint64_t grid =
      static_cast<std::uint64_t>(packet.grid_size_x) * packet.grid_size_y * packet.grid_size_z;
  hash ^= (grid + packet.workgroup_size_x) * 0xC2B2AE3D27D4EB4Fu;
  hash ^= hash >> 29;
  hash *= 0xBF58476D1CE4E5B9u;
  hash ^= hash >> 32;
  return hash != 0 ? hash : 1;
}

}  // namespace

std::uint16_t KernelTimes::KeyOf(const unsigned char* bytes) {
  hsa_kernel_dispatch_packet_t packet;
  std::memcpy(&packet, bytes, sizeof(packet));
  const int type = packet.header & 0xff;
  if (type != HSA_PACKET_TYPE_KERNEL_DISPATCH) return kBarrier;
  const std::uint64_t hash = HashDispatch(packet);
  const std::uint32_t buckets = kEntries - kFirst;
  for (std::uint32_t probe = 0; probe < kProbes; ++probe) {
    const auto at = static_cast<std::uint16_t>(kFirst + (hash + probe) % buckets);
    std::uint64_t seen = entries_[at].hash.load(std::memory_order_relaxed);
    if (seen == hash) return at;
    if (seen == 0 &&
        entries_[at].hash.compare_exchange_strong(seen, hash, std::memory_order_relaxed)) {
      return at;
    }
    if (seen == hash) return at;
  }
  const auto at = static_cast<std::uint16_t>(kFirst + hash % buckets);
  entries_[at].hash.store(hash, std::memory_order_relaxed);
  entries_[at].ns.store(0, std::memory_order_relaxed);
  return at;
}

std::uint64_t KernelTimes::PredictNs(std::uint16_t key) const {
  if (key == kBarrier) return kBarrierNs;
  const std::uint64_t ns = entries_[key].ns.load(std::memory_order_relaxed);
  return ns != 0 ? ns : kUnknownNs;
}

void KernelTimes::Observe(std::uint16_t key, std::uint64_t ns) {
  if (key < kFirst || ns == 0) return;
  const std::uint64_t old = entries_[key].ns.load(std::memory_order_relaxed);
  entries_[key].ns.store(old == 0 ? ns : (old * 3 + ns) / 4, std::memory_order_relaxed);
}

}  // namespace xsched_hsa

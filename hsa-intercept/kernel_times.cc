#include "kernel_times.h"

#include <hsa/hsa.h>

#include <algorithm>
#include <cstring>

namespace xsched_hsa {
namespace {

constexpr std::uint32_t kProbes = 8;

std::uint64_t Mix(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15u + (hash << 6) + (hash >> 2);
  hash *= 0xBF58476D1CE4E5B9u;
  return hash ^ hash >> 29;
}

// A kernel's time depends on what it is, how much of it there is, and in which shape.
std::uint64_t HashDispatch(const hsa_kernel_dispatch_packet_t& packet) {
  std::uint64_t hash = Mix(1, packet.kernel_object);
  hash = Mix(hash, static_cast<std::uint64_t>(packet.grid_size_x) << 32 | packet.grid_size_y);
  hash =
      Mix(hash, static_cast<std::uint64_t>(packet.grid_size_z) << 32 | packet.group_segment_size);
  hash = Mix(hash, static_cast<std::uint64_t>(packet.workgroup_size_x) << 32 |
                       static_cast<std::uint64_t>(packet.workgroup_size_y) << 16 |
                       packet.workgroup_size_z);
  return hash != 0 ? hash : 1;
}

}  // namespace

// Entry 0 stands for "no kernel" and is never handed out.
std::uint16_t KernelTimes::EntryOf(std::uint64_t hash) {
  const std::uint32_t places = kEntries - 1;
  for (std::uint32_t probe = 0; probe < kProbes; ++probe) {
    const auto at = static_cast<std::uint16_t>(1 + (hash + probe) % places);
    std::uint64_t seen = entries_[at].hash.load(std::memory_order_relaxed);
    if (seen == 0) {
      entries_[at].hash.compare_exchange_strong(seen, hash, std::memory_order_relaxed);
      if (seen == 0) return at;
    }
    if (seen == hash) return at;
  }
  const auto at = static_cast<std::uint16_t>(1 + hash % places);
  entries_[at].hash.store(hash, std::memory_order_relaxed);
  entries_[at].ns.store(0, std::memory_order_relaxed);
  entries_[at].spread_ns.store(0, std::memory_order_relaxed);
  return at;
}

KernelKey KernelTimes::KeyOf(const unsigned char* bytes, KernelContext* context) {
  hsa_kernel_dispatch_packet_t packet;
  std::memcpy(&packet, bytes, sizeof(packet));
  if ((packet.header & 0xff) != HSA_PACKET_TYPE_KERNEL_DISPATCH) return {};
  const std::uint64_t hash = HashDispatch(packet);
  const KernelKey key{EntryOf(hash), EntryOf(Mix(Mix(hash, context->last), context->before_last))};
  *context = {hash, context->last};
  return key;
}

std::uint64_t KernelTimes::PredictNs(KernelKey key) const {
  if (key.itself == 0) return kBarrierNs;
  for (const std::uint16_t at : {key.in_context, key.itself}) {
    const std::uint64_t ns = entries_[at].ns.load(std::memory_order_relaxed);
    if (ns != 0) return ns;
  }
  return kUnknownNs;
}

KernelEstimate KernelTimes::EstimateOf(KernelKey key) const {
  if (key.itself == 0) return {kBarrierNs, 0, true};
  for (const std::uint16_t at : {key.in_context, key.itself}) {
    const std::uint64_t ns = entries_[at].ns.load(std::memory_order_relaxed);
    if (ns != 0) return {ns, entries_[at].spread_ns.load(std::memory_order_relaxed), true};
  }
  return {kUnknownNs, kUnknownNs, false};
}

void KernelTimes::ObserveEntry(std::uint16_t at, std::uint64_t ns) {
  Entry& entry = entries_[at];
  const auto mean = [](std::uint64_t old, std::uint64_t now) {
    return static_cast<std::uint32_t>((old * 3 + now) / 4);
  };
  ns = std::min<std::uint64_t>(ns, UINT32_MAX);
  const std::uint64_t old = entry.ns.load(std::memory_order_relaxed);
  if (old == 0) {
    entry.spread_ns.store(static_cast<std::uint32_t>(ns), std::memory_order_relaxed);
    return entry.ns.store(static_cast<std::uint32_t>(ns), std::memory_order_relaxed);
  }
  const std::uint64_t off = old > ns ? old - ns : ns - old;
  entry.spread_ns.store(mean(entry.spread_ns.load(std::memory_order_relaxed), off),
                        std::memory_order_relaxed);
  entry.ns.store(mean(old, ns), std::memory_order_relaxed);
}

void KernelTimes::Observe(KernelKey key, std::uint64_t ns) {
  if (key.itself == 0 || ns == 0) return;
  ObserveEntry(key.itself, ns);
  ObserveEntry(key.in_context, ns);
}

}  // namespace xsched_hsa

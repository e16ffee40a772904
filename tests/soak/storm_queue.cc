#include "storm_queue.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace soak {
namespace {

std::chrono::seconds g_patience{60};
constexpr std::uint64_t kBatchMax = 8;
constexpr std::uint32_t kSpins = 256;
constexpr useconds_t kNapUs = 500;

// Waits until `done`; true, or false when nothing came of it for so long.
template <typename Done>
bool WaitUntil(Done done) {
  const auto until = std::chrono::steady_clock::now() + g_patience;
  for (std::uint32_t i = 1; !done(); ++i) {
    // Soon asleep: what is waited for needs the processor, too.
    if (i < kSpins) {
      sched_yield();
    } else {
      usleep(kNapUs);
    }
    if (i % 128 == 0 && std::chrono::steady_clock::now() > until) return false;
  }
  return true;
}

void Check(hsa_status_t status, const char* what) {
  if (status != HSA_STATUS_SUCCESS) Fail(what, status);
}

std::uint16_t HeaderOf(hsa_packet_type_t type) {
  return static_cast<std::uint16_t>(
      type << HSA_PACKET_HEADER_TYPE | 1 << HSA_PACKET_HEADER_BARRIER |
      HSA_FENCE_SCOPE_SYSTEM << HSA_PACKET_HEADER_SCACQUIRE_FENCE_SCOPE |
      HSA_FENCE_SCOPE_SYSTEM << HSA_PACKET_HEADER_SCRELEASE_FENCE_SCOPE);
}

}  // namespace

void SetPatience(std::chrono::seconds patience) { g_patience = patience; }

void Fail(const char* what, std::uint64_t detail) {
  std::fprintf(stderr, "packet-storm: %s (%llu)\n", what, static_cast<unsigned long long>(detail));
  std::_Exit(1);
}

Tally& Tally::operator+=(const Tally& other) {
  submitted += other.submitted;
  completed += other.completed;
  lost += other.lost;
  repeated += other.repeated;
  reordered += other.reordered;
  abandoned += other.abandoned;
  rounds += other.rounds;
  refused += other.refused;
  return *this;
}

StormQueue::StormQueue(dual_model::HsaDevice* device, std::uint32_t packets, bool single,
                       std::uint32_t kernel_ns)
    : device_(device), packets_(packets), kernel_ns_(kernel_ns) {
  if (hsa_queue_create(device->agent(), packets,
                       single ? HSA_QUEUE_TYPE_SINGLE : HSA_QUEUE_TYPE_MULTI, nullptr, nullptr,
                       UINT32_MAX, UINT32_MAX, &queue_) != HSA_STATUS_SUCCESS) {
    queue_ = nullptr;
    return;
  }
  const hsa_agent_t agent = device->agent();
  for (std::uint32_t i = 0; i < packets; ++i) {
    hsa_signal_t signal;
    Check(hsa_signal_create(0, 1, &agent, &signal), "hsa_signal_create failed");
    signals_.push_back(signal);
  }
  std::string error;
  counters_ = static_cast<Counters*>(device->AllocateShared(sizeof(Counters), false, &error));
  // Twice the ring: a slot's packet was taken when it is used again, but may not have completed.
  kernargs_ = static_cast<dual_model::WorkKernarg*>(
      device->AllocateShared(2 * packets * sizeof(dual_model::WorkKernarg), true, &error));
  if (counters_ == nullptr || kernargs_ == nullptr) Fail(error.c_str(), 0);
}

StormQueue::~StormQueue() {
  if (queue_ != nullptr) Check(hsa_queue_destroy(queue_), "hsa_queue_destroy failed");
  for (const hsa_signal_t signal : signals_) hsa_signal_destroy(signal);
  if (counters_ != nullptr) device_->FreeShared(counters_);
  if (kernargs_ != nullptr) device_->FreeShared(kernargs_);
}

std::uint64_t StormQueue::Reserve(std::uint64_t count, Style style) {
  if (style == Style::kStore) {
    const std::uint64_t at = hsa_queue_load_write_index_relaxed(queue_);
    WaitForRoom(at + count - 1);
    hsa_queue_store_write_index_screlease(queue_, at + count);
    return at;
  }
  if (style != Style::kCas) return hsa_queue_add_write_index_scacq_screl(queue_, count);
  std::uint64_t at = hsa_queue_load_write_index_scacquire(queue_);
  while (true) {
    const std::uint64_t seen = hsa_queue_cas_write_index_scacq_screl(queue_, at, at + count);
    if (seen == at) return at;
    at = seen;
  }
}

void StormQueue::WaitForRoom(std::uint64_t index) {
  const bool came =
      WaitUntil([&] { return index - hsa_queue_load_read_index_scacquire(queue_) < packets_; });
  if (!came) Fail("nothing was taken off a full ring for too long", index);
}

void StormQueue::Write(std::uint64_t index) {
  const hsa_signal_t signal = SignalOf(index);
  if (!WaitUntil([&] { return hsa_signal_load_scacquire(signal) < 1; })) {
    Fail("a packet was taken, but its signal did not fire", index);
  }
  if (hsa_signal_load_relaxed(signal) < 0) repeated_.fetch_add(1);
  hsa_signal_store_relaxed(signal, 1);
  auto* slot = static_cast<unsigned char*>(queue_->base_address) + (index & (packets_ - 1)) * 64;
  std::uint32_t first_word;
  if (IsKernel(index)) {
    dual_model::WorkKernarg* kernarg = &kernargs_[index % (2 * packets_)];
    kernarg->workgroups_done = reinterpret_cast<std::uint64_t>(&counters_->workgroups_done);
    kernarg->sequence = reinterpret_cast<std::uint64_t>(&counters_->sequence);
    kernarg->order_errors = reinterpret_cast<std::uint64_t>(&counters_->order_errors);
    kernarg->expected_sequence = index / kKernelEvery;
    kernarg->workgroup_ticks = std::max(1u, kernel_ns_ / 10);
    kernarg->workgroup_ns = kernel_ns_;
    hsa_kernel_dispatch_packet_t packet{};
    packet.workgroup_size_x = 64;
    packet.workgroup_size_y = packet.workgroup_size_z = 1;
    packet.grid_size_x = 64;
    packet.grid_size_y = packet.grid_size_z = 1;
    packet.kernel_object = device_->KernelObject(8);
    packet.kernarg_address = kernarg;
    packet.completion_signal = signal;
    std::memcpy(slot + 4, reinterpret_cast<unsigned char*>(&packet) + 4, 60);
    first_word = HeaderOf(HSA_PACKET_TYPE_KERNEL_DISPATCH) |
                 1u << (16 + HSA_KERNEL_DISPATCH_PACKET_SETUP_DIMENSIONS);
  } else {
    hsa_barrier_and_packet_t packet{};
    packet.completion_signal = signal;
    std::memcpy(slot + 4, reinterpret_cast<unsigned char*>(&packet) + 4, 60);
    first_word = HeaderOf(HSA_PACKET_TYPE_BARRIER_AND);
  }
  __atomic_store_n(reinterpret_cast<std::uint32_t*>(slot), first_word, __ATOMIC_RELEASE);
}

// The later one is read first: if it has completed, so must have its predecessor. Only where no other
// producer arms signals meanwhile.
void StormQueue::CompareNeighbours(std::mt19937_64* random) {
  const std::uint64_t end = submitted_.load();
  if (end < 2) return;
  const std::uint64_t span = std::min<std::uint64_t>(end - 1, packets_ - 1);
  const std::uint64_t at = end - 1 - (*random)() % span;
  const bool later_done = hsa_signal_load_scacquire(SignalOf(at)) < 1;
  if (later_done && hsa_signal_load_scacquire(SignalOf(at - 1)) > 0) reordered_.fetch_add(1);
}

void StormQueue::Submit(std::uint64_t count, Style style, std::mt19937_64* random) {
  while (count > 0) {
    const std::uint64_t batch =
        style == Style::kOne ? 1 : std::min(count, 1 + (*random)() % kBatchMax);
    const std::uint64_t first = Reserve(batch, style);
    WaitForRoom(first + batch - 1);
    for (std::uint64_t i = 0; i < batch; ++i) {
      Write(style == Style::kBackwards ? first + batch - 1 - i : first + i);
    }
    submitted_.fetch_add(batch);
    hsa_signal_store_screlease(queue_->doorbell_signal,
                               static_cast<hsa_signal_value_t>(first + batch - 1));
    if (queue_->type == HSA_QUEUE_TYPE_SINGLE) CompareNeighbours(random);
    count -= batch;
  }
}

void StormQueue::Drain(Tally* tally) {
  const std::uint64_t end = submitted_.load();
  const std::uint64_t beyond = end > packets_ ? end - packets_ : 0;
  for (std::uint64_t at = beyond; at < end; ++at) {
    const hsa_signal_t signal = SignalOf(at);
    if (!WaitUntil([&] { return hsa_signal_load_scacquire(signal) < 1; })) ++tally->lost;
    if (hsa_signal_load_scacquire(signal) < 0) repeated_.fetch_add(1);
  }
  // A repeated kernel need not have a signal that shows it.
  const std::uint64_t kernels = end / kKernelEvery;
  const std::uint64_t began = __atomic_load_n(&counters_->sequence, __ATOMIC_ACQUIRE);
  const std::uint64_t done = __atomic_load_n(&counters_->workgroups_done, __ATOMIC_ACQUIRE);
  if (began < kernels || done < kernels) tally->lost += kernels - std::min(began, done);
  if (began > kernels || done > kernels) repeated_.fetch_add(std::max(began, done) - kernels);
  tally->submitted += end;
  tally->repeated += repeated_.load();
  tally->reordered +=
      reordered_.load() + __atomic_load_n(&counters_->order_errors, __ATOMIC_ACQUIRE);
  tally->completed += end - tally->lost;
  ++tally->rounds;
}

void StormQueue::DestroyAndJudge(Tally* tally) {
  Check(hsa_queue_destroy(queue_), "hsa_queue_destroy failed");
  queue_ = nullptr;
  const std::uint64_t end = submitted_.load();
  const std::uint64_t beyond = end > packets_ ? end - packets_ : 0;
  std::uint64_t ran = beyond;
  bool stopped = false;
  for (std::uint64_t at = beyond; at < end; ++at) {
    const hsa_signal_value_t left = hsa_signal_load_scacquire(SignalOf(at));
    if (left < 0) repeated_.fetch_add(1);
    if (left > 0) {
      stopped = true;
      continue;
    }
    ++ran;
    if (stopped) reordered_.fetch_add(1);
  }
  tally->submitted += end;
  tally->completed += ran;
  tally->abandoned += end - ran;
  tally->repeated += repeated_.load();
  tally->reordered +=
      reordered_.load() + __atomic_load_n(&counters_->order_errors, __ATOMIC_ACQUIRE);
  ++tally->rounds;
}

}  // namespace soak

#include "replay_queue.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace dual_model {
namespace {

constexpr std::uint16_t Header(bool first, bool last) {
  // The host's writes are acquired at the start, the device's released at the end of an iteration;
  // between kernels of one queue the device's own scope is enough.
  const auto acquire = first ? HSA_FENCE_SCOPE_SYSTEM : HSA_FENCE_SCOPE_AGENT;
  const auto release = last ? HSA_FENCE_SCOPE_SYSTEM : HSA_FENCE_SCOPE_AGENT;
  return static_cast<std::uint16_t>(HSA_PACKET_TYPE_KERNEL_DISPATCH << HSA_PACKET_HEADER_TYPE |
                                    1 << HSA_PACKET_HEADER_BARRIER |
                                    acquire << HSA_PACKET_HEADER_SCACQUIRE_FENCE_SCOPE |
                                    release << HSA_PACKET_HEADER_SCRELEASE_FENCE_SCOPE);
}

// Publishes a filled packet: the header goes last and makes everything before it visible.
void StoreHeader(hsa_kernel_dispatch_packet_t* packet, std::uint16_t header) {
  constexpr std::uint16_t kOneDimension = 1 << HSA_KERNEL_DISPATCH_PACKET_SETUP_DIMENSIONS;
  const std::uint32_t word = header | std::uint32_t{kOneDimension} << 16;
  __atomic_store_n(reinterpret_cast<std::uint32_t*>(packet), word, __ATOMIC_RELEASE);
}

}  // namespace

bool ReplayCheck::Passed() const {
  return packets_submitted == packets_completed && workgroups_expected == workgroups_done &&
         order_errors == 0 && signal_errors == 0;
}

std::string ReplayCheck::Text() const {
  return "packets submitted " + std::to_string(packets_submitted) + ", begun " +
         std::to_string(packets_completed) + "; workgroups expected " +
         std::to_string(workgroups_expected) + ", done " + std::to_string(workgroups_done) +
         "; out of order " + std::to_string(order_errors) + "; completion signals wrong " +
         std::to_string(signal_errors);
}

std::unique_ptr<ReplayQueue> ReplayQueue::Create(HsaDevice* device, const ReplayPlan& plan,
                                                 const ReplayClock& clock,
                                                 std::uint32_t ring_packets,
                                                 std::int64_t timeout_ns, std::string* error) {
  std::unique_ptr<ReplayQueue> queue(new ReplayQueue(device, plan, clock, timeout_ns));
  if (!queue->Allocate(ring_packets, error)) return nullptr;
  return queue;
}

bool ReplayQueue::Allocate(std::uint32_t ring_packets, std::string* error) {
  hsa_system_get_info(HSA_SYSTEM_INFO_TIMESTAMP_FREQUENCY, &timestamp_hz_);
  hsa_status_t status = hsa_queue_create(device_->agent(), ring_packets, HSA_QUEUE_TYPE_SINGLE,
                                         nullptr, nullptr, 0, 0, &queue_);
  if (status != HSA_STATUS_SUCCESS) {
    queue_ = nullptr;
    *error = HsaErrorText("hsa_queue_create", status);
    return false;
  }
  status = hsa_signal_create(0, 0, nullptr, &completion_);
  if (status != HSA_STATUS_SUCCESS) {
    *error = HsaErrorText("hsa_signal_create", status);
    return false;
  }
  counters_ = static_cast<Counters*>(device_->AllocateShared(sizeof(Counters), false, error));
  if (counters_ == nullptr) return false;
  kernargs_ = static_cast<KernargSlot*>(
      device_->AllocateShared(2 * std::size_t{queue_->size} * sizeof(KernargSlot), true, error));
  return kernargs_ != nullptr;
}

ReplayQueue::~ReplayQueue() {
  if (queue_ != nullptr) hsa_queue_destroy(queue_);
  if (completion_.handle != 0) hsa_signal_destroy(completion_);
  device_->FreeShared(counters_);
  device_->FreeShared(kernargs_);
}

bool ReplayQueue::RunIteration(std::string* error) {
  if (hsa_signal_load_relaxed(completion_) != 0) ++signal_errors_;
  hsa_signal_store_relaxed(completion_, 1);
  const std::int64_t start_ns = clock_.NowNs();
  for (std::size_t i = 0; i < plan_.kernels.size(); ++i) {
    // A fixed schedule: a launch that the machine delivers late does not push the later ones, since
    // it is the virtual GPU's machine that is late, not the program that is being replayed.
    if (plan_.host_bound &&
        !WaitForTurn(start_ns + clock_.MachineNs(plan_.host_gap_ns * double(i + 1)), error)) {
      return false;
    }
    if (!Launch(plan_.kernels[i], i == 0, i + 1 == plan_.kernels.size(), error)) return false;
  }
  return WaitForCompletion(error);
}

bool ReplayQueue::WaitForTurn(std::int64_t due_ns, std::string* error) {
  if (!clock_.WaitUntil(due_ns)) {
    *error = kDeadClock;
    return false;
  }
  const std::int64_t late_ns = clock_.NowNs() - due_ns;
  ++launch_lag_.launches;
  if (late_ns > clock_.MachineNs(kLateNs)) ++launch_lag_.late;
  launch_lag_.max_ns = std::max(launch_lag_.max_ns, late_ns);
  return true;
}

bool ReplayQueue::Launch(const ReplayKernel& kernel, bool first, bool last, std::string* error) {
  const std::uint64_t index = hsa_queue_add_write_index_screlease(queue_, 1);
  if (!WaitForRoom(index, error)) return false;

  // Room in the ring means that the packet `size` places back was taken, not that it has completed;
  // but by its barrier bit the one before that has. Hence twice the ring of kernargs.
  WorkKernarg* kernarg = &kernargs_[index % (2 * std::uint64_t{queue_->size})].kernarg;
  kernarg->workgroups_done = reinterpret_cast<std::uint64_t>(&counters_->workgroups_done);
  kernarg->sequence = reinterpret_cast<std::uint64_t>(&counters_->sequence);
  kernarg->order_errors = reinterpret_cast<std::uint64_t>(&counters_->order_errors);
  kernarg->expected_sequence = packets_;
  kernarg->workgroup_ticks = std::max(1u, (kernel.workgroup_ns + 5) / 10);
  kernarg->workgroup_ns = kernel.workgroup_ns;

  auto* ring = static_cast<hsa_kernel_dispatch_packet_t*>(queue_->base_address);
  hsa_kernel_dispatch_packet_t* packet = &ring[index & (queue_->size - 1)];
  packet->workgroup_size_x = static_cast<std::uint16_t>(kernel.work_items);
  packet->workgroup_size_y = packet->workgroup_size_z = 1;
  packet->reserved0 = 0;
  packet->grid_size_x = static_cast<std::uint32_t>(kernel.workgroups * kernel.work_items);
  packet->grid_size_y = packet->grid_size_z = 1;
  packet->private_segment_size = 0;
  packet->group_segment_size = kernel.lds_bytes;
  packet->kernel_object = device_->KernelObject(kernel.vgprs);
  packet->kernarg_address = kernarg;
  packet->reserved2 = 0;
  packet->completion_signal = last ? completion_ : hsa_signal_t{0};
  StoreHeader(packet, Header(first, last));
  hsa_signal_store_screlease(queue_->doorbell_signal, static_cast<hsa_signal_value_t>(index));

  ++packets_;
  workgroups_ += kernel.workgroups;
  return true;
}

bool ReplayQueue::WaitForRoom(std::uint64_t packet_index, std::string* error) {
  std::int64_t give_up_ns = 0;
  while (packet_index - hsa_queue_load_read_index_scacquire(queue_) >= queue_->size) {
    const std::int64_t now_ns = MonotonicNs();
    if (give_up_ns == 0) give_up_ns = now_ns + timeout_ns_;
    if (now_ns > give_up_ns) {
      *error = "the queue has been full for " + std::to_string(timeout_ns_ / 1'000'000'000) +
               " s: the device takes no packets";
      return false;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return true;
}

bool ReplayQueue::WaitForCompletion(std::string* error) {
  const std::int64_t give_up_ns = MonotonicNs() + timeout_ns_;
  hsa_signal_value_t value = 1;
  // The runtime may return early, and its timeout is a hint: ask again until the time is really up.
  do {
    value = hsa_signal_wait_scacquire(completion_, HSA_SIGNAL_CONDITION_LT, 1, timestamp_hz_,
                                      HSA_WAIT_STATE_BLOCKED);
  } while (value >= 1 && MonotonicNs() < give_up_ns);
  if (value < 1) return true;
  *error = "an inference did not complete within " + std::to_string(timeout_ns_ / 1'000'000'000) +
           " s; " + Check().Text();
  return false;
}

std::uint64_t ReplayQueue::WorkgroupsDone() const {
  return __atomic_load_n(&counters_->workgroups_done, __ATOMIC_ACQUIRE);
}

ReplayCheck ReplayQueue::Check() const {
  ReplayCheck check;
  check.packets_submitted = packets_;
  check.packets_completed = __atomic_load_n(&counters_->sequence, __ATOMIC_ACQUIRE);
  check.workgroups_expected = workgroups_;
  check.workgroups_done = WorkgroupsDone();
  check.order_errors = __atomic_load_n(&counters_->order_errors, __ATOMIC_ACQUIRE);
  check.signal_errors = signal_errors_ + (hsa_signal_load_scacquire(completion_) != 0 ? 1 : 0);
  return check;
}

}  // namespace dual_model

#include "driven_queue.h"

#include <hsa/hsa_ext_amd.h>
#include <unistd.h>

#include <cstring>

namespace device_measurements {
namespace {
constexpr std::uint32_t kRingPackets = 1024;  // a size that nobody else of this process has
constexpr std::int64_t kTimeoutNs = 60'000'000'000;
constexpr std::uint32_t kPacketBytes = 64;
}  // namespace

bool FindNode(const dual_model::HsaDevice& device, xsched_hsa::KfdNode* node, std::string* error) {
  std::uint32_t bdf = 0, domain = 0;
  hsa_agent_get_info(device.agent(), static_cast<hsa_agent_info_t>(HSA_AMD_AGENT_INFO_BDFID), &bdf);
  hsa_agent_get_info(device.agent(), static_cast<hsa_agent_info_t>(HSA_AMD_AGENT_INFO_DOMAIN),
                     &domain);
  const xsched_hsa::GpuKey key =
      (static_cast<xsched_hsa::GpuKey>(domain) << 16 | (bdf & 0xffff)) + 1;
  if (xsched_hsa::FindKfdNode("", key, node)) return true;
  *error =
      "the driver's topology (/sys/class/kfd/kfd/topology) has no GPU at this agent's PCI "
      "address; is /sys mounted in this container?";
  return false;
}

std::unique_ptr<DrivenQueue> DrivenQueue::Create(dual_model::HsaDevice* device,
                                                 const dual_model::ReplayPlan& plan,
                                                 const dual_model::ReplayClock& clock,
                                                 const xsched_hsa::KfdNode& node,
                                                 std::string* error) {
  std::unique_ptr<DrivenQueue> driven(new DrivenQueue(clock));
  xsched_hsa::QueueIdProbe probe("", getpid());
  const bool listed = probe.TakeBefore();
  driven->replay_ =
      dual_model::ReplayQueue::Create(device, plan, clock, kRingPackets, kTimeoutNs, error);
  if (driven->replay_ == nullptr) return nullptr;
  const hsa_queue_t* queue = driven->replay_->handle();
  driven->node_ = node;
  driven->queue_.ring_base = reinterpret_cast<std::uint64_t>(queue->base_address);
  driven->queue_.ring_bytes = queue->size * kPacketBytes;
  if (listed) driven->queue_.id = probe.FindNew(node, driven->queue_.ring_bytes);
  if (driven->queue_.id != xsched_hsa::kUnknownKfdQueueId) return driven;
  *error =
      "the driver does not list this process's queues under its pid (/sys/class/kfd/kfd/proc/" +
      std::to_string(getpid()) + "/queues): run it outside of PID namespaces (docker: --pid=host)";
  return nullptr;
}

std::uint64_t DrivenQueue::read_index() const {
  return hsa_queue_load_read_index_scacquire(replay_->handle());
}

bool DrivenQueue::Report(const char* call, int code, std::int64_t began_ns, double* ms,
                         std::string* error) {
  *ms = clock_.DeviceMs(clock_.NowNs() - began_ns);
  if (code == 0) return true;
  *error = std::string(call) + " of queue " + std::to_string(queue_.id) + ": " + strerror(code);
  return false;
}

bool DrivenQueue::Update(std::uint32_t percentage, double* ms, std::string* error) {
  const std::int64_t began_ns = clock_.NowNs();
  const int code = kfd_.Update(queue_, percentage);
  return Report(percentage == 0 ? "UPDATE_QUEUE to 0 %" : "UPDATE_QUEUE to 100 %", code, began_ns,
                ms, error);
}

bool DrivenQueue::UseUnits(std::uint32_t units, double* ms, std::string* error) {
  std::uint32_t words[xsched_hsa::kCuMaskWordsMax] = {};
  const std::uint32_t bits = (node_.compute_units + 31) / 32 * 32;
  for (std::uint32_t bit = 0; bit < units; ++bit) words[bit / 32] |= 1u << (bit % 32);
  const std::int64_t began_ns = clock_.NowNs();
  return Report("SET_CU_MASK", kfd_.SetMask(queue_, words, bits), began_ns, ms, error);
}

}  // namespace device_measurements

#include "hsa_device.h"

#include <cstring>
#include <vector>

#include "dual-model/work_code_objects.h"
#include "dual-model/work_kernel_abi.h"
#include "replay_clock.h"

namespace dual_model {
namespace {

struct AgentList {
  std::vector<hsa_agent_t> gpus, cpus;
};

hsa_status_t CollectAgent(hsa_agent_t agent, void* data) {
  auto* list = static_cast<AgentList*>(data);
  hsa_device_type_t type;
  const hsa_status_t status = hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type);
  if (status != HSA_STATUS_SUCCESS) return status;
  if (type == HSA_DEVICE_TYPE_GPU) list->gpus.push_back(agent);
  if (type == HSA_DEVICE_TYPE_CPU) list->cpus.push_back(agent);
  return HSA_STATUS_SUCCESS;
}

struct PoolList {
  hsa_amd_memory_pool_t fine{}, kernarg{};
};

hsa_status_t CollectHostPool(hsa_amd_memory_pool_t pool, void* data) {
  auto* list = static_cast<PoolList*>(data);
  hsa_amd_segment_t segment;
  hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment);
  if (segment != HSA_AMD_SEGMENT_GLOBAL) return HSA_STATUS_SUCCESS;
  std::uint32_t flags = 0;
  hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, &flags);
  if ((flags & HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_FINE_GRAINED) == 0) return HSA_STATUS_SUCCESS;
  const bool is_kernarg = (flags & HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_KERNARG_INIT) != 0;
  if (is_kernarg && list->kernarg.handle == 0) list->kernarg = pool;
  if (!is_kernarg && list->fine.handle == 0) list->fine = pool;
  return HSA_STATUS_SUCCESS;
}

hsa_status_t FindLdsSize(hsa_amd_memory_pool_t pool, void* data) {
  hsa_amd_segment_t segment;
  hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment);
  if (segment == HSA_AMD_SEGMENT_GROUP) {
    hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_SIZE, data);
  }
  return HSA_STATUS_SUCCESS;
}

std::string AgentText(hsa_agent_t agent, hsa_agent_info_t what) {
  char text[256] = {};
  hsa_agent_get_info(agent, what, text);
  return text;
}

}  // namespace

std::string HsaErrorText(const char* call, hsa_status_t status) {
  const char* text = nullptr;
  hsa_status_string(status, &text);
  // "HSA_STATUS_NAME: several sentences": the name says enough on one line.
  const std::string name = text != nullptr ? text : "unknown HSA status";
  return std::string(call) + " failed: " + name.substr(0, name.find(':'));
}

HsaStatus HsaDevice::Open(std::uint32_t gpu, std::unique_ptr<HsaDevice>* device,
                          std::string* error) {
  const hsa_status_t status = hsa_init();
  if (status != HSA_STATUS_SUCCESS) {
    *error = HsaErrorText("hsa_init", status) +
             "; without an MI GPU start it under `virtual-gpu run -- ...`";
    return HsaStatus::kNoDevice;
  }
  std::unique_ptr<HsaDevice> opened(new HsaDevice);
  HsaStatus result = opened->FindAgents(gpu, error);
  if (result == HsaStatus::kOk) result = opened->FindPools(error);
  if (result != HsaStatus::kOk) return result;
  opened->ReadShape();
  *device = std::move(opened);
  return HsaStatus::kOk;
}

HsaDevice::~HsaDevice() {
  if (executable_.handle != 0) hsa_executable_destroy(executable_);
  hsa_shut_down();
}

HsaStatus HsaDevice::FindAgents(std::uint32_t gpu, std::string* error) {
  AgentList agents;
  const hsa_status_t status = hsa_iterate_agents(CollectAgent, &agents);
  if (status != HSA_STATUS_SUCCESS || agents.cpus.empty()) {
    *error = HsaErrorText("hsa_iterate_agents", status);
    return HsaStatus::kFailed;
  }
  if (gpu >= agents.gpus.size()) {
    *error = "GPU " + std::to_string(gpu) + " is not there: the runtime lists " +
             std::to_string(agents.gpus.size()) +
             " GPU agent(s); see rocminfo, or start it under `virtual-gpu run -- ...`";
    return HsaStatus::kNoDevice;
  }
  gpu_ = agents.gpus[gpu];
  cpu_ = agents.cpus.front();
  return HsaStatus::kOk;
}

HsaStatus HsaDevice::FindPools(std::string* error) {
  PoolList pools;
  hsa_amd_agent_iterate_memory_pools(cpu_, CollectHostPool, &pools);
  if (pools.fine.handle == 0 && pools.kernarg.handle == 0) {
    *error = "the host has no fine-grained memory pool";
    return HsaStatus::kFailed;
  }
  fine_pool_ = pools.fine.handle != 0 ? pools.fine : pools.kernarg;
  kernarg_pool_ = pools.kernarg.handle != 0 ? pools.kernarg : pools.fine;
  return HsaStatus::kOk;
}

void HsaDevice::ReadShape() {
  hsa_isa_t isa{};
  hsa_agent_get_info(gpu_, HSA_AGENT_INFO_ISA, &isa);
  char isa_name[128] = {};
  if (isa.handle != 0) hsa_isa_get_info_alt(isa, HSA_ISA_INFO_NAME, isa_name);
  isa_ = isa_name;
  name_ = AgentText(gpu_, static_cast<hsa_agent_info_t>(HSA_AMD_AGENT_INFO_PRODUCT_NAME));
  hsa_agent_get_info(gpu_, static_cast<hsa_agent_info_t>(HSA_AMD_AGENT_INFO_COMPUTE_UNIT_COUNT),
                     &shape_.compute_units);
  hsa_agent_get_info(gpu_, static_cast<hsa_agent_info_t>(HSA_AMD_AGENT_INFO_NUM_SIMDS_PER_CU),
                     &shape_.simds_per_cu);
  if (isa_.find("gfx908") != std::string::npos) {
    shape_.waves_per_simd = 10;
    shape_.vgprs_per_simd = 256;
  }
  if (OnVirtualGpu()) shape_.workgroup_spread = kVirtualGpuSpread;
  std::size_t lds_bytes = 0;
  hsa_amd_agent_iterate_memory_pools(gpu_, FindLdsSize, &lds_bytes);
  if (lds_bytes > 0) shape_.lds_bytes_per_cu = static_cast<std::uint32_t>(lds_bytes);
}

void* HsaDevice::AllocateShared(std::size_t bytes, bool kernarg, std::string* error) {
  void* memory = nullptr;
  hsa_status_t status = hsa_amd_memory_pool_allocate(kernarg ? kernarg_pool_ : fine_pool_,
                                                     (bytes + 4095) / 4096 * 4096, 0, &memory);
  if (status == HSA_STATUS_SUCCESS) {
    status = hsa_amd_agents_allow_access(1, &gpu_, nullptr, memory);
    if (status != HSA_STATUS_SUCCESS) hsa_amd_memory_pool_free(memory);
  }
  if (status != HSA_STATUS_SUCCESS) {
    *error = HsaErrorText("allocating host memory for the GPU", status);
    return nullptr;
  }
  std::memset(memory, 0, bytes);
  return memory;
}

void HsaDevice::FreeShared(void* memory) {
  if (memory != nullptr) hsa_amd_memory_pool_free(memory);
}

HsaStatus HsaDevice::LoadKernels(std::string* error) {
  const std::span<const std::byte> code = GetWorkCodeObject(isa_);
  if (code.empty()) {
    *error = "no kernels for " + isa_ + "; there are some for " + std::string(kWorkIsas);
    return HsaStatus::kNoDevice;
  }
  hsa_code_object_reader_t reader{};
  hsa_status_t status =
      hsa_code_object_reader_create_from_memory(code.data(), code.size(), &reader);
  const char* call = "hsa_code_object_reader_create_from_memory";
  if (status == HSA_STATUS_SUCCESS) {
    call = "hsa_executable_create_alt";
    status = hsa_executable_create_alt(HSA_PROFILE_FULL, HSA_DEFAULT_FLOAT_ROUNDING_MODE_DEFAULT,
                                       nullptr, &executable_);
  }
  if (status == HSA_STATUS_SUCCESS) {
    call = "hsa_executable_load_agent_code_object";
    status = hsa_executable_load_agent_code_object(executable_, gpu_, reader, nullptr, nullptr);
  }
  if (status == HSA_STATUS_SUCCESS) {
    call = "hsa_executable_freeze";
    status = hsa_executable_freeze(executable_, nullptr);
  }
  for (std::uint32_t vgprs = kVgprStep; status == HSA_STATUS_SUCCESS && vgprs <= kVgprMax;
       vgprs += kVgprStep) {
    call = "hsa_executable_get_symbol_by_name";
    const std::string symbol_name = "xsched_work_v" + std::to_string(vgprs) + ".kd";
    hsa_executable_symbol_t symbol{};
    status = hsa_executable_get_symbol_by_name(executable_, symbol_name.c_str(), &gpu_, &symbol);
    if (status != HSA_STATUS_SUCCESS) break;
    status = hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_OBJECT,
                                            &kernel_objects_[vgprs / kVgprStep]);
  }
  if (reader.handle != 0) hsa_code_object_reader_destroy(reader);
  if (status == HSA_STATUS_SUCCESS) return HsaStatus::kOk;
  *error = HsaErrorText(call, status);
  return HsaStatus::kFailed;
}

std::uint64_t HsaDevice::KernelObject(std::uint32_t vgprs) const {
  return vgprs % kVgprStep == 0 && vgprs <= kVgprMax ? kernel_objects_[vgprs / kVgprStep] : 0;
}

}  // namespace dual_model

// hsa_device.h: the GPU as an ordinary HSA program sees it: agent, memory pools, loaded kernels.
//
// Why        The load generator must look like any other program to the runtime, the layer and the
//            driver, so it uses the public HSA API only, as HIP does.
// Threads    one thread.
// Ownership  HsaDevice holds hsa_init; everything else made through it must be gone before it.
// Errors     kNoDevice for a GPU that is not there (the program then exits 2), kFailed otherwise;
//            one line in *error.
#pragma once

#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>

#include <cstdint>
#include <memory>
#include <string>

#include "replay_plan.h"

namespace dual_model {

enum class HsaStatus { kOk, kNoDevice, kFailed };

// "hsa_queue_create failed: HSA_STATUS_ERROR_OUT_OF_RESOURCES"
std::string HsaErrorText(const char* call, hsa_status_t status);

class HsaDevice {
 public:
  // `gpu`: the how-manieth GPU agent.
  static HsaStatus Open(std::uint32_t gpu, std::unique_ptr<HsaDevice>* device, std::string* error);
  ~HsaDevice();
  HsaDevice(const HsaDevice&) = delete;
  HsaDevice& operator=(const HsaDevice&) = delete;

  hsa_agent_t agent() const { return gpu_; }
  const DeviceShape& shape() const { return shape_; }
  const std::string& isa() const { return isa_; }    // "amdgcn-amd-amdhsa--gfx90a:..."
  const std::string& name() const { return name_; }  // product name, if the runtime knows it

  // Host memory that the GPU sees: fine grained, zeroed, page aligned; nullptr if there is none.
  // `kernarg`: from the pool meant for kernel arguments.
  void* AllocateShared(std::size_t bytes, bool kernarg, std::string* error);
  void FreeShared(void* memory);

  // Loads the work kernels for this ISA. KernelObject: 0 for a register count without a symbol.
  HsaStatus LoadKernels(std::string* error);
  std::uint64_t KernelObject(std::uint32_t vgprs) const;

 private:
  HsaDevice() = default;
  HsaStatus FindAgents(std::uint32_t gpu, std::string* error);
  HsaStatus FindPools(std::string* error);
  void ReadShape();

  hsa_agent_t gpu_{}, cpu_{};
  hsa_amd_memory_pool_t fine_pool_{}, kernarg_pool_{};
  hsa_executable_t executable_{};
  DeviceShape shape_;
  std::string isa_, name_;
  std::uint64_t kernel_objects_[33] = {};
};

}  // namespace dual_model

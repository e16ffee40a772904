// kernel_recogniser.h: what a kernel dispatch asks of the device, and what it does.
//
// Why        Two kinds of kernel are known by their code: the load generator's work and data kernels
//            (work_kernel_abi.h), and ROCr's own blit kernels, which bring code objects and copies to
//            VRAM. They are carried out without their instructions. Everything else is interpreted
//            (../isa), or, where that cannot be, takes an assumed time and leaves no effect (counted,
//            named and reported).
// Threads    none of its own; called on the thread that holds the device lock.
// Units      times in simulated nanoseconds, sizes in bytes.
// Errors     a result that is not kOk names what the hardware would have reported.
// See        facts: LLVM AMDGPU usage guide (kernel descriptor), amd_hsa_kernel_code.h
#pragma once

#include <hsa/hsa.h>

#include <cstdint>
#include <memory>
#include <string>

#include "../device/device_params.h"
#include "../device/packet_source.h"
#include "address_space.h"
#include "dual-model/work_kernel_abi.h"

namespace virtual_gpu {

namespace isa {
class Kernel;
}

enum class KernelKind {
  kWork,
  kFill,
  kCopy,
  kVectorAdd,
  kBlitCopy,
  kBlitFill,
  kInterpreted,  // ../isa
  kOpaque
};

struct KernelRun {
  KernelKind kind = KernelKind::kOpaque;
  KernelCost cost;
  std::uint64_t kernel_object = 0;
  dual_model::WorkKernarg work = {};
  dual_model::DataKernarg data = {};          // kFill, kCopy, kVectorAdd
  std::uint64_t to = 0, from = 0, bytes = 0;  // blits
  std::uint32_t pattern = 0;                  // kBlitFill
  std::shared_ptr<isa::Kernel> interpreted;
};

struct KernelLimits {
  std::uint32_t lds_bytes = 65536;
  std::uint32_t vgpr_granule = 8;
  TimeNs opaque_workgroup_ns = 20'000;
  TimeNs blit_workgroup_ns = 2'000;
  bool interpret = true;  // kernels that nobody recognises; false: they are opaque
  double instruction_ns = 2;
  std::uint64_t wave_instructions_max = 20'000'000;
  std::uint32_t simds = 4;
};

// The values are the error codes that the command processor puts into queue_inactive_signal.
enum class DispatchError : std::uint32_t {
  kOk = 0,
  kBadDimensions = 2,
  kBadGroupMemory = 4,
  kBadCode = 8,
  kBadPacket = 32,
  kWorkgroupTooLarge = 64,
  kBadVendorPacket = 256,
  kIllegalInstruction = 0x40000000,
  kAbort = 0x80000000,
  kMemoryFault = 0x10000,  // not an error code: *fault_address raises the memory event
};

DispatchError Recognise(const hsa_kernel_dispatch_packet_t& packet, const AddressSpace& memory,
                        const KernelLimits& limits, KernelRun* run, std::uint64_t* fault_address);

// Makes an opaque `run` an interpreted one, with a cost by the instructions that one workgroup needs.
// Not kOk: `why` it cannot run. kOk and still opaque: `why` it has to remain so.
DispatchError Interpret(const hsa_kernel_dispatch_packet_t& packet, std::uint64_t packet_address,
                        AddressSpace* memory, const KernelLimits& limits, KernelRun* run,
                        std::string* why);

// "name" of the kernel in the loaded code object, or "kernel object 0x..." when it cannot be found.
std::string KernelName(std::uint64_t kernel_object, const AddressSpace& memory);

}  // namespace virtual_gpu

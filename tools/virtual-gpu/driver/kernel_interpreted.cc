// kernel_interpreted.cc: dispatches whose instructions are carried out (../isa).

#include <algorithm>

#include "../isa/interpreter.h"
#include "kernel_recogniser.h"

namespace virtual_gpu {

DispatchError Interpret(const hsa_kernel_dispatch_packet_t& packet, std::uint64_t packet_address,
                        AddressSpace* memory, const KernelLimits& limits, KernelRun* run,
                        std::string* why) {
  if (!limits.interpret) {
    *why = "by --param interpret=0";
    return DispatchError::kOk;
  }
  run->interpreted =
      isa::Kernel::Make(packet, packet_address, limits.wave_instructions_max, memory, why);
  if (run->interpreted == nullptr) return DispatchError::kOk;
  run->kind = KernelKind::kInterpreted;
  // Memory may not yet be as the workgroup will find it: a fault here is none, and a count that
  // depends on data is of the data as they are now.
  const isa::Outcome trial = run->interpreted->Try(memory);
  if (trial.kind == isa::Outcome::Kind::kNotCovered) {
    *why = trial.what;
    return DispatchError::kIllegalInstruction;
  }
  run->cost.names_cu = trial.asked_place;
  std::uint64_t instructions = trial.instructions;
  if (trial.kind == isa::Outcome::Kind::kEndless) instructions = isa::kTrialInstructionsMax;
  if (instructions == 0) return DispatchError::kOk;  // a fault: the opaque kernel's time
  const std::uint64_t waves_per_simd = (run->cost.waves + limits.simds - 1) / limits.simds;
  run->cost.workgroup_ns =
      std::max<TimeNs>(1, static_cast<TimeNs>(static_cast<double>(instructions * waves_per_simd) *
                                              limits.instruction_ns));
  return DispatchError::kOk;
}

}  // namespace virtual_gpu

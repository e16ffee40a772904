// interpreter.h: runs the workgroups of one kernel dispatch, instruction by instruction.
//
// Why        Kernels of real programs have to leave their results in memory, or nothing above them
//            can be tested. Waves of 64 lanes, one workgroup at a time; what a workgroup costs in
//            simulated time is the device's affair, given how many instructions a trial of one needs.
// Threads    a Kernel is used under its queue's lock; the decode cache behind it has its own.
// Ownership  borrows the process's memory for the time of a call.
// Units      instructions count per wave, sleeps as the instructions of their time; a workgroup takes
//            those of its longest wave.
// Errors     Outcome: a memory fault with its address; an instruction that is not covered, a
//            workgroup without an end, or one that aborts, with a line that names it. All are for good.
// Limits     instructions_max per wave: a kernel that waits for the host in a loop would never end
//            here, for while it runs, time stands. 32-bit and 64-bit code of gfx9 (gfx90a, gfx942) only.
// See        docs/hip.md
#pragma once

#include <hsa/hsa.h>

#include <cstdint>
#include <memory>
#include <string>

#include "../device/packet_source.h"
#include "../driver/address_space.h"

namespace virtual_gpu::isa {

inline constexpr std::uint64_t kTrialInstructionsMax = 2'000'000;

struct Outcome {
  enum class Kind { kDone, kMemoryFault, kNotCovered, kEndless, kAborted };
  Kind kind = Kind::kDone;
  std::uint64_t fault_address = 0;
  std::string what;                // kNotCovered, kEndless, kAborted: one line
  std::uint64_t instructions = 0;  // of the workgroups' longest waves, summed
  bool asked_place = false;        // it has read where it runs
};

class Kernel {
 public:
  // Null with why: no decoder, or no kernel descriptor that we understand.
  static std::shared_ptr<Kernel> Make(const hsa_kernel_dispatch_packet_t& packet,
                                      std::uint64_t packet_address, std::uint64_t instructions_max,
                                      AddressSpace* memory, std::string* why);
  virtual ~Kernel() = default;

  // Workgroups [first, first + count) in the order x, y, z, all at `place`. Without one a workgroup
  // that reads where it runs (HW_ID, XCC_ID) is not covered.
  virtual Outcome Run(std::uint64_t first, std::uint64_t count, const CuLocation* place,
                      AddressSpace* memory) = 0;
  // Workgroup 0, anywhere, leaving memory as it is.
  virtual Outcome Try(AddressSpace* memory) = 0;
};

}  // namespace virtual_gpu::isa

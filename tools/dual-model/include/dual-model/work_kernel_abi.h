// work_kernel_abi.h: what the load generator's kernels, their host side and the virtual GPU agree on.
//
// Why        The load generator dispatches real code objects (kernels/work.s, assembled for gfx908,
//            gfx90a and gfx942; kernels/data.s beside it is for tests). On an MI GPU they are executed; on the virtual GPU they are
//            recognised by the signature at their entry point, their kernarg is read, and their
//            effect is applied workgroup by workgroup.
// Units      durations in nanoseconds; ticks are those of s_memrealtime, 100 MHz on MI parts.
// See        kernels/work.s, tools/virtual-gpu/driver/kernel_recogniser.h
#pragma once

#include <cstdint>

namespace dual_model {

// A recognised kernel's code starts with `s_branch` over this block (4 bytes of branch, then the
// block); so an unknown kernel can never be mistaken for one of these, and real hardware pays one
// branch per wave.
struct KernelSignature {
  char magic[16];         // kKernelMagic, no terminator
  std::uint32_t version;  // kKernelAbiVersion
  std::uint32_t kind;     // KernelKind
};
static_assert(sizeof(KernelSignature) == 24);
inline constexpr char kKernelMagic[17] = "XSCHED-HSA-KERN1";
inline constexpr std::uint32_t kKernelAbiVersion = 1;
inline constexpr std::uint32_t kSignatureOffsetBytes = 4;

enum class KernelKind : std::uint32_t {
  kWork = 1,       // occupies its workgroup slot for a time and leaves a countable effect
  kFill = 2,       // data kernels (DataKernarg): to[i] = value
  kCopy = 3,       //   to[i] = from[i]
  kVectorAdd = 4,  //   to[i] = from[i] + other[i]
};

// Kernarg segment of kWork. Effects, in this order:
//  1. workgroup 0 only: old = atomic_add(*sequence, 1); if old != expected_sequence,
//     atomic_add(*order_errors, 1)
//  2. every workgroup: keeps its slot for workgroup_ticks of the 100 MHz clock
//  3. every workgroup, once: atomic_add(*workgroups_done, 1)
// The three addresses are 8-byte aligned and visible to host and device (fine grained).
struct WorkKernarg {
  std::uint64_t workgroups_done;    // address of a u64
  std::uint64_t sequence;           // address of a u64: dispatches that have begun on this queue
  std::uint64_t order_errors;       // address of a u64
  std::uint64_t expected_sequence;  // value of *sequence when this dispatch begins
  std::uint32_t workgroup_ticks;    // for hardware, 10 ns each
  std::uint32_t workgroup_ns;       // for the virtual GPU, the same time at full precision
};
static_assert(sizeof(WorkKernarg) == 40);

// One symbol per VGPR allocation, "xsched_work_v<N>.kd" with N = 8, 16 ... 256: the kernel descriptor
// says how many registers a work-item holds, and the device limits occupancy by it. LDS is dynamic
// and comes from the dispatch packet's group_segment_size.
inline constexpr std::uint32_t kVgprStep = 8;
inline constexpr std::uint32_t kVgprMax = 256;

// Kernarg segment of the data kernels, "xsched_fill.kd", "xsched_copy.kd" and
// "xsched_vector_add.kd". Elements are 32-bit. Work-item i of the dispatch handles element i, if
// there is one, after its workgroup has kept its slot for workgroup_ticks. With to == other a vector
// add is no longer idempotent: a workgroup that ran twice, or not at all, shows in the data.
struct DataKernarg {
  std::uint64_t to;  // addresses, 4-byte aligned; a kernel ignores those it has no use for
  std::uint64_t from;
  std::uint64_t other;
  std::uint32_t elements;
  std::uint32_t value;            // kFill
  std::uint32_t workgroup_items;  // the dispatch's workgroup_size_x
  std::uint32_t workgroup_ticks;  // for hardware, 10 ns each
  std::uint32_t workgroup_ns;     // for the virtual GPU, the same time at full precision
  std::uint32_t reserved;
};
static_assert(sizeof(DataKernarg) == 48);

}  // namespace dual_model

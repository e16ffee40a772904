#include "interpreter.h"

#include <elf.h>

#include <algorithm>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../driver/kernel_recogniser.h"
#include "memory_port.h"
#include "program.h"
#include "wave.h"

namespace virtual_gpu::isa {
namespace {

// amdhsa.kernel descriptor (LLVM AMDGPU usage guide), code object version 3 and later.
struct Descriptor {
  std::uint32_t group_segment_bytes;
  std::uint32_t private_segment_bytes;
  std::uint32_t kernarg_bytes;
  std::uint32_t reserved0;
  std::int64_t entry_offset_bytes;
  std::uint8_t reserved1[20];
  std::uint32_t rsrc3, rsrc1, rsrc2;
  std::uint16_t properties;
  std::uint8_t reserved2[6];
};
static_assert(sizeof(Descriptor) == 64 && offsetof(Descriptor, rsrc1) == 48);

constexpr std::uint32_t kScratchLaneBytesMax = 64 * 1024;

bool Bit(std::uint32_t word, unsigned bit) { return (word >> bit & 1) != 0; }

// Which part the code around `address` is for: the loader puts the ELF header in front of it.
std::string CpuAt(std::uint64_t address, const AddressSpace& memory) {
  std::uint64_t start = 0, bytes = 0;
  Elf64_Ehdr elf;
  if (!memory.Range(address, &start, &bytes) || !memory.ReadValue(start, &elf) ||
      std::memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0) {
    return "";
  }
  return CpuOfFlags(elf.e_flags);
}

class InterpretedKernel final : public Kernel {
 public:
  InterpretedKernel(const hsa_kernel_dispatch_packet_t& packet, std::uint64_t packet_address,
                    std::uint64_t instructions_max, const Descriptor& descriptor,
                    std::uint64_t entry, std::string cpu)
      : packet_(packet),
        packet_address_(packet_address),
        instructions_max_(instructions_max),
        descriptor_(descriptor),
        entry_(entry),
        program_(std::move(cpu), entry) {
    items_[0] = packet.workgroup_size_x;
    items_[1] = packet.workgroup_size_y;
    items_[2] = packet.workgroup_size_z;
    grid_[0] = packet.grid_size_x;
    grid_[1] = packet.grid_size_y;
    grid_[2] = packet.grid_size_z;
    for (unsigned d = 0; d < 3; ++d) groups_[d] = (grid_[d] + items_[d] - 1) / items_[d];
    vgprs_ = std::min(((descriptor.rsrc1 & 0x3f) + 1) * 8, kVgprsMax);
  }

  Outcome Run(std::uint64_t first, std::uint64_t count, const CuLocation* place,
              AddressSpace* memory) override {
    LiveMemory live(memory, packet_address_, &packet_);
    Outcome all;
    for (std::uint64_t n = first; n < first + count && all.kind == Outcome::Kind::kDone; ++n) {
      const std::uint64_t before = all.instructions;
      all = RunWorkgroup(n, place, *memory, &live, instructions_max_);
      all.instructions += before;
    }
    return all;
  }
  Outcome Try(AddressSpace* memory) override {
    TrialMemory trial(memory, packet_address_, &packet_);
    const CuLocation anywhere;
    return RunWorkgroup(0, &anywhere, *memory, &trial,
                        std::min(instructions_max_, kTrialInstructionsMax));
  }

 private:
  enum class Stop { kBarrier, kEnd, kFailed };

  Outcome RunWorkgroup(std::uint64_t number, const CuLocation* place, const AddressSpace& code,
                       MemoryPort* memory, std::uint64_t instructions_max);
  void Prepare(std::uint64_t number, unsigned wave_number, const CuLocation* place,
               Wave* wave) const;
  Stop RunWave(Wave* wave, const AddressSpace& code, std::uint64_t instructions_max,
               Outcome* outcome);
  Stop Fail(const Wave& wave, const AddressSpace& code, Outcome::Kind kind, const std::string& what,
            Outcome* outcome) const;

  const hsa_kernel_dispatch_packet_t packet_;
  const std::uint64_t packet_address_, instructions_max_;
  const Descriptor descriptor_;
  const std::uint64_t entry_;
  Program program_;
  std::uint64_t items_[3], grid_[3], groups_[3];
  std::uint32_t vgprs_ = 0;
  std::vector<Wave> waves_;  // kept for their memory
};

// What the command processor puts into registers before a wave starts: first the user registers that
// the descriptor asks for, in this order, then the workgroup's numbers.
void InterpretedKernel::Prepare(std::uint64_t number, unsigned wave_number, const CuLocation* place,
                                Wave* w) const {
  const std::uint32_t properties = descriptor_.properties;
  const struct {
    unsigned bit, words;
    std::uint64_t value;
  } registers[] = {{0, 4, 0},  // private segment buffer: scratch_ops.cc does without
                   {1, 2, packet_address_},
                   {2, 2, 0},  // queue
                   {3, 2, reinterpret_cast<std::uint64_t>(packet_.kernarg_address)},
                   {4, 2, 0},   // dispatch id
                   {5, 2, 0},   // flat scratch
                   {6, 1, 0}};  // private segment size
  w->sgpr = {};
  unsigned at = 0;
  for (const auto& user : registers) {
    if (!Bit(properties, user.bit)) continue;
    w->SetPair(at, user.value);
    at += user.words;
  }
  at = std::max(at, descriptor_.rsrc2 >> 1 & 0x1f);
  const std::uint64_t ids[3] = {number % groups_[0], number / groups_[0] % groups_[1],
                                number / groups_[0] / groups_[1]};
  for (unsigned d = 0; d < 3; ++d) {
    if (Bit(descriptor_.rsrc2, 7 + d)) w->sgpr[at++] = static_cast<u32>(ids[d]);
  }
  // A grid need not be whole workgroups: the last one of each dimension may be smaller.
  std::uint64_t size[3];
  for (unsigned d = 0; d < 3; ++d) size[d] = std::min(items_[d], grid_[d] - ids[d] * items_[d]);
  w->vgpr.assign(vgprs_ + kVgprSlack, VectorRegister{});
  u64 exec = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const std::uint64_t item = u64{wave_number} * kLanes + lane;
    if (item >= size[0] * size[1] * size[2]) break;
    exec |= u64{1} << lane;
    const std::uint64_t x = item % size[0], y = item / size[0] % size[1],
                        z = item / size[0] / size[1];
    w->vgpr[0][lane] = static_cast<u32>(x | y << 10 | z << 20);
  }
  w->SetPair(kExec, exec);
  w->scratch_lane_bytes = std::min(descriptor_.private_segment_bytes, kScratchLaneBytesMax);
  w->scratch.assign(w->scratch_lane_bytes * kLanes, std::byte{});
  w->scc = false;
  w->pc = entry_;
  w->executed = w->slept = 0;
  w->has_place = place != nullptr;
  w->asked_place = false;
  if (place != nullptr) {
    // HW_ID of gfx9: SIMD_ID from bit 4, CU_ID 8, SE_ID 13. What else it has is 0: wave slot, pipe,
    // SH, workgroup, VMID, queue.
    w->hw_id = wave_number % 4 << 4 | place->cu << 8 | place->se << 13;
    w->xcc_id = place->xcc;
  }
}

InterpretedKernel::Stop InterpretedKernel::Fail(const Wave& wave, const AddressSpace& code,
                                                Outcome::Kind kind, const std::string& what,
                                                Outcome* outcome) const {
  char at[64];
  std::snprintf(at, sizeof(at), " at pc 0x%" PRIx64 " (entry + 0x%" PRIx64 ")", wave.pc,
                wave.pc - entry_);
  outcome->kind = kind;
  outcome->what = "kernel " + KernelName(packet_.kernel_object, code) + at + ": " + what;
  return Stop::kFailed;
}

InterpretedKernel::Stop InterpretedKernel::RunWave(Wave* wave, const AddressSpace& code,
                                                   std::uint64_t instructions_max,
                                                   Outcome* outcome) {
  Wave& w = *wave;
  std::string why;
  for (;;) {
    const Instruction* i = program_.At(w.pc, code, &why);
    if (i == nullptr) return Fail(w, code, Outcome::Kind::kNotCovered, why, outcome);
    if (i->run == nullptr || i->vgprs > vgprs_) {
      return Fail(w, code, Outcome::Kind::kNotCovered,
                  "'" + i->text + "' is not interpreted (" +
                      (i->run == nullptr ? i->why : "a register that the kernel did not ask for") +
                      "; docs/hip.md lists what is)",
                  outcome);
    }
    if (++w.executed > instructions_max) {
      return Fail(w, code, Outcome::Kind::kEndless,
                  "no end after " + std::to_string(instructions_max) +
                      " instructions: does it wait for the host or for another workgroup?",
                  outcome);
    }
    switch (i->run(*i, w)) {
      case Step::kNext:
        w.pc += i->bytes;
        break;
      case Step::kJump:
        break;
      case Step::kBarrier:
        w.pc += i->bytes;
        return Stop::kBarrier;
      case Step::kEnd:
        return Stop::kEnd;
      case Step::kAbort:
        return Fail(w, code, Outcome::Kind::kAborted, "it aborts by '" + i->text + "'", outcome);
      case Step::kNoPlace:
        return Fail(w, code, Outcome::Kind::kNotCovered,
                    "'" + i->text + "' is interpreted only where workgroup 0 has it, too", outcome);
      case Step::kMemoryFault:
        outcome->kind = Outcome::Kind::kMemoryFault;
        outcome->fault_address = w.fault_address;
        return Stop::kFailed;
    }
  }
}

// Waves run one after the other up to the next barrier. One that has ended is not waited for.
Outcome InterpretedKernel::RunWorkgroup(std::uint64_t number, const CuLocation* place,
                                        const AddressSpace& code, MemoryPort* memory,
                                        std::uint64_t instructions_max) {
  const std::uint64_t waves = (items_[0] * items_[1] * items_[2] + kLanes - 1) / kLanes;
  std::vector<std::byte> lds(std::max(descriptor_.group_segment_bytes, packet_.group_segment_size));
  waves_.resize(waves);
  for (unsigned n = 0; n < waves; ++n) {
    Prepare(number, n, place, &waves_[n]);
    waves_[n].lds = &lds;
    waves_[n].memory = memory;
  }
  Outcome outcome;
  std::vector<bool> over(waves);
  // Of the last workgroups of a grid whole waves may be missing.
  for (unsigned n = 0; n < waves; ++n) over[n] = waves_[n].exec() == 0;
  for (bool going = true; going;) {
    going = false;
    for (unsigned n = 0; n < waves; ++n) {
      if (over[n]) continue;
      const Stop stop = RunWave(&waves_[n], code, instructions_max, &outcome);
      outcome.asked_place |= waves_[n].asked_place;
      if (stop == Stop::kFailed) return outcome;
      over[n] = stop == Stop::kEnd;
      going = going || !over[n];
    }
  }
  for (const Wave& wave : waves_) {
    outcome.instructions = std::max(outcome.instructions, wave.executed + wave.slept);
  }
  return outcome;
}

}  // namespace

std::shared_ptr<Kernel> Kernel::Make(const hsa_kernel_dispatch_packet_t& packet,
                                     std::uint64_t packet_address, std::uint64_t instructions_max,
                                     AddressSpace* memory, std::string* why) {
  Descriptor descriptor;
  if (!memory->ReadValue(packet.kernel_object, &descriptor)) {
    *why = "its descriptor cannot be read";
    return nullptr;
  }
  const std::uint64_t entry =
      packet.kernel_object + static_cast<std::uint64_t>(descriptor.entry_offset_bytes);
  std::string cpu = CpuAt(packet.kernel_object, *memory);
  if (cpu.empty()) {
    *why = "it is not in a code object for gfx90a, gfx940 or gfx942";
    return nullptr;
  }
  if (!CanDecode(cpu, why)) return nullptr;
  return std::make_shared<InterpretedKernel>(packet, packet_address, instructions_max, descriptor,
                                             entry, std::move(cpu));
}

}  // namespace virtual_gpu::isa

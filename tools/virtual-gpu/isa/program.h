// program.h: the code of one kernel, decoded as far as it was reached.
//
// Why        Decoding by text is slow, so each encoding is decoded once per process, whatever kernel
//            it is in. What lies at an address is read anew for each dispatch: code objects come and go.
// Threads    the decode cache has a lock; a Program belongs to one dispatch.
// Errors     At: null with why when the code cannot be read or decoded.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "../driver/address_space.h"
#include "instruction.h"

namespace virtual_gpu::isa {

// "gfx90a" from an ELF header's flags; empty when it is none of those interpreted.
std::string CpuOfFlags(std::uint32_t elf_flags);
// Can code for this part be decoded at all? False with why.
bool CanDecode(const std::string& cpu, std::string* why);

class Program {
 public:
  Program(std::string cpu, std::uint64_t entry) : cpu_(std::move(cpu)), entry_(entry) {}

  const Instruction* At(std::uint64_t pc, const AddressSpace& memory, std::string* why) {
    const std::uint64_t slot = (pc - entry_) / 4;
    if (slot < near_.size() && near_[slot] != nullptr) return near_[slot];
    return Find(pc, memory, why);
  }

 private:
  const Instruction* Find(std::uint64_t pc, const AddressSpace& memory, std::string* why);

  const std::string cpu_;
  const std::uint64_t entry_;
  std::vector<const Instruction*> near_;  // by words from the entry
  std::unordered_map<std::uint64_t, const Instruction*> far_;
};

}  // namespace virtual_gpu::isa

// disassembler.h: one instruction of GPU code as text, by LLVM's own decoder.
//
// Why        The encodings are LLVM's business: we need no tables of bits, and what we read is what
//            llvm-objdump shows. The library is opened at run time, when the first kernel is to be
//            interpreted: nothing links to it, and a machine without it has opaque kernels.
// Threads    one at a time; the interpreter's decode cache calls it under its lock.
// Errors     Open returns null and why; Decode returns 0 where LLVM does not know the encoding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace virtual_gpu::isa {

inline constexpr std::size_t kInstructionBytesMax = 8;  // gfx9: with a literal, or two words

class Disassembler {
 public:
  // `cpu` as in "gfx90a".
  static std::unique_ptr<Disassembler> Open(const std::string& cpu, std::string* why);
  ~Disassembler();
  Disassembler(const Disassembler&) = delete;
  Disassembler& operator=(const Disassembler&) = delete;

  // How many bytes the instruction at `code` has.
  std::size_t Decode(const std::uint8_t* code, std::size_t bytes, std::string* text);

 private:
  Disassembler() = default;

  void* context_ = nullptr;
};

}  // namespace virtual_gpu::isa

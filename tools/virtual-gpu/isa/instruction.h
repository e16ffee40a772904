// instruction.h: one decoded instruction: what to do, and with what.
//
// Why        Made from LLVM's text ("v_add_u32_e32 v1, s2, v3"), once per encoding: mnemonic to
//            handler by the table (opcodes.h), operands to register numbers and constants. All else in
//            the interpreter works on this.
// Ownership  plain data; the decode cache (program.h) keeps them for ever.
// Units      offsets in bytes, registers of 32 bits.
// Errors     Parse returns false with why: an operand or modifier that nobody here knows. Such an
//            instruction keeps its mnemonic, has no handler, and fails when it is reached.
#pragma once

#include <cstdint>
#include <string>

namespace virtual_gpu::isa {

struct Wave;
struct Instruction;

enum class Step {
  kNext,         // go on behind this instruction
  kJump,         // Wave::pc is set
  kBarrier,      // wait for the workgroup's other waves
  kEnd,          // the wave is over
  kMemoryFault,  // Wave::fault_address
  kAbort,        // the kernel wants the queue to end
  kNoPlace,      // it asks where it runs, which is not known
};
using Handler = Step (*)(const Instruction&, Wave&);

// Scalar registers by their encoding numbers.
inline constexpr unsigned kFlatScratch = 102, kXnackMask = 104, kVcc = 106, kM0 = 124, kExec = 126,
                          kSgprs = 128;
// Hardware registers, likewise.
inline constexpr unsigned kHwId = 4, kXccId = 20;

struct Operand {
  enum class Kind : std::uint8_t { kNone, kSgpr, kVgpr, kConstant, kOff, kScc };
  Kind kind = Kind::kNone;
  bool negative = false, absolute = false;         // of floats
  bool literal = false, is_float = false;          // constants: 32 bits as written; "1.0"
  bool sign_extend = false;                        // SDWA: sext(v0)
  std::uint8_t select_bits = 32, select_from = 0;  // SDWA
  std::uint16_t reg = 0, last = 0;
  std::int64_t bits = 0;
  double value = 0;
};

inline constexpr unsigned kOperandsMax = 6;

struct Instruction {
  std::string mnemonic;  // without _e32 and _e64
  std::string text;
  std::string why;  // not empty: not covered
  Handler run = nullptr;
  Operand op[kOperandsMax];
  unsigned operands = 0;
  std::uint32_t bytes = 4;
  std::uint32_t vgprs = 0;  // it uses those below
  std::int64_t offset = 0, offset0 = 0, offset1 = 0;
  bool returns = false;  // atomics: glc
  bool clamp = false;
  bool offen = false;
  std::uint8_t op_sel = 0, op_sel_hi = 7, neg_lo = 0, neg_hi = 0;  // a bit per source
  std::uint8_t dst_bits = 32, dst_from = 0;                        // SDWA
  bool dst_preserve = false, dst_sign = false;
  std::uint8_t hwreg = 0, hwreg_from = 0, hwreg_bits = 32;
};

bool Parse(const std::string& text, Instruction* instruction);

}  // namespace virtual_gpu::isa

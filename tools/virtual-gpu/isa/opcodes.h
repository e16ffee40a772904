// opcodes.h: which instructions are covered, and by what.
//
// Why        One table in parts, one part per unit of the machine; docs/hip.md's table is printed
//            from it and a test compares.
// Threads    any: constant after its first use.
// See        isa_table.cc prints it; AMD's "CDNA2 instruction set architecture" says what each does.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "instruction.h"

namespace virtual_gpu::isa {

struct Opcode {
  const char* name;
  Handler run;
  bool (*accepts)(const Instruction&) = nullptr;  // null: every form that parses
  bool sdwa = false;                              // also as _sdwa
  bool clamp = false;
};

struct OpcodeGroup {
  const char* title;
  std::span<const Opcode> opcodes;
};

std::span<const Opcode> ScalarOpcodes();
std::span<const Opcode> ScalarFlowOpcodes();
std::span<const Opcode> ScalarMemoryOpcodes();
std::span<const Opcode> VectorIntegerOpcodes();
std::span<const Opcode> VectorFloatOpcodes();
std::span<const Opcode> VectorConvertOpcodes();
std::span<const Opcode> VectorLaneOpcodes();
std::span<const Opcode> CompareOpcodes();
std::span<const Opcode> GlobalMemoryOpcodes();
std::span<const Opcode> AtomicOpcodes();
std::span<const Opcode> LdsOpcodes();
std::span<const Opcode> ScratchOpcodes();

std::vector<OpcodeGroup> AllOpcodes();
const Opcode* FindOpcode(const std::string& name);
// The table of docs/hip.md.
std::string OpcodeTable();

}  // namespace virtual_gpu::isa

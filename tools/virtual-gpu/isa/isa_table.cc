// isa_table.cc: all covered instructions together, to be found by name and to be shown.
#include <unordered_map>

#include "opcodes.h"

namespace virtual_gpu::isa {

std::vector<OpcodeGroup> AllOpcodes() {
  return {{"scalar arithmetic", ScalarOpcodes()},
          {"scalar flow, waits", ScalarFlowOpcodes()},
          {"scalar memory", ScalarMemoryOpcodes()},
          {"vector, integers", VectorIntegerOpcodes()},
          {"vector, floats", VectorFloatOpcodes()},
          {"vector, conversions", VectorConvertOpcodes()},
          {"vector, comparisons", CompareOpcodes()},
          {"vector, between lanes", VectorLaneOpcodes()},
          {"global and flat memory", GlobalMemoryOpcodes()},
          {"global and flat atomics", AtomicOpcodes()},
          {"LDS", LdsOpcodes()},
          {"private memory", ScratchOpcodes()}};
}

const Opcode* FindOpcode(const std::string& name) {
  static const auto* const by_name = [] {
    auto* map = new std::unordered_map<std::string, const Opcode*>;
    for (const OpcodeGroup& group : AllOpcodes()) {
      for (const Opcode& opcode : group.opcodes) (*map)[opcode.name] = &opcode;
    }
    return map;
  }();
  const auto it = by_name->find(name);
  return it == by_name->end() ? nullptr : it->second;
}

std::string OpcodeTable() {
  std::string table = "| group | instructions |\n|---|---|\n";
  for (const OpcodeGroup& group : AllOpcodes()) {
    table += std::string("| ") + group.title + " |";
    for (const Opcode& opcode : group.opcodes) {
      table += std::string(" ") + opcode.name + (opcode.sdwa ? "*" : "");
    }
    table += " |\n";
  }
  return table;
}

}  // namespace virtual_gpu::isa

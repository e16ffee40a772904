#include "instruction.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "opcodes.h"

namespace virtual_gpu::isa {
namespace {

bool Starts(std::string_view text, std::string_view with) {
  return text.substr(0, with.size()) == with;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.remove_suffix(1);
  }
  return text;
}

bool Number(std::string_view text, std::int64_t* value) {
  const std::string copy(text);
  if (copy.empty()) return false;
  char* end = nullptr;
  *value = static_cast<std::int64_t>(std::strtoull(copy.c_str(), &end, 0));
  return *end == '\0';
}

// "v1", "v[2:3]": the first register and the last.
bool Register(std::string_view text, char letter, std::int64_t limit, Operand* operand) {
  if (text.size() < 2 || text[0] != letter) return false;
  std::string_view first = text.substr(1), last = first;
  if (const std::size_t colon = text.find(':'); text[1] == '[' && colon != std::string_view::npos) {
    first = text.substr(2, colon - 2);
    last = text.substr(colon + 1, text.size() - colon - 2);
  }
  std::int64_t low = 0, high = 0;
  if (first.empty() || std::isdigit(static_cast<unsigned char>(first[0])) == 0 ||
      !Number(first, &low) || !Number(last, &high) || low > high || high >= limit) {
    return false;
  }
  operand->reg = static_cast<std::uint16_t>(low);
  operand->last = static_cast<std::uint16_t>(high);
  return true;
}

bool NamedRegister(std::string_view text, Operand* operand) {
  static constexpr struct {
    std::string_view name;
    unsigned reg;
  } kNames[] = {{"vcc", kVcc},
                {"vcc_lo", kVcc},
                {"vcc_hi", kVcc + 1},
                {"exec", kExec},
                {"exec_lo", kExec},
                {"exec_hi", kExec + 1},
                {"m0", kM0},
                {"flat_scratch", kFlatScratch},
                {"flat_scratch_lo", kFlatScratch},
                {"flat_scratch_hi", kFlatScratch + 1},
                {"xnack_mask", kXnackMask}};
  for (const auto& name : kNames) {
    if (text != name.name) continue;
    operand->kind = Operand::Kind::kSgpr;
    operand->reg = static_cast<std::uint16_t>(name.reg);
    return true;
  }
  return false;
}

bool Constant(std::string_view text, Operand* operand) {
  operand->kind = Operand::Kind::kConstant;
  operand->literal = Starts(text, "0x");
  if (Number(text, &operand->bits)) return true;
  const std::string copy(text);
  char* end = nullptr;
  operand->value = std::strtod(copy.c_str(), &end);
  operand->is_float = true;
  return !copy.empty() && *end == '\0';
}

bool ParseOperand(std::string_view text, Operand* operand) {
  if (text == "off") {
    operand->kind = Operand::Kind::kOff;
    return true;
  }
  if (text == "scc" || text == "src_scc") {
    operand->kind = Operand::Kind::kScc;
    return true;
  }
  std::int64_t number = 0;
  const bool plain_number = Number(text, &number) || Starts(text, "0x");
  if (!plain_number && text.size() > 1 && text[0] == '-' &&
      std::isdigit(static_cast<unsigned char>(text[1])) == 0) {
    operand->negative = true;
    text.remove_prefix(1);
  }
  if (Starts(text, "neg(")) return false;
  if (text.size() > 2 && text.front() == '|' && text.back() == '|') {
    operand->absolute = true;
    text = text.substr(1, text.size() - 2);
  }
  if (Starts(text, "sext(") && text.back() == ')') {
    operand->sign_extend = true;
    text = text.substr(5, text.size() - 6);
  }
  if (Register(text, 'v', 512, operand)) {
    operand->kind = Operand::Kind::kVgpr;
    return true;
  }
  if (Register(text, 's', kFlatScratch, operand)) {
    operand->kind = Operand::Kind::kSgpr;
    return true;
  }
  return NamedRegister(text, operand) || Constant(text, operand);
}

// "[1,0]": a bit per entry.
bool Bits(std::string_view text, std::uint8_t* bits) {
  if (text.size() < 3 || text.front() != '[' || text.back() != ']') return false;
  *bits = 0;
  unsigned at = 0;
  for (const char c : text.substr(1, text.size() - 2)) {
    if (c == ',') {
      ++at;
    } else if (c == '1') {
      *bits = static_cast<std::uint8_t>(*bits | 1u << at);
    } else if (c != '0') {
      return false;
    }
  }
  return true;
}

bool Select(std::string_view text, std::uint8_t* bits, std::uint8_t* from) {
  if (text == "DWORD") {
    *bits = 32;
    *from = 0;
  } else if (Starts(text, "WORD_")) {
    *bits = 16;
    *from = static_cast<std::uint8_t>((text.back() - '0') * 16);
  } else if (Starts(text, "BYTE_")) {
    *bits = 8;
    *from = static_cast<std::uint8_t>((text.back() - '0') * 8);
  } else {
    return false;
  }
  return true;
}

struct Selects {
  std::uint8_t bits[2] = {32, 32}, from[2] = {0, 0};
};

bool ParseModifier(std::string_view text, Instruction* i, Selects* selects) {
  const std::size_t colon = text.find(':');
  const std::string_view key = text.substr(0, colon);
  const std::string_view value = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  if (key == "offset") return Number(value, &i->offset);
  if (key == "offset0") return Number(value, &i->offset0);
  if (key == "offset1") return Number(value, &i->offset1);
  if (key == "op_sel") return Bits(value, &i->op_sel);
  if (key == "op_sel_hi") return Bits(value, &i->op_sel_hi);
  if (key == "neg_lo") return Bits(value, &i->neg_lo);
  if (key == "neg_hi") return Bits(value, &i->neg_hi);
  if (key == "dst_sel") return Select(value, &i->dst_bits, &i->dst_from);
  if (key == "src0_sel") return Select(value, &selects->bits[0], &selects->from[0]);
  if (key == "src1_sel") return Select(value, &selects->bits[1], &selects->from[1]);
  if (key == "dst_unused") {
    i->dst_preserve = value == "UNUSED_PRESERVE";
    i->dst_sign = value == "UNUSED_SEXT";
    return true;
  }
  if (key == "clamp") return i->clamp = true;
  if (key == "offen") return i->offen = true;
  if (key == "glc" || key == "sc0") return i->returns = true;
  // Which caches: there are none here.
  return key == "slc" || key == "scc" || key == "nt" || key == "sc1";
}

bool Ends(const std::string& text, std::string_view with) {
  return text.size() > with.size() &&
         std::string_view(text).substr(text.size() - with.size()) == with;
}

// Text that has commas and colons of its own, and that the handlers take as it is or not at all.
bool IsFreeForm(const std::string& mnemonic) {
  return mnemonic == "s_waitcnt" || mnemonic == "s_setreg_imm32_b32" || mnemonic == "s_endpgm" ||
         mnemonic == "s_sendmsg";
}

// "hwreg(HW_REG_HW_ID, 8, 7)": 7 bits from bit 8 on; "hwreg(20)": all of one that LLVM has no name for.
bool HardwareRegister(std::string_view text, Instruction* i) {
  std::int64_t fields[] = {0, 0, 32};
  text = text.substr(0, text.find(')'));
  text.remove_prefix(text.find('(') + 1);
  for (std::size_t n = 0; n < std::size(fields) && !text.empty(); ++n) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view field = Trim(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (n == 0 && field == "HW_REG_HW_ID")
      fields[0] = kHwId;
    else if (n == 0 && field == "HW_REG_XCC_ID")
      fields[0] = kXccId;
    else if (!Number(field, &fields[n]))
      return false;
  }
  i->hwreg = static_cast<std::uint8_t>(fields[0]);
  i->hwreg_from = static_cast<std::uint8_t>(fields[1]);
  i->hwreg_bits = static_cast<std::uint8_t>(fields[2]);
  return fields[1] + fields[2] <= 32;
}

// SDWA selects count the sources, which follow the destinations.
void ApplySelects(const Selects& selects, Instruction* i) {
  const bool has_second_destination = i->operands >= 4 && i->op[1].kind == Operand::Kind::kSgpr;
  const unsigned first = has_second_destination ? 2 : 1;
  for (unsigned source = 0; source < 2 && first + source < kOperandsMax; ++source) {
    i->op[first + source].select_bits = selects.bits[source];
    i->op[first + source].select_from = selects.from[source];
  }
}

bool ParseOperands(std::string_view rest, Instruction* i) {
  Selects selects;
  while (!rest.empty()) {
    std::size_t comma = 0;
    for (int depth = 0; comma < rest.size() && (depth > 0 || rest[comma] != ','); ++comma) {
      depth += rest[comma] == '[' || rest[comma] == '(';
      depth -= rest[comma] == ']' || rest[comma] == ')';
    }
    std::string_view field = Trim(rest.substr(0, comma));
    rest = comma == rest.size() ? std::string_view() : rest.substr(comma + 1);
    if (Starts(field, "hwreg(")) {
      if (HardwareRegister(field, i)) continue;
      i->why = "'" + std::string(field) + "' in it";
      return false;
    }
    for (bool first = true; !field.empty(); first = false) {
      const std::size_t space = field.find(' ');
      const std::string_view word = field.substr(0, space);
      field = space == std::string_view::npos ? std::string_view() : Trim(field.substr(space));
      const bool is_modifier =
          !first || (word.find(':') != std::string_view::npos &&
                     std::isalpha(static_cast<unsigned char>(word[0])) != 0 && word[1] != '[');
      bool understood = false;
      if (is_modifier) {
        understood = ParseModifier(word, i, &selects);
      } else if (i->operands < kOperandsMax) {
        Operand* operand = &i->op[i->operands++];
        understood = ParseOperand(word, operand);
      }
      if (understood) continue;
      i->why = "'" + std::string(word) + "' in it";
      return false;
    }
  }
  if (Ends(i->mnemonic, "_sdwa")) ApplySelects(selects, i);
  return true;
}

}  // namespace

bool Parse(const std::string& text, Instruction* i) {
  const std::string_view all = Trim(text);
  const std::size_t end = all.find_first_of(" \t");
  i->text = std::string(all);
  i->mnemonic = std::string(all.substr(0, end));
  for (const std::string_view suffix : {"_e32", "_e64"}) {
    if (Ends(i->mnemonic, suffix)) i->mnemonic.resize(i->mnemonic.size() - suffix.size());
  }
  const std::string_view rest =
      end == std::string_view::npos ? std::string_view() : Trim(all.substr(end));
  std::string name = i->mnemonic;
  const bool sdwa = Ends(name, "_sdwa");
  if (sdwa) name.resize(name.size() - 5);
  const Opcode* opcode = FindOpcode(name);
  if (opcode == nullptr || (sdwa && !opcode->sdwa)) {
    i->why = "the instruction";
    return false;
  }
  if (!IsFreeForm(i->mnemonic) && !ParseOperands(rest, i)) return false;
  if (i->clamp && !opcode->clamp) {
    i->why = "'clamp' in it";
    return false;
  }
  if (opcode->accepts != nullptr && !opcode->accepts(*i)) {
    i->why = "this form of it";
    return false;
  }
  for (const Operand& operand : i->op) {
    if (operand.kind == Operand::Kind::kVgpr) i->vgprs = std::max(i->vgprs, operand.last + 1u);
  }
  i->run = opcode->run;
  return true;
}

}  // namespace virtual_gpu::isa

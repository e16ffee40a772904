#include "program.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "disassembler.h"

namespace virtual_gpu::isa {
namespace {

constexpr std::uint64_t kNearWordsMax = std::uint64_t{64} * 1024;

// Never destroyed: instructions are pointed at from everywhere.
struct Decoder {
  std::mutex mutex;
  std::string why;  // not open
  std::unique_ptr<Disassembler> disassembler;
  std::unordered_map<std::uint32_t, std::unique_ptr<Instruction>> words;  // of 4 bytes
  std::unordered_map<std::uint64_t, std::unique_ptr<Instruction>> pairs;  // of 8
};

Decoder* DecoderOf(const std::string& cpu) {
  static std::mutex mutex;
  static auto* const decoders = new std::map<std::string, std::unique_ptr<Decoder>>;
  std::lock_guard lock(mutex);
  auto& decoder = (*decoders)[cpu];
  if (decoder == nullptr) {
    decoder = std::make_unique<Decoder>();
    decoder->disassembler = Disassembler::Open(cpu, &decoder->why);
  }
  return decoder.get();
}

const Instruction* Decode(Decoder* decoder, const std::uint8_t* code, std::size_t bytes) {
  std::lock_guard lock(decoder->mutex);
  std::uint32_t word = 0;
  std::uint64_t pair = 0;
  std::memcpy(&word, code, sizeof(word));
  std::memcpy(&pair, code, std::min(bytes, sizeof(pair)));
  if (const auto it = decoder->words.find(word); it != decoder->words.end())
    return it->second.get();
  if (const auto it = decoder->pairs.find(pair); it != decoder->pairs.end())
    return it->second.get();
  std::string text;
  const std::size_t size = decoder->disassembler->Decode(code, bytes, &text);
  if (size != 4 && size != 8) return nullptr;
  auto made = std::make_unique<Instruction>();
  Parse(text, made.get());
  made->bytes = static_cast<std::uint32_t>(size);
  const Instruction* instruction = made.get();
  if (size == 4)
    decoder->words[word] = std::move(made);
  else
    decoder->pairs[pair] = std::move(made);
  return instruction;
}

}  // namespace

std::string CpuOfFlags(std::uint32_t elf_flags) {
  switch (elf_flags & 0xff) {  // EF_AMDGPU_MACH
    case 0x3f:
      return "gfx90a";
    case 0x40:
      return "gfx940";
    case 0x4c:
      return "gfx942";
    default:
      return "";
  }
}

bool CanDecode(const std::string& cpu, std::string* why) {
  const Decoder* decoder = DecoderOf(cpu);
  *why = decoder->why;
  return decoder->disassembler != nullptr;
}

const Instruction* Program::Find(std::uint64_t pc, const AddressSpace& memory, std::string* why) {
  if (const auto it = far_.find(pc); it != far_.end()) return it->second;
  std::uint8_t code[kInstructionBytesMax] = {};
  std::size_t bytes = sizeof(code);
  if (pc % 4 == 0 && !memory.Read(pc, code, bytes)) bytes = memory.Read(pc, code, 4) ? 4 : 0;
  if (pc % 4 != 0 || bytes == 0) {
    *why = "no code can be read there";
    return nullptr;
  }
  const Instruction* found = Decode(DecoderOf(cpu_), code, bytes);
  if (found == nullptr) {
    char words[64];
    std::snprintf(words, sizeof(words), "LLVM does not decode %02x%02x%02x%02x for ", code[3],
                  code[2], code[1], code[0]);
    *why = words + cpu_;
    return nullptr;
  }
  const std::uint64_t slot = (pc - entry_) / 4;
  if (slot < kNearWordsMax) {
    if (slot >= near_.size()) near_.resize(slot + 64);
    near_[slot] = found;
  } else {
    far_[pc] = found;
  }
  return found;
}

}  // namespace virtual_gpu::isa

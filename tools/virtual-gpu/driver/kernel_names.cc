// kernel_names.cc: finds a kernel's symbol in the code object that ROCr loaded.
//
// Why        An unmodelled kernel must be reported by a name. The loader puts the ELF header, the
//            dynamic segment and .dynsym into memory with the code, one allocation per code object.
// Limits     the loaded image is untrusted memory of a process: everything is bounds-checked, and
//            at most kSymbolsMax symbols are looked at.

#include <elf.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "kernel_recogniser.h"

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kSymbolsMax = 100'000;
constexpr std::uint64_t kNameBytesMax = 512;

struct DynamicTable {
  std::uint64_t symbols = 0, strings = 0, string_bytes = 0, hash = 0;
};

bool ReadDynamic(std::uint64_t base, const AddressSpace& memory, DynamicTable* table) {
  Elf64_Ehdr elf;
  if (!memory.ReadValue(base, &elf) || std::memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0) return false;
  for (unsigned i = 0; i < elf.e_phnum && i < 64; ++i) {
    Elf64_Phdr segment;
    if (!memory.ReadValue(base + elf.e_phoff + i * sizeof(segment), &segment)) return false;
    if (segment.p_type != PT_DYNAMIC) continue;
    for (std::uint64_t at = 0; at + sizeof(Elf64_Dyn) <= segment.p_memsz; at += sizeof(Elf64_Dyn)) {
      Elf64_Dyn entry;
      if (!memory.ReadValue(base + segment.p_vaddr + at, &entry) || entry.d_tag == DT_NULL) break;
      if (entry.d_tag == DT_SYMTAB) table->symbols = base + entry.d_un.d_ptr;
      if (entry.d_tag == DT_STRTAB) table->strings = base + entry.d_un.d_ptr;
      if (entry.d_tag == DT_STRSZ) table->string_bytes = entry.d_un.d_val;
      if (entry.d_tag == DT_HASH) table->hash = base + entry.d_un.d_ptr;
    }
  }
  return table->symbols != 0 && table->strings != 0;
}

// The string table follows the symbol table in every linker's output: that bounds it without
// DT_HASH.
std::uint64_t SymbolCount(const DynamicTable& table, const AddressSpace& memory) {
  std::uint32_t buckets_and_chains[2];
  if (table.hash != 0 && memory.ReadValue(table.hash, &buckets_and_chains)) {
    return buckets_and_chains[1] < kSymbolsMax ? buckets_and_chains[1] : kSymbolsMax;
  }
  if (table.strings <= table.symbols) return 0;
  const std::uint64_t count = (table.strings - table.symbols) / sizeof(Elf64_Sym);
  return count < kSymbolsMax ? count : kSymbolsMax;
}

bool ReadName(std::uint64_t address, const AddressSpace& memory, std::string* name) {
  for (char c; name->size() < kNameBytesMax && memory.ReadValue(address + name->size(), &c);) {
    if (c == '\0') return !name->empty();
    name->push_back(c);
  }
  return false;
}

}  // namespace

std::string KernelName(std::uint64_t kernel_object, const AddressSpace& memory) {
  char unknown[48];
  std::snprintf(unknown, sizeof(unknown), "kernel object 0x%" PRIx64, kernel_object);
  std::uint64_t base = 0, bytes = 0;
  DynamicTable table;
  if (!memory.Range(kernel_object, &base, &bytes) || !ReadDynamic(base, memory, &table)) {
    return unknown;
  }
  const std::uint64_t count = SymbolCount(table, memory);
  for (std::uint64_t i = 0; i < count; ++i) {
    Elf64_Sym symbol;
    if (!memory.ReadValue(table.symbols + i * sizeof(symbol), &symbol)) break;
    if (base + symbol.st_value != kernel_object) continue;
    std::string name;
    return ReadName(table.strings + symbol.st_name, memory, &name) ? name : unknown;
  }
  return unknown;
}

}  // namespace virtual_gpu

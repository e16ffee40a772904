#include "disassembler.h"

#include <dlfcn.h>

namespace virtual_gpu::isa {
namespace {

// llvm-c/Disassembler.h and llvm-c/Target.h: the part that we use, stable since LLVM 3.
struct Llvm {
  void (*initialize_info)() = nullptr;
  void (*initialize_mc)() = nullptr;
  void (*initialize_disassembler)() = nullptr;
  void* (*create)(const char* triple, const char* cpu, void* info, int tag, void* get_info,
                  void* look_up) = nullptr;
  void (*dispose)(void* context) = nullptr;
  std::size_t (*decode)(void* context, std::uint8_t* bytes, std::uint64_t count, std::uint64_t pc,
                        char* text, std::size_t text_bytes) = nullptr;
};

template <typename Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

bool Load(Llvm* llvm) {
  // Any of these knows gfx90a; 19 also knows gfx942 and gfx950. Debian's names, then upstream's.
  for (const char* name : {"libLLVM.so.19.1", "libLLVM-19.so.1", "libLLVM-17.so.1",
                           "libLLVM-16.so.1", "libLLVM-15.so.1", "libLLVM-14.so.1"}) {
    void* library = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
    if (library == nullptr) continue;
    if (Find(library, "LLVMInitializeAMDGPUTargetInfo", &llvm->initialize_info) &&
        Find(library, "LLVMInitializeAMDGPUTargetMC", &llvm->initialize_mc) &&
        Find(library, "LLVMInitializeAMDGPUDisassembler", &llvm->initialize_disassembler) &&
        Find(library, "LLVMCreateDisasmCPU", &llvm->create) &&
        Find(library, "LLVMDisasmDispose", &llvm->dispose) &&
        Find(library, "LLVMDisasmInstruction", &llvm->decode)) {
      llvm->initialize_info();
      llvm->initialize_mc();
      llvm->initialize_disassembler();
      return true;
    }
    dlclose(library);
  }
  return false;
}

// Never closed: LLVM's own statics live in it.
const Llvm* Library() {
  static const Llvm* const library = [] {
    auto* llvm = new Llvm;
    return Load(llvm) ? llvm : nullptr;
  }();
  return library;
}

}  // namespace

std::unique_ptr<Disassembler> Disassembler::Open(const std::string& cpu, std::string* why) {
  const Llvm* llvm = Library();
  if (llvm == nullptr) {
    *why = "there is no libLLVM with the AMDGPU target (14 to 19; Debian: libllvm19)";
    return nullptr;
  }
  void* context = llvm->create("amdgcn-amd-amdhsa", cpu.c_str(), nullptr, 0, nullptr, nullptr);
  if (context == nullptr) {
    *why = "libLLVM does not know " + cpu;
    return nullptr;
  }
  std::unique_ptr<Disassembler> made(new Disassembler);
  made->context_ = context;
  return made;
}

Disassembler::~Disassembler() {
  if (context_ != nullptr) Library()->dispose(context_);
}

std::size_t Disassembler::Decode(const std::uint8_t* code, std::size_t bytes, std::string* text) {
  char buffer[256];
  auto* writable = const_cast<std::uint8_t*>(code);
  const std::size_t size = Library()->decode(context_, writable, bytes, 0, buffer, sizeof(buffer));
  *text = size == 0 ? "" : buffer;
  return size;
}

}  // namespace virtual_gpu::isa

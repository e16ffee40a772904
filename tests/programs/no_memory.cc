// no-memory: preloaded, a program's C++ code is refused every piece of memory of 64 KiB or more.
//
// What is refused is what `new` asks for, since only that is thrown; the C library and ROCr keep theirs.
#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t kRefused = 65536;

void* Allocate(std::size_t bytes) {
  void* memory = bytes < kRefused ? std::malloc(bytes == 0 ? 1 : bytes) : nullptr;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return Allocate(bytes); }
void* operator new[](std::size_t bytes) { return Allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

// next.h: the definition of a libc function that this library's own one hides.
//
// Threads    any; two first callers may both look it up, with one result.
#pragma once

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

namespace virtual_gpu::interposer {

template <typename Function>
Function Next(void** slot, const char* name) {
  void* function = __atomic_load_n(slot, __ATOMIC_RELAXED);
  if (function == nullptr) {
    function = dlsym(RTLD_NEXT, name);
    __atomic_store_n(slot, function, __ATOMIC_RELAXED);
  }
  return reinterpret_cast<Function>(function);
}

}  // namespace virtual_gpu::interposer

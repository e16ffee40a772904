// work_code_objects.h: the assembled kernels of work.s, embedded in the program.
//
// Why        The load generator and the tests of other folders load the same code objects without
//            looking for files. Link `dual_model_kernels`.
// Threads    pure; any thread.
// Ownership  the bytes live in the program's read-only data, 4 KiB aligned, for its whole life.
// Errors     an empty span: no kernels for that ISA (only kWorkIsas are assembled).
// See        work_kernel_abi.h for the symbols and the kernarg
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace dual_model {

inline constexpr std::string_view kWorkIsas = "gfx908, gfx90a, gfx942";

// `isa_name`: "gfx90a", or as the runtime spells it: "amdgcn-amd-amdhsa--gfx90a:sramecc+:xnack-".
std::span<const std::byte> GetWorkCodeObject(std::string_view isa_name);

}  // namespace dual_model

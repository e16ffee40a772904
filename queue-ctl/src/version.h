// version.h: the release, from CMake's project version.
#pragma once

namespace xsched_hsa {

inline constexpr char kVersion[] = XSCHED_HSA_VERSION;

}  // namespace xsched_hsa

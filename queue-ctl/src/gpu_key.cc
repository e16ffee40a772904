#include "gpu_key.h"

#include <cstdio>

namespace xsched_hsa {

std::string FormatGpuKey(GpuKey key) {
  if (!PlausibleGpuKey(key)) return "unknown";
  const GpuKey address = key - 1;
  char text[32];
  std::snprintf(text, sizeof text, "%04x:%02x:%02x.%x", static_cast<unsigned>(address >> 16),
                static_cast<unsigned>(address >> 8 & 0xff),
                static_cast<unsigned>(address >> 3 & 0x1f), static_cast<unsigned>(address & 7));
  return text;
}

}  // namespace xsched_hsa

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

std::optional<GpuKey> ParseGpuKey(const std::string& text) {
  unsigned domain = 0, bus = 0, device = 0, function = 0;
  int end = 0;
  const char* start = text.c_str();
  if (std::sscanf(start, "%8x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &end) != 4) {
    domain = 0;
    if (std::sscanf(start, "%2x:%2x.%1x%n", &bus, &device, &function, &end) != 3) {
      return std::nullopt;
    }
  }
  if (text.size() != static_cast<std::size_t>(end) || device > 31 || function > 7) {
    return std::nullopt;
  }
  return MakeGpuKey(domain, bus, device, function);
}

}  // namespace xsched_hsa

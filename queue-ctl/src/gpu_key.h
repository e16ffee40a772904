// gpu_key.h: GpuKey of shared_page.h as text, and which keys can be real.
//
// Errors     a key that can't be a PCI address is "unknown" in text and never competes with others.
#pragma once

#include <optional>
#include <string>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa {

// Not 0, and a PCI domain of at most 32 bits.
constexpr bool PlausibleGpuKey(GpuKey key) { return key != 0 && ((key - 1) >> 48) == 0; }

constexpr GpuKey MakeGpuKey(std::uint32_t domain, std::uint32_t bus, std::uint32_t device,
                            std::uint32_t function) {
  return (static_cast<GpuKey>(domain) << 16 | bus << 8 | device << 3 | function) + 1;
}

// "0000:03:00.0"
std::string FormatGpuKey(GpuKey key);
// The same backwards; the domain may be left out.
std::optional<GpuKey> ParseGpuKey(const std::string& text);

}  // namespace xsched_hsa

// server_tags.h: what an epoll event belongs to, packed into its 64 bits of user data.
#pragma once

#include <cstdint>
#include <utility>

namespace xsched_hsa {

enum class TagKind : std::uint32_t {
  kListener = 1,
  kSignal,
  kTimer,
  kConnection,
  kSession,
  kTraceTimer,
  kMetrics
};

constexpr std::uint64_t MakeTag(TagKind kind, std::uint32_t id = 0) {
  return static_cast<std::uint64_t>(kind) << 32 | id;
}
constexpr std::pair<TagKind, std::uint32_t> SplitTag(std::uint64_t tag) {
  return {static_cast<TagKind>(tag >> 32), static_cast<std::uint32_t>(tag)};
}

}  // namespace xsched_hsa

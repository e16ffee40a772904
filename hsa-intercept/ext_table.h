// ext_table.h: where ROCr's AMD extension table has the functions that the layer uses.
//
// Why        That table was rearranged inside one version; only its size in bytes (minor_id) tells
//            which it is. So every field is reached by an offset from here, never by the header we
//            were built with.
// Threads    any; pure.
// Errors     a table that is not known has `known` false, and nothing in it may be touched; a field
//            that a known one does not have is 0.
// Source     hsa_api_trace.h of rocm-5.2.3 ... 7.0 and of the interface of 2026 (744 bytes):
//            400 (5.2-5.4), 424 (5.5: entries before cu_get_mask), 456 (5.6: two more before
//            intercept_create), and since then only appended.
// See        core_table_test.cc
#pragma once

#include <cstdint>

namespace xsched_hsa {

struct ExtTable {
  bool known = false;
  std::uint32_t cu_set_mask = 0;
  std::uint32_t intercept_create = 0;
  std::uint32_t intercept_register = 0;
  std::uint32_t set_priority = 0;
  std::uint32_t counted_acquire = 0;
  std::uint32_t counted_release = 0;
  std::uint32_t queue_create = 0;
};

inline constexpr std::uint32_t kExtMajorMax = 2;

constexpr ExtTable ExtTableOf(std::uint32_t major, std::uint32_t bytes) {
  constexpr std::uint32_t kBytesMin = 400, kBytes56 = 456;
  ExtTable table;
  if (major < 1 || major > kExtMajorMax || bytes < kBytesMin) return table;
  const std::uint32_t shift = bytes < kBytes56 ? 0 : 16;
  table.known = true;
  table.cu_set_mask = 96;
  table.intercept_create = 296 + shift;
  table.intercept_register = 304 + shift;
  table.set_priority = 312 + shift;
  const auto if_there = [bytes](std::uint32_t offset) { return bytes >= offset + 8 ? offset : 0; };
  table.counted_acquire = if_there(624);
  table.counted_release = if_there(632);
  table.queue_create = if_there(704);
  return table;
}

}  // namespace xsched_hsa

// measured.h: marks what callgrind shall count, and says how often it ran.
//
// Why        An instruction count is the same on a busy and on an idle machine, so it can guard the
//            hot paths in an ordinary test. Outside valgrind the marks are a few no-ops.
// Threads    one.
// Output     Report prints "NAME COUNT"; callgrind writes a dump with that name (tests/cost/check).
#pragma once

#include <valgrind/callgrind.h>

#include <cstdint>
#include <cstdio>

namespace xsched_hsa::cost {

// Counts while it lives. To be started with --collect-atstart=no.
class Collecting {
 public:
  Collecting() { CALLGRIND_TOGGLE_COLLECT; }
  ~Collecting() { CALLGRIND_TOGGLE_COLLECT; }
  Collecting(const Collecting&) = delete;
  Collecting& operator=(const Collecting&) = delete;
};

// What ran since the last report was `count` times the thing called `name`.
inline void Report(const char* name, std::uint64_t count) {
  CALLGRIND_DUMP_STATS_AT(name);
  std::printf("%s %lu\n", name, static_cast<unsigned long>(count));
}

void MeasurePacketPath();
void MeasureController();

}  // namespace xsched_hsa::cost

// trace_format.h: from the controller's records to Chrome's trace-event JSON, which Perfetto loads.
//
// Why        One place decides what a recording looks like; it needs neither a controller nor a file.
// Threads    one.
// Units      "ts" and "dur" in microseconds of CLOCK_MONOTONIC with three decimals. Host time, also
//            of programs on the virtual GPU.
// Rules      events are in the order of time; on every track each B has its E; what was open when the
//            recording began or ended is cut there.
// See        TraceKind in queue-ctl/trace_page.h, "trace-read" in queue-ctl/client.h
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace xsched_hsa {

struct TraceRecord {
  std::uint64_t at_ns = 0;
  std::uint32_t session = 0;  // 0: the controller's own; `serial` is the GPU's index then
  std::uint32_t kind = 0;     // TraceKind
  std::uint32_t serial = 0;
  std::uint64_t a = 0, b = 0;
};

struct Recording {
  std::vector<TraceRecord> records;
  nlohmann::json processes = nlohmann::json::array();  // {"session","pid","comm"}
  nlohmann::json gpus = nlohmann::json::array();       // {"index","gpu"}
  nlohmann::json decisions = nlohmann::json::array();  // decisions.h, with "session"
  std::uint64_t lost = 0;
};

std::string ChromeTrace(Recording recording);

}  // namespace xsched_hsa

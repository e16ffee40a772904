// trace_recorder.h: collects what layers write while somebody records, until somebody fetches it.
//
// Why        Layers' rings are short; this one is long and in one place. It keeps numbers; the tool
//            that fetches them makes the timeline, and the file, as the user who asks: the controller
//            opens no file that somebody names.
// Threads    the controller's thread.
// Ownership  switches the modes and rings of the sessions it records on and off; nothing else of them.
// Units      _ns: CLOCK_MONOTONIC, as layers stamp it.
// Errors     replies {"ok":false,...}; a ring that was overrun and a full recording are counted in
//            "lost".
// Limits     one recording at a time; kRecordsMax records (40 bytes each), kTracedSessionsMax programs, further ones
//            count as lost. It sees a program's last
//            kTraceEventsMax events between two ticks.
//
// Requests (fields are only added):
//   {"op":"trace-start"}   {"ok":true,"sessions":N}    of the caller's own programs; root: everybody's
//   {"op":"trace-status"}  {"ok":true,"recording":B,"events":N,"lost":N}
//   {"op":"trace-stop"}    {"ok":true,"events":N,"lost":N,"decisions":N,"processes":[{"session","pid",
//                          "comm","gpu_base"}...],"gpus":[{"index","gpu"}...]}; kept until the next start
//   {"op":"trace-read","from":N,"decisions_from":N}
//                          {"ok":true,"records":[[at_ns,session,kind,serial,a,b]...],"decisions":[...]}
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "core.h"

namespace xsched_hsa {

inline constexpr std::size_t kRecordsMax = 1'000'000;
inline constexpr std::size_t kTracedDecisionsMax = 100'000;
inline constexpr std::size_t kTracedSessionsMax = 4096;  // also those that have gone meanwhile
inline constexpr std::uint64_t kTraceTickUs = 5'000;

class TraceRecorder {
 public:
  explicit TraceRecorder(Core* core) : core_(core) {}

  nlohmann::json Handle(const std::string& op, const nlohmann::json& request, const Caller& caller);

  bool recording() const { return recording_; }
  // To be called every kTraceTickUs while recording.
  void Tick();
  // The controller has changed a GPU's level, or has seen that a layer did.
  void OnLevel(const UserPage& page, std::uint32_t gpu, std::uint32_t level);
  // The session's page is still there.
  void OnSessionEnds(Session& session);

 private:
  struct Record {
    std::uint64_t at_ns;
    std::uint32_t session, kind, serial;
    std::uint64_t a, b;
  };
  struct Traced {
    std::uint64_t read = 0;       // records of its ring
    std::uint64_t decisions = 0;  // of its decisions
  };

  nlohmann::json Start(const Caller& caller);
  nlohmann::json Stop();
  nlohmann::json Status() const;
  nlohmann::json Read(const nlohmann::json& request) const;
  bool Covers(const Session& session) const;
  void Adopt(Session& session);
  void Release(Session& session);
  void Drain(Session& session, Traced* traced);
  void DrainDecisions(Session& session, Traced* traced, bool last);
  std::uint32_t GpuBase(const UserPage& page);
  void NoteGpus(const UserPage& page);
  void Add(const Record& record);

  Core* const core_;
  bool recording_ = false;
  Caller owner_;
  std::vector<Record> records_;
  std::vector<nlohmann::json> decisions_;
  std::map<std::uint32_t, Traced> traced_;        // by session, also ended ones
  std::vector<const UserPage*> pages_;            // their order gives GPUs their numbers
  std::map<std::uint32_t, nlohmann::json> gpus_;  // by number
  nlohmann::json processes_ = nlohmann::json::array();
  std::uint64_t lost_ = 0;
};

}  // namespace xsched_hsa

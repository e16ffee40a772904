// requests.h: what a tool asks for, checked, permitted and answered.
//
// Why        The JSON side of the socket without the socket. Some answers need the layers' fresh
//            mirrors first: Handle then returns a PendingReply, and the server comes back with
//            Finish when IsReady, or at the deadline.
// Threads    the controller's thread.
// Errors     every mistake becomes a reply {"ok":false,"code","error"}; nothing throws.
// Units      _us: the core's clock.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "configuration.h"
#include "core.h"
#include "events.h"
#include "report.h"
#include "trace_recorder.h"

namespace xsched_hsa {

inline constexpr std::uint64_t kRefreshWaitUs = 20'000;

struct PendingReply {
  bool stats = false;
  Caller caller;
  ListFilter filter;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> tickets;  // session, refresh ticket
  std::uint64_t deadline_us = 0;
  bool follow = false;  // after the reply, events go to this connection
};

class Requests {
 public:
  // Without a configuration and events, for tests: what needs them is refused.
  Requests(Core* core, const ControllerInfo* info, Configuration* configuration = nullptr,
           Events* events = nullptr);

  // The reply, or nothing and *pending filled.
  std::optional<std::string> Handle(const std::string& text, const Caller& caller,
                                    PendingReply* pending);
  bool IsReady(const PendingReply& pending) const;
  std::string Finish(const PendingReply& pending);
  TraceRecorder* recorder() { return &recorder_; }

 private:
  nlohmann::json Change(const std::string& op, const nlohmann::json& request, const Caller& caller);
  nlohmann::json SetClass(const std::string& op, const nlohmann::json& request,
                          const Caller& caller, std::int32_t pid);
  nlohmann::json ChangeController(const std::string& op, const nlohmann::json& request,
                                  const Caller& caller);
  nlohmann::json SetPolicy(const nlohmann::json& request, const Caller& caller);
  std::string WhyNoGpu(GpuKey gpu);
  nlohmann::json Reload(const Caller& caller);
  void AskForMirrors(PendingReply* pending);

  Core* const core_;
  const ControllerInfo* const info_;
  Configuration* const configuration_;
  Events* const events_;
  TraceRecorder recorder_;
  std::uint64_t deferred_replies_ = 0;
};

}  // namespace xsched_hsa

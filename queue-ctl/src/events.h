// events.h: what happens in the controller, as JSON for those who follow, and as log lines.
//
// Why        Each event is built once, when it happens; who follows gets it from the server.
// Threads    the controller's thread.
// Limits     kEventsMax wait for the server's next turn; more are counted as lost to everybody. The
//            sink gets kLogLinesPerSecond.
// See        client.h for the events.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core.h"
#include "log_budget.h"

namespace xsched_hsa {

inline constexpr std::size_t kEventsMax = 1024;

struct Event {
  nlohmann::json body;
  std::optional<std::uint32_t> uid;  // whose; empty: everybody may see it
};

class Events final : public Observer {
 public:
  explicit Events(const Clock* clock) : clock_(clock) {}

  void OnSession(const Session& session, bool up) override;
  void OnRule(const Session& session) override;
  void OnQueue(const Session& session, const QueueRecord& queue, bool made) override;
  bool WantsPreemptions() const override { return followed_; }
  void OnPreemption(std::optional<std::uint32_t> uid, GpuKey gpu, std::uint32_t level,
                    std::uint64_t lasted_us, std::uint32_t held) override;
  void Add(const char* kind, nlohmann::json fields, std::optional<std::uint32_t> uid = {});

  // Preemptions come by the hundred: they are built only while somebody follows.
  void SetFollowed(bool followed) { followed_ = followed; }
  std::vector<Event> Take(std::uint64_t* lost);

  // Every event but preemptions goes there, too: to the journal, say.
  void SetSink(std::function<void(const nlohmann::json&)> sink) { sink_ = std::move(sink); }

 private:
  const Clock* const clock_;
  bool followed_ = false;
  std::vector<Event> waiting_;
  std::uint64_t lost_ = 0;
  std::function<void(const nlohmann::json&)> sink_;
  LogBudget sink_budget_;
};

// "event=session state=up pid=12": a value with blanks or quotes in it is quoted.
std::string KeyValueText(const nlohmann::json& event);

}  // namespace xsched_hsa

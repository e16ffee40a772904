#include "events.h"

#include <utility>

#include "gpu_key.h"

namespace xsched_hsa {

using nlohmann::json;

void Events::Add(const char* kind, json fields, std::optional<std::uint32_t> uid) {
  fields["event"] = kind;
  fields["at_us"] = clock_->NowUs();
  if (sink_ && std::string_view(kind) != "preemption") {
    std::uint64_t left_out = 0;
    const bool may = sink_budget_.Take(clock_->NowUs(), &left_out);
    if (left_out != 0) sink_({{"event", "log"}, {"left_out", left_out}});
    if (may) sink_(fields);
  }
  if (!followed_) return;
  if (waiting_.size() >= kEventsMax) {
    ++lost_;
    return;
  }
  waiting_.push_back({std::move(fields), uid});
}

void Events::OnSession(const Session& session, bool up) {
  Add("session",
      {{"state", up ? "up" : "ended"},
       {"session", session.id},
       {"pid", session.layer.pid},
       {"comm", session.layer.comm}},
      session.layer.uid);
}

void Events::OnRule(const Session& session) {
  Add("rule",
      {{"session", session.id},
       {"pid", session.layer.pid},
       {"rule", session.rule.empty() ? json() : json(session.rule)}},
      session.layer.uid);
}

void Events::OnQueue(const Session& session, const QueueRecord& queue, bool made) {
  Add("queue",
      {{"state", made ? "made" : "destroyed"},
       {"session", session.id},
       {"pid", session.layer.pid},
       {"queue", queue.slot.serial},
       {"gpu", FormatGpuKey(queue.slot.gpu_key)},
       {"priority", session.EffectivePriority(queue)}},
      session.layer.uid);
}

// When a user's requests ran is that user's business; where users compete, root's.
void Events::OnPreemption(std::optional<std::uint32_t> uid, GpuKey gpu, std::uint32_t level,
                          std::uint64_t lasted_us, std::uint32_t held) {
  Add("preemption",
      {{"gpu", FormatGpuKey(gpu)},
       {"level", level},
       {"lasted_ms", static_cast<double>(lasted_us) / 1000},
       {"held_queues", held}},
      uid.value_or(0));
}

std::vector<Event> Events::Take(std::uint64_t* lost) {
  *lost = std::exchange(lost_, 0);
  return std::exchange(waiting_, {});
}

std::string KeyValueText(const json& event) {
  std::string text;
  const auto add = [&text](const std::string& key, const json& value) {
    if (!text.empty()) text += ' ';
    std::string shown = value.is_string()
                            ? value.get<std::string>()
                            : value.dump(-1, ' ', false, json::error_handler_t::replace);
    if (value.is_string() && shown.find_first_of(" \"=") != std::string::npos) {
      shown = value.dump(-1, ' ', false, json::error_handler_t::replace);
    }
    text += key + "=" + shown;
  };
  if (event.contains("event")) add("event", event["event"]);
  for (const auto& [key, value] : event.items()) {
    if (key != "event" && key != "at_us") add(key, value);
  }
  return text;
}

}  // namespace xsched_hsa

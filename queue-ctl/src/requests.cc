#include "requests.h"

#include <limits>

#include "version.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

json ErrorReply(const Status& status) {
  const char* code = status.code == StatusCode::kNotFound     ? "not-found"
                     : status.code == StatusCode::kPermission ? "permission"
                                                              : "bad-request";
  return {{"ok", false}, {"code", code}, {"error", status.text}};
}

std::string Text(const json& reply) {
  return reply.dump(-1, ' ', false, json::error_handler_t::replace);
}

// An integer within T, or nothing.
template <typename T>
std::optional<T> Integer(const json& request, const char* key) {
  const auto it = request.find(key);
  if (it == request.end() || !it->is_number_integer()) return std::nullopt;
  if (it->is_number_unsigned()) {
    const auto value = it->get<std::uint64_t>();
    if (value > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return std::nullopt;
    return static_cast<T>(value);
  }
  const auto value = it->get<std::int64_t>();
  if (value < static_cast<std::int64_t>(std::numeric_limits<T>::min())) return std::nullopt;
  return static_cast<T>(value);
}

std::string TextField(const json& request, const char* key) {
  const auto it = request.find(key);
  return it != request.end() && it->is_string() ? it->get<std::string>() : std::string();
}

bool BoolField(const json& request, const char* key) {
  const auto it = request.find(key);
  return it != request.end() && it->is_boolean() && it->get<bool>();
}

}  // namespace

Requests::Requests(Core* core, const ControllerInfo* info)
    : core_(core), info_(info), recorder_(core) {
  core_->SetLevelListener([this](const UserPage& page, std::uint32_t gpu, std::uint32_t level) {
    recorder_.OnLevel(page, gpu, level);
  });
  core_->SetEndListener([this](Session& session) { recorder_.OnSessionEnds(session); });
}

std::optional<std::string> Requests::Handle(const std::string& text, const Caller& caller,
                                            PendingReply* pending) {
  const json request = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!request.is_object()) return Text(ErrorReply(Status::Bad("a request is one JSON object")));
  const std::string op = TextField(request, "op");
  if (op == "info") {
    return Text({{"ok", true}, {"controller", ReportController(*core_, *info_)}});
  }
  if (op == "list" || op == "stats") {
    pending->stats = op == "stats";
    pending->caller = caller;
    pending->filter.all = BoolField(request, "all");
    pending->filter.decisions = BoolField(request, "decisions");
    pending->filter.run_token = TextField(request, "run_token");
    AskForMirrors(pending);
    return std::nullopt;
  }
  if (op == "set-priority" || op == "hold" || op == "release") {
    return Text(Change(op, request, caller));
  }
  if (op.rfind("trace-", 0) == 0) return Text(recorder_.Handle(op, request, caller));
  if (op.empty()) return Text(ErrorReply(Status::Bad("'op' must name a request (client.h)")));
  // Told apart, because the answer is another one: tool and controller are of two releases.
  json unknown = ErrorReply(Status::Bad("there is no request '" + op + "'"));
  unknown["code"] = "unknown-op";
  unknown["version"] = kVersion;
  return Text(unknown);
}

json Requests::Change(const std::string& op, const json& request, const Caller& caller) {
  Target target;
  const auto pid = Integer<std::int32_t>(request, "pid");
  if (!pid || *pid <= 0) return ErrorReply(Status::Bad("'pid' must be a positive number"));
  target.pid = *pid;
  const auto queue = request.find("queue");
  if (queue != request.end() && !queue->is_null()) {
    target.serial = Integer<std::uint32_t>(request, "queue");
    if (!target.serial) return ErrorReply(Status::Bad("'queue' must be a queue's serial number"));
  }
  int changed = 0;
  Status status;
  if (op == "set-priority") {
    std::optional<int> priority;
    const auto wanted = request.find("priority");
    if (wanted == request.end()) return ErrorReply(Status::Bad("'priority' is missing"));
    if (!wanted->is_null()) {
      priority = Integer<int>(request, "priority");
      if (!priority) return ErrorReply(Status::Bad("'priority' must be a number 0..15 or null"));
    }
    status = core_->SetPriority(caller, target, priority, &changed);
  } else {
    status = core_->SetHold(caller, target, op == "hold", &changed);
  }
  if (!status.ok()) return ErrorReply(status);
  return {{"ok", true}, {"changed", changed}};
}

void Requests::AskForMirrors(PendingReply* pending) {
  pending->deadline_us = core_->clock().NowUs() + kRefreshWaitUs;
  ListFilter live = pending->filter;
  if (pending->stats) live = {};
  for (const auto& [id, session] : core_->sessions()) {
    if (!IsListed(*session, pending->caller, live)) continue;
    pending->tickets.emplace_back(id, core_->AskRefresh(id));
  }
}

bool Requests::IsReady(const PendingReply& pending) const {
  for (const auto& [id, ticket] : pending.tickets) {
    if (!core_->IsRefreshed(id, ticket)) return false;
  }
  return true;
}

std::string Requests::Finish(const PendingReply& pending) {
  std::set<std::uint32_t> stale;
  for (const auto& [id, ticket] : pending.tickets) {
    // Slots that came since the last event are shown, too.
    core_->OnLayerEvent(id);
    if (!core_->IsRefreshed(id, ticket)) stale.insert(id);
  }
  ++deferred_replies_;
  if (pending.stats) {
    json stats = ReportStats(*core_, *info_, pending.caller);
    stats["counters"]["deferred_replies"] = deferred_replies_;
    return Text(stats);
  }
  return Text(ReportList(*core_, *info_, pending.caller, pending.filter, stale));
}

}  // namespace xsched_hsa

#include "requests.h"

#include <cmath>
#include <limits>
#include <set>

#include "gpu_key.h"
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

// Requests that set one member of a program's class.
struct ClassOp {
  const char* op;
  const char* field;
  double minimum, maximum, unit;  // unit: of the member, in those of the field
  void (*set)(ProgramClass*, std::optional<std::uint64_t>);
};

template <typename T>
std::optional<T> As(std::optional<std::uint64_t> value) {
  if (!value) return std::nullopt;
  return static_cast<T>(*value);
}

const ClassOp kClassOps[] = {
    {"set-weight", "weight", 1, 10'000, 1,
     [](ProgramClass* c, std::optional<std::uint64_t> v) { c->weight = As<std::uint32_t>(v); }},
    {"set-cap", "cap_percent", 1, 100, 10,
     [](ProgramClass* c, std::optional<std::uint64_t> v) {
       c->cap_permille = As<std::uint32_t>(v);
     }},
    {"set-share", "share_percent", 1, 100, 10,
     [](ProgramClass* c, std::optional<std::uint64_t> v) {
       c->share_permille = As<std::uint32_t>(v);
     }},
    {"set-deadline", "deadline_ms", 0.01, 3.6e6, 1000,
     [](ProgramClass* c, std::optional<std::uint64_t> v) { c->deadline_us = v; }},
    {"set-latency-target", "latency_target_ms", 0.01, 3.6e6, 1000,
     [](ProgramClass* c, std::optional<std::uint64_t> v) { c->latency_target_us = v; }},
};

const ClassOp* FindClassOp(const std::string& op) {
  for (const ClassOp& each : kClassOps) {
    if (op == each.op) return &each;
  }
  return nullptr;
}

bool BoolField(const json& request, const char* key) {
  const auto it = request.find(key);
  return it != request.end() && it->is_boolean() && it->get<bool>();
}

}  // namespace

Requests::Requests(Core* core, const ControllerInfo* info, Configuration* configuration,
                   Events* events)
    : core_(core), info_(info), configuration_(configuration), events_(events), recorder_(core) {
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
  if (op == "events" && events_ != nullptr) {
    pending->follow = true;
    return Text({{"ok", true}, {"following", true}});
  }
  if (op == "hold" || op == "release" || op == "suspend" || op == "resume" || op == "cu-mask" ||
      op == "set-priority" || FindClassOp(op) != nullptr) {
    return Text(Change(op, request, caller));
  }
  if (configuration_ != nullptr &&
      (op == "policy" || op == "devices" || op == "config" || op == "reload")) {
    return Text(ChangeController(op, request, caller));
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
  if (FindClassOp(op) != nullptr) return SetClass(op, request, caller, target.pid);
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
  } else if (op == "cu-mask") {
    const auto wanted = request.find("units");
    if (wanted == request.end()) return ErrorReply(Status::Bad("'units' is missing"));
    const auto units = wanted->is_null() ? std::optional<std::uint32_t>(0)
                                         : Integer<std::uint32_t>(request, "units");
    if (!units || (*units == 0 && !wanted->is_null())) {
      return ErrorReply(Status::Bad("'units' must be a number above 0, or null"));
    }
    std::uint32_t kept = 0;
    status = core_->SetUnits(caller, target, *units, &changed, &kept);
    if (status.ok()) return {{"ok", true}, {"changed", changed}, {"units", kept}};
  } else {
    const HoldOrder order = op == "hold"      ? kHoldPackets
                            : op == "suspend" ? kHoldSuspend
                                              : kHoldNone;
    status = core_->SetHold(caller, target, order, &changed);
  }
  if (!status.ok()) return ErrorReply(status);
  return {{"ok", true}, {"changed", changed}};
}

json Requests::SetClass(const std::string& op, const json& request, const Caller& caller,
                        std::int32_t pid) {
  const ClassOp& entry = *FindClassOp(op);
  const std::string field = entry.field;
  if (request.contains("queue") && !request["queue"].is_null()) {
    return ErrorReply(Status::Bad("'" + op + "' is for a whole process, not for one queue"));
  }
  const auto wanted = request.find(field);
  if (wanted == request.end()) return ErrorReply(Status::Bad("'" + field + "' is missing"));
  std::optional<std::uint64_t> value;
  if (!wanted->is_null()) {
    const double number = wanted->is_number() ? wanted->get<double>() : entry.minimum - 1;
    const bool whole = entry.unit != 1 || number == std::floor(number);
    if (!(number >= entry.minimum && number <= entry.maximum) || !whole) {
      return ErrorReply(Status::Bad(
          "'" + field + "' must be a number from " + json(entry.minimum).dump() + " to " +
          json(entry.maximum).dump() + (entry.unit == 1 ? ", a whole one, or null" : ", or null")));
    }
    value = static_cast<std::uint64_t>(std::llround(number * entry.unit));
  }
  int changed = 0;
  const Status status = core_->SetClass(
      caller, pid, [&](ProgramClass* own) { entry.set(own, value); }, &changed);
  if (!status.ok()) return ErrorReply(status);
  return {{"ok", true}, {"changed", changed}};
}

json Requests::ChangeController(const std::string& op, const json& request, const Caller& caller) {
  if (op == "devices") return ReportDevices(*core_, configuration_->RefreshDevices(core_));
  if (op == "reload") return Reload(caller);
  if (op == "policy") {
    return request.contains("set") ? SetPolicy(request, caller) : ReportPolicies(*core_);
  }
  const std::vector<std::string> errors = configuration_->Check();
  return {{"ok", true},
          {"files", configuration_->config().files},
          {"valid", errors.empty()},
          {"errors", errors},
          {"effective", ReportConfig(configuration_->config())}};
}

json Requests::Reload(const Caller& caller) {
  if (!caller.administrator) {
    return ErrorReply(Status::Permission("only root or the controller's own user may reload"));
  }
  const std::vector<std::string> errors = configuration_->Reload(core_);
  if (!errors.empty()) {
    json reply = ErrorReply(Status::Bad(errors.front() + "; the old configuration stays"));
    reply["errors"] = errors;
    return reply;
  }
  if (events_ != nullptr) events_->Add("reload", {{"files", configuration_->config().files}});
  return {{"ok", true}, {"files", configuration_->config().files}};
}

// Empty: there is such a GPU, or nobody knows which there are (in a container, say).
std::string Requests::WhyNoGpu(GpuKey gpu) {
  std::set<GpuKey> known;
  for (const Device& device : configuration_->RefreshDevices(core_)) known.insert(device.gpu);
  for (const auto& [id, session] : core_->sessions()) {
    for (const auto& [slot, queue] : session->queues) known.insert(queue.slot.gpu_key);
  }
  known.erase(0);
  if (known.empty() || known.count(gpu) != 0) return {};
  std::string names;
  for (const GpuKey key : known) names += (names.empty() ? "" : ", ") + FormatGpuKey(key);
  return "there is no GPU " + FormatGpuKey(gpu) + "; there are: " + names;
}

json Requests::SetPolicy(const json& request, const Caller& caller) {
  if (!caller.administrator) {
    return ErrorReply(
        Status::Permission("only root or the controller's own user may set the policy"));
  }
  std::optional<GpuKey> gpu;
  const auto address = request.find("gpu");
  if (address != request.end() && !address->is_null()) {
    gpu = address->is_string() ? ParseGpuKey(address->get<std::string>()) : std::nullopt;
    if (!gpu) {
      return ErrorReply(Status::Bad("'gpu' must be a PCI address such as \"0000:03:00.0\""));
    }
  }
  if (gpu) {
    if (const std::string why = WhyNoGpu(*gpu); !why.empty()) {
      return ErrorReply(Status::NotFound(why));
    }
  }
  PolicyChoice choice;
  choice.name = TextField(request, "set");
  const auto parameters = request.find("parameters");
  if (parameters != request.end() && !parameters->is_null()) {
    if (!parameters->is_object()) {
      return ErrorReply(Status::Bad("'parameters' must be an object"));
    }
    for (const auto& [name, value] : parameters->items()) {
      if (!value.is_number()) return ErrorReply(Status::Bad("'" + name + "' must be a number"));
      choice.params[name] = value.get<double>();
    }
  }
  std::string error;
  const PolicySetting setting = ResolvePolicy(choice, configuration_->config().mechanisms, &error);
  if (!error.empty()) return ErrorReply(Status::Bad(error));
  core_->SetPolicy(gpu, setting);
  if (events_ != nullptr) {
    events_->Add("policy", {{"gpu", gpu ? FormatGpuKey(*gpu) : "*"}, {"policy", setting.name}});
  }
  return ReportPolicies(*core_);
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

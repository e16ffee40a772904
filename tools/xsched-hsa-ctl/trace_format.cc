#include "trace_format.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <map>
#include <set>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

constexpr int kGpuPid = 1'000'000'000;  // above any process id: Perfetto wants a process for each
// A record's number is another program's word.
int GpuPid(std::uint32_t gpu) { return kGpuPid + static_cast<int>(gpu % kGpuPid); }
constexpr int kRequestsTrack = 1, kFirstQueueTrack = 10;
enum QueueTrack { kGate, kRestriction, kActivity, kPackets, kDecisions, kTracksPerQueue };
constexpr const char* kTrackNames[] = {"gate", "restriction", "activity", "packets", "decisions"};

struct Event {
  std::uint64_t at_ns;
  json fields;  // without ts
};

class Builder {
 public:
  explicit Builder(const Recording& recording) : recording_(recording) {
    for (const json& process : recording.processes) {
      pids_[process.value("session", 0u)] = process.value("pid", 0);
      gpu_bases_[process.value("session", 0u)] = process.value("gpu_base", 0u);
    }
  }

  std::string Build() {
    for (const TraceRecord& record : recording_.records) {
      first_ns_ = std::min(first_ns_, record.at_ns);
      last_ns_ = std::max(last_ns_, record.at_ns);
      record.session == 0 ? AddUrgency(record) : AddRecord(record);
    }
    AddDecisions();
    CloseAll();
    std::stable_sort(events_.begin(), events_.end(),
                     [](const Event& x, const Event& y) { return x.at_ns < y.at_ns; });
    return Text();
  }

 private:
  using Track = std::pair<int, int>;  // pid, tid

  static json On(const Track& track, const char* phase, const std::string& name) {
    return {{"ph", phase},
            {"pid", track.first},
            {"tid", track.second},
            {"name", name},
            {"cat", "xsched-hsa"}};
  }
  void Add(std::uint64_t at_ns, json fields) { events_.push_back({at_ns, std::move(fields)}); }

  Track QueueTrackOf(std::uint32_t session, std::uint32_t serial, QueueTrack which) {
    const int pid = PidOf(session);
    const int tid = kFirstQueueTrack + static_cast<int>(serial % 100'000) * kTracksPerQueue + which;
    Name({pid, tid}, "queue " + std::to_string(serial) + " " + kTrackNames[which]);
    return {pid, tid};
  }
  Track QueueTrackOf(const TraceRecord& record, QueueTrack which) {
    return QueueTrackOf(record.session, record.serial, which);
  }
  int PidOf(std::uint32_t session) {
    const auto it = pids_.find(session);
    return it != pids_.end() ? it->second : 0;
  }
  void Name(const Track& track, const std::string& name) { track_names_.emplace(track, name); }

  // A span of this name is open on the track now; another one of it ends.
  void Open(std::uint64_t at_ns, const Track& track, const std::string& name, json args) {
    Close(at_ns, track, json::object());
    json event = On(track, "B", name);
    event["args"] = std::move(args);
    Add(at_ns, std::move(event));
    open_[track] = name;
  }
  void Close(std::uint64_t at_ns, const Track& track, json args) {
    const auto it = open_.find(track);
    if (it == open_.end()) return;  // it had begun before the recording
    json event = On(track, "E", it->second);
    event["args"] = std::move(args);
    Add(at_ns, std::move(event));
    open_.erase(it);
  }
  void CloseAll() {
    while (!open_.empty()) Close(last_ns_, open_.begin()->first, {{"cut", true}});
    while (!requests_.empty()) EndRequest(last_ns_, *requests_.begin(), {{"cut", true}});
  }
  void Counter(std::uint64_t at_ns, int pid, const std::string& name, std::uint64_t value) {
    Add(at_ns, {{"ph", "C"},
                {"pid", pid},
                {"tid", 0},
                {"name", name},
                {"cat", "xsched-hsa"},
                {"args", {{"value", value}}}});
  }
  // One name space for all processes: `id` of another with equal name and category is the same span.
  static std::string RequestId(const std::pair<int, std::uint64_t>& request) {
    return std::to_string(request.first) + ":" + std::to_string(request.second);
  }
  void EndRequest(std::uint64_t at_ns, const std::pair<int, std::uint64_t>& request, json args) {
    json event = On({request.first, kRequestsTrack}, "e", "request");
    event["id"] = RequestId(request);
    event["args"] = std::move(args);
    Add(at_ns, std::move(event));
    requests_.erase(request);
  }

  void AddRecord(const TraceRecord& r) {
    const int pid = PidOf(r.session);
    switch (r.kind) {
      case kTracePublish: {
        const Track track = QueueTrackOf(r, kPackets);
        json event = On(track, "i", "published");
        event["s"] = "t";
        event["args"] = {{"from", r.a}, {"to", r.b}, {"packets", r.b - std::min(r.a, r.b)}};
        Add(r.at_ns, std::move(event));
        published_[track] = std::max(published_[track], r.b);
        CountExposed(r, track);
        return;
      }
      case kTraceTaken: {
        const Track track = QueueTrackOf(r, kPackets);
        taken_[track] = std::max(taken_[track], r.a);
        CountExposed(r, track);
        return;
      }
      case kTraceClosed:
        return Open(r.at_ns, QueueTrackOf(r, kGate), "closed", {{"packets_behind", r.a}});
      case kTraceOpened:
        return Close(r.at_ns, QueueTrackOf(r, kGate), {{"packets_behind", r.a}});
      case kTraceSuspend:
        return Open(r.at_ns, QueueTrackOf(r, kRestriction), "suspended",
                    {{"driver_us", r.b / 1000}});
      case kTraceSqueeze:
        return Open(r.at_ns, QueueTrackOf(r, kRestriction), "squeezed",
                    {{"units", r.a}, {"driver_us", r.b / 1000}});
      case kTraceLift:
        return Close(r.at_ns, QueueTrackOf(r, kRestriction), {{"driver_us", r.b / 1000}});
      case kTraceRaise:
        // The doorbell raises the level at once; the controller's record of it comes later.
        if (r.a != 0) RaiseLevel(r);
        return Open(r.at_ns, QueueTrackOf(r, kActivity), "active", {{"level", r.a}});
      case kTraceDrained:
        return Close(r.at_ns, QueueTrackOf(r, kActivity), json::object());
      case kTraceRequestBegin: {
        Name({pid, kRequestsTrack}, "requests");
        if (!requests_.emplace(pid, r.a).second) return;
        json event = On({pid, kRequestsTrack}, "b", "request");
        event["id"] = RequestId({pid, r.a});
        if (r.b != 0) event["args"] = {{"deadline_us", r.b}};
        return Add(r.at_ns, std::move(event));
      }
      case kTraceRequestEnd:
        if (requests_.count({pid, r.a}) == 0) return;
        return EndRequest(r.at_ns, {pid, r.a}, {{"late", r.b != 0}});
      default:
        return;  // of a newer release
    }
  }

  void CountExposed(const TraceRecord& r, const Track& track) {
    // Before the first look at the read index nothing is known.
    const auto taken = taken_.find(track);
    if (taken == taken_.end()) return;
    const std::uint64_t published = published_[track];
    Counter(r.at_ns, track.first, "queue " + std::to_string(r.serial) + " exposed",
            published > taken->second ? published - taken->second : 0);
  }

  void AddUrgency(const TraceRecord& r) {
    if (r.kind == kTraceUrgency) SetLevel(r.at_ns, r.serial, r.a);
  }
  void RaiseLevel(const TraceRecord& r) {
    const std::uint32_t gpu = gpu_bases_[r.session] + static_cast<std::uint32_t>(r.b % kGpusMax);
    const auto before = levels_.find(gpu);
    SetLevel(r.at_ns, gpu, before == levels_.end() ? r.a : std::max(r.a, before->second));
  }
  void SetLevel(std::uint64_t at_ns, std::uint32_t gpu, std::uint64_t level) {
    const auto [entry, is_new] = levels_.emplace(gpu, level);
    if (!is_new && entry->second == level) return;
    entry->second = level;
    Counter(at_ns, GpuPid(gpu), "urgency level", level);
  }

  // A queue's one after the other: Perfetto drops spans that overlap on a track, and a request that was
  // looked at again has two decisions.
  void AddDecisions() {
    std::map<Track, std::multimap<std::uint64_t, const json*>> by_track;
    for (const json& decision : recording_.decisions) {
      const Track track =
          QueueTrackOf(decision.value("session", 0u), decision.value("queue", 0u), kDecisions);
      by_track[track].emplace(decision.value("at_us", std::uint64_t{0}) * 1000, &decision);
    }
    for (const auto& [track, decisions] : by_track) {
      for (auto it = decisions.begin(); it != decisions.end(); ++it) {
        const auto next = std::next(it);
        AddDecision(track, it->first, next == decisions.end() ? UINT64_MAX : next->first,
                    *it->second);
      }
    }
  }
  void AddDecision(const Track& track, std::uint64_t at_ns, std::uint64_t next_ns,
                   const json& decision) {
    const auto measured = decision.find("measured_ms");
    const bool over = measured != decision.end() && measured->is_number();
    const double room_us = static_cast<double>(next_ns - at_ns) / 1000;
    json event = On(track, "X", decision.value("mechanism", "unknown"));
    event["dur"] = over ? std::min(measured->get<double>() * 1000, room_us) : 0.0;
    event["args"] = decision;
    Add(at_ns, std::move(event));
  }

  std::string Text() {
    std::string text = "{\"displayTimeUnit\":\"ms\",\"otherData\":";
    text += json{{"program", "xsched-hsa"},
                 {"lost_events", recording_.lost},
                 {"clock", "CLOCK_MONOTONIC, host time"}}
                .dump();
    text += ",\"traceEvents\":[\n";
    bool first = true;
    const auto line = [&](const std::string& event) {
      text += (first ? "" : ",\n") + event;
      first = false;
    };
    for (const json& event : Metadata()) line(Dump(event));
    for (const Event& event : events_) {
      char ts[48];
      std::snprintf(ts, sizeof ts, "{\"ts\":%llu.%03u,",
                    static_cast<unsigned long long>(event.at_ns / 1000),
                    static_cast<unsigned>(event.at_ns % 1000));
      line(ts + Dump(event.fields).substr(1));
    }
    return text + "\n]}\n";
  }
  static std::string Dump(const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  std::vector<json> Metadata() {
    std::vector<json> metadata;
    const auto add = [&](int pid, int tid, const char* what, json args) {
      metadata.push_back({{"ph", "M"},
                          {"pid", pid},
                          {"tid", tid},
                          {"ts", 0},
                          {"name", what},
                          {"args", std::move(args)}});
    };
    // Two copies of one program are told apart by their priority; the most urgent is on top.
    for (const json& process : recording_.processes) {
      const int pid = process.value("pid", 0), priority = process.value("priority", -1);
      const std::string rank = priority < 0 ? "" : " (priority " + std::to_string(priority) + ")";
      add(pid, 0, "process_name", {{"name", process.value("comm", "program") + rank}});
      add(pid, 0, "process_sort_index", {{"sort_index", kPriorityMax - priority}});
    }
    for (const json& gpu : recording_.gpus) {
      const auto index = gpu.value("index", 0u);
      if (levels_.count(index) == 0) continue;
      add(GpuPid(index), 0, "process_name", {{"name", "GPU " + gpu.value("gpu", "")}});
      add(GpuPid(index), 0, "process_sort_index", {{"sort_index", -1}});
    }
    for (const auto& [track, name] : track_names_) {
      add(track.first, track.second, "thread_name", {{"name", name}});
    }
    return metadata;
  }

  const Recording& recording_;
  std::map<std::uint32_t, int> pids_;
  std::map<Track, std::string> track_names_, open_;
  std::map<Track, std::uint64_t> published_, taken_;
  std::map<std::uint32_t, std::uint32_t> gpu_bases_;  // of sessions
  std::map<std::uint32_t, std::uint64_t> levels_;     // of GPUs
  std::set<std::pair<int, std::uint64_t>> requests_;
  std::vector<Event> events_;
  std::uint64_t first_ns_ = UINT64_MAX, last_ns_ = 0;
};

}  // namespace

std::string ChromeTrace(Recording recording) {
  // The rings of several processes come one after the other.
  std::stable_sort(recording.records.begin(), recording.records.end(),
                   [](const TraceRecord& x, const TraceRecord& y) { return x.at_ns < y.at_ns; });
  return Builder(recording).Build();
}

}  // namespace xsched_hsa

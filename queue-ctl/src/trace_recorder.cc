#include "trace_recorder.h"

#include <algorithm>

#include "decisions.h"
#include "gpu_key.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

constexpr std::size_t kRecordsPerReply = 4000, kDecisionsPerReply = 500;

json ErrorReply(const char* code, const std::string& text) {
  return {{"ok", false}, {"code", code}, {"error", text}};
}

// The modes of live queues; a layer that has just made one starts from 0.
void SwitchModes(Session& session, bool on) {
  for (const auto& [i, queue] : session.queues) {
    std::atomic<std::uint32_t>& mode = session.page->queues[i].mode;
    const bool is_on = (mode.load(std::memory_order_relaxed) & kModeTrace) != 0;
    if (is_on == on) continue;
    on ? mode.fetch_or(kModeTrace) : mode.fetch_and(~kModeTrace);
  }
}

std::size_t Index(const json& request, const char* key) {
  const auto it = request.find(key);
  return it != request.end() && it->is_number_unsigned() ? it->get<std::size_t>() : 0;
}

}  // namespace

json TraceRecorder::Handle(const std::string& op, const json& request, const Caller& caller) {
  if (op == "trace-start") return Start(caller);
  if (op != "trace-status" && op != "trace-stop" && op != "trace-read") {
    return ErrorReply("bad-request", "'" + op + "' is none of trace-start, -status, -stop, -read");
  }
  const bool is_owner = caller.administrator || caller.uid == owner_.uid;
  if (op != "trace-status" && !is_owner) {
    return ErrorReply("permission", "the recording is user " + std::to_string(owner_.uid) + "'s");
  }
  if (op == "trace-status") return Status();
  if (op == "trace-read") return Read(request);
  if (!recording_ && records_.empty() && processes_.empty()) {
    return ErrorReply("not-found", "nothing is recorded; 'xsched-hsa-ctl trace start' begins");
  }
  return Stop();
}

json TraceRecorder::Start(const Caller& caller) {
  if (recording_) {
    return ErrorReply("bad-request", "a recording of user " + std::to_string(owner_.uid) +
                                         " runs already; stop that one first");
  }
  owner_ = caller;
  records_.clear();
  decisions_.clear();
  traced_.clear();
  pages_.clear();
  processes_ = json::array();
  gpus_.clear();
  lost_ = 0;
  recording_ = true;
  Tick();
  return {{"ok", true}, {"sessions", traced_.size()}};
}

json TraceRecorder::Status() const {
  return {{"ok", true}, {"recording", recording_}, {"events", records_.size()}, {"lost", lost_}};
}

json TraceRecorder::Stop() {
  if (recording_) {
    Tick();
    for (const auto& [id, session] : core_->sessions()) {
      if (traced_.count(id) != 0) Release(*session);
    }
    recording_ = false;
  }
  json reply = Status();
  reply["decisions"] = decisions_.size();
  reply["processes"] = processes_;
  reply["gpus"] = json::array();
  for (const auto& [number, gpu] : gpus_) reply["gpus"].push_back(gpu);
  return reply;
}

json TraceRecorder::Read(const json& request) const {
  json records = json::array(), decisions = json::array();
  const std::size_t from = Index(request, "from");
  for (std::size_t i = from; i < records_.size() && i < from + kRecordsPerReply; ++i) {
    const Record& r = records_[i];
    records.push_back({r.at_ns, r.session, r.kind, r.serial, r.a, r.b});
  }
  const std::size_t first = Index(request, "decisions_from");
  for (std::size_t i = first; i < decisions_.size() && i < first + kDecisionsPerReply; ++i) {
    decisions.push_back(decisions_[i]);
  }
  return {{"ok", true}, {"records", std::move(records)}, {"decisions", std::move(decisions)}};
}

bool TraceRecorder::Covers(const Session& session) const {
  return owner_.administrator || session.layer.uid == owner_.uid;
}

void TraceRecorder::Adopt(Session& session) {
  Traced& traced = traced_[session.id];
  // What is in the ring and among the decisions from before is not of this recording.
  traced.read = session.page->trace.made.load(std::memory_order_acquire);
  traced.decisions = session.DecisionsMade();
  session.trace_mode = kModeTrace;
  session.page->trace.on.store(1, std::memory_order_release);
  processes_.push_back({{"session", session.id},
                        {"pid", session.layer.pid},
                        {"comm", session.layer.comm},
                        {"priority", session.layer.priority},
                        {"gpu_base", GpuBase(*session.user_page)}});
}

void TraceRecorder::Release(Session& session) {
  const auto it = traced_.find(session.id);
  if (it == traced_.end() || session.page == nullptr) return;
  session.trace_mode = 0;
  session.page->trace.on.store(0, std::memory_order_release);
  SwitchModes(session, false);
  Drain(session, &it->second);
  DrainDecisions(session, &it->second, true);
}

void TraceRecorder::Tick() {
  if (!recording_) return;
  for (const auto& [id, session] : core_->sessions()) {
    if (!Covers(*session)) continue;
    if (traced_.count(id) == 0) {
      // Programs that come and go without end: what is kept of each is bounded, too.
      if (traced_.size() >= kTracedSessionsMax) {
        ++lost_;
        continue;
      }
      Adopt(*session);
    }
    SwitchModes(*session, true);
    NoteGpus(*session->user_page);
    Traced& traced = traced_[id];
    // Queues that nothing watches say how far they are only when asked.
    core_->AskRefresh(id);
    Drain(*session, &traced);
    DrainDecisions(*session, &traced, false);
  }
}

void TraceRecorder::OnSessionEnds(Session& session) {
  if (recording_) Release(session);
}

// What the program writes there is a number to be shown, and nothing more.
void TraceRecorder::Drain(Session& session, Traced* traced) {
  constexpr auto relaxed = std::memory_order_relaxed;
  TraceRing& ring = session.page->trace;
  const std::uint64_t made = ring.made.load(std::memory_order_acquire);
  if (made < traced->read || made > kCounterMax) return;
  if (made - traced->read > kTraceEventsMax) {
    lost_ += made - traced->read - kTraceEventsMax;
    traced->read = made - kTraceEventsMax;
  }
  for (; traced->read < made; ++traced->read) {
    const TraceEvent& event = ring.events[traced->read % kTraceEventsMax];
    const std::uint64_t sequence = event.sequence.load(std::memory_order_acquire);
    // Its writer has the ticket and is not done: it comes with the next tick, if this one is new.
    if (sequence < traced->read + 1 && made - traced->read < kTraceEventsMax / 2) return;
    const Record record{event.at_ns.load(relaxed), session.id,
                        event.kind.load(relaxed),  event.serial.load(relaxed),
                        event.a.load(relaxed),     event.b.load(relaxed)};
    std::atomic_thread_fence(std::memory_order_acquire);
    const bool whole = sequence == traced->read + 1 && event.sequence.load(relaxed) == sequence;
    if (whole && record.kind < kTraceUrgency) {
      Add(record);
    } else {
      ++lost_;
    }
  }
}

// A decision is taken over when the next one has been made, or it is complete.
void TraceRecorder::DrainDecisions(Session& session, Traced* traced, bool last) {
  const std::uint64_t made = session.DecisionsMade();
  if (made <= traced->decisions) return;
  for (json& decision : DecisionsJson(*session.page)) {
    const auto number = decision.at("number").get<std::uint64_t>();
    if (number < traced->decisions) continue;
    const bool complete = !decision.at("measured_ms").is_null() || number + 1 < made || last;
    if (!complete || decisions_.size() >= kTracedDecisionsMax) break;
    traced->decisions = number + 1;
    decision["session"] = session.id;
    decisions_.push_back(std::move(decision));
  }
}

void TraceRecorder::OnLevel(const UserPage& page, std::uint32_t gpu, std::uint32_t level) {
  if (!recording_ || (!owner_.administrator && page.uid != owner_.uid)) return;
  Add({core_->clock().NowUs() * 1000, 0, kTraceUrgency, GpuBase(page) + gpu, level, 0});
}

std::uint32_t TraceRecorder::GpuBase(const UserPage& page) {
  const auto it = std::find(pages_.begin(), pages_.end(), &page);
  const auto ordinal = static_cast<std::uint32_t>(it - pages_.begin());
  if (it == pages_.end() && pages_.size() < kTracedSessionsMax) pages_.push_back(&page);
  return ordinal * kGpusMax;
}

// A GPU gets its entry with the first queue on it.
void TraceRecorder::NoteGpus(const UserPage& page) {
  const std::uint32_t base = GpuBase(page);
  for (std::uint32_t i = 0; i < kGpusMax; ++i) {
    const GpuKey key = page.gpus[i].gpu_key.load(std::memory_order_acquire);
    if (key == 0) return;
    if (gpus_.count(base + i) != 0) continue;
    gpus_[base + i] = {{"index", base + i}, {"gpu", FormatGpuKey(key)}, {"uid", page.uid}};
  }
}

void TraceRecorder::Add(const Record& record) {
  if (records_.size() < kRecordsMax) {
    records_.push_back(record);
  } else {
    ++lost_;
  }
}

}  // namespace xsched_hsa

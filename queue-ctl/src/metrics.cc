#include "metrics.h"

#include <cinttypes>
#include <cstdio>
#include <map>
#include <set>

#include "gpu_key.h"
#include "version.h"

namespace xsched_hsa {
namespace {

// A label's value; a program chooses its own name.
std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '\n') {
      quoted += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) {
      quoted += '?';
    } else {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string Number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

// One metric with its samples, which the format wants together.
class Family {
 public:
  Family(const char* name, const char* type, const char* help) : name_(name) {
    text_ = std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
  }
  void Add(const std::string& labels, double value, const char* suffix = "") {
    text_ +=
        name_ + suffix + (labels.empty() ? "" : "{" + labels + "}") + " " + Number(value) + "\n";
  }
  const std::string& text() const { return text_; }

 private:
  const std::string name_;
  std::string text_;
};

std::string ProcessLabels(const Session& session) {
  return "pid=\"" + std::to_string(session.layer.pid) + "\",comm=" + Quoted(session.layer.comm) +
         ",uid=\"" + std::to_string(session.layer.uid) + "\"";
}

struct QueueMetric {
  const char* name;
  const char* type;
  const char* help;
  double (*value)(const Session&, const QueueRecord&, const QueueSlot&, const QueueCounters&);
};

constexpr double kUs = 1e-6;

double Bounded(const std::atomic<std::uint64_t>& word) {
  const std::uint64_t value = word.load(std::memory_order_relaxed);
  return value <= kCounterMax ? static_cast<double>(value) : 0;
}

#define XSCHED_HSA_QUEUE_VALUE(expression)                                    \
  [](const Session& session, const QueueRecord& queue, const QueueSlot& slot, \
     const QueueCounters& counters) -> double {                               \
    (void)session, (void)queue, (void)slot, (void)counters;                   \
    return static_cast<double>(expression);                                   \
  }

constexpr QueueMetric kQueueMetrics[] = {
    {"xsched_hsa_queue_priority", "gauge", "Priority in force, 0 to 15",
     XSCHED_HSA_QUEUE_VALUE(session.EffectivePriority(queue))},
    {"xsched_hsa_queue_active", "gauge", "1 while an urgent queue has unfinished work",
     XSCHED_HSA_QUEUE_VALUE(slot.active.load(std::memory_order_relaxed) != 0)},
    {"xsched_hsa_queue_gate_closed", "gauge", "1 while the queue publishes nothing",
     XSCHED_HSA_QUEUE_VALUE(slot.gate_closed.load(std::memory_order_relaxed) != 0)},
    {"xsched_hsa_queue_restriction", "gauge", "0 none, 1 squeezed, 2 suspended",
     XSCHED_HSA_QUEUE_VALUE(slot.restriction.load(std::memory_order_relaxed))},
    {"xsched_hsa_queue_pending_packets", "gauge", "Submitted and not yet taken by the device",
     XSCHED_HSA_QUEUE_VALUE(counters.Pending())},
    {"xsched_hsa_queue_exposed_packets", "gauge", "Published and not yet taken by the device",
     XSCHED_HSA_QUEUE_VALUE(counters.published > counters.read ? counters.published - counters.read
                                                               : 0)},
    {"xsched_hsa_queue_submitted_packets_total", "counter", "Packets the program has submitted",
     XSCHED_HSA_QUEUE_VALUE(counters.submitted)},
    {"xsched_hsa_queue_held_packets_total", "counter", "Packets a closed gate kept back, each once",
     XSCHED_HSA_QUEUE_VALUE(counters.packets_held)},
    {"xsched_hsa_queue_preemptions_total", "counter", "Times the gate closed on work",
     XSCHED_HSA_QUEUE_VALUE(counters.holds)},
    {"xsched_hsa_queue_held_seconds_total", "counter", "Time closed with work behind the gate",
     XSCHED_HSA_QUEUE_VALUE(static_cast<double>(counters.held_us) * kUs)},
    {"xsched_hsa_queue_squeezes_total", "counter", "Times put on fewer compute units",
     XSCHED_HSA_QUEUE_VALUE(counters.squeezes)},
    {"xsched_hsa_queue_suspends_total", "counter", "Times taken off the hardware",
     XSCHED_HSA_QUEUE_VALUE(counters.suspends)},
    {"xsched_hsa_queue_restricted_seconds_total", "counter", "Time squeezed or suspended",
     XSCHED_HSA_QUEUE_VALUE(static_cast<double>(counters.restricted_us) * kUs)},
    {"xsched_hsa_queue_raises_total", "counter", "Times the queue made its GPU urgent",
     XSCHED_HSA_QUEUE_VALUE(counters.raises)},
    {"xsched_hsa_queue_device_seconds_total", "counter",
     "Time with work on the hardware, where somebody needs to know it",
     XSCHED_HSA_QUEUE_VALUE(Bounded(slot.device_us) * kUs)},
};
#undef XSCHED_HSA_QUEUE_VALUE

void AddQueues(const Core& core, std::string* text) {
  for (const QueueMetric& metric : kQueueMetrics) {
    Family family(metric.name, metric.type, metric.help);
    for (const auto& [id, session] : core.sessions()) {
      const std::string process = ProcessLabels(*session);
      for (const auto& [i, queue] : session->queues) {
        const QueueSlot& slot = session->page->queues[i];
        family.Add(process + ",queue=\"" + std::to_string(queue.slot.serial) + "\",gpu=\"" +
                       FormatGpuKey(queue.slot.gpu_key) + "\"",
                   metric.value(*session, queue, slot, CopyCounters(slot)));
      }
    }
    *text += family.text();
  }
}

// Octaves of microseconds are fine enough for a dashboard's percentiles.
void AddHistogram(const LatencyHistogram& histogram, const std::string& labels, Family* family) {
  double counted = 0;
  for (std::uint32_t i = 0; i < kLatencyBuckets; ++i) {
    counted += Bounded(histogram.buckets[i]);
    if ((i + 1) % 8 != 0 || i + 1 == kLatencyBuckets) continue;
    const double bound = static_cast<double>(LatencyBucketFloorUs(i + 1)) * kUs;
    if (bound < 1e-4 || bound > 100) continue;
    family->Add(labels + ",le=\"" + Number(bound) + "\"", counted, "_bucket");
  }
  family->Add(labels + ",le=\"+Inf\"", counted, "_bucket");
  family->Add(labels, Bounded(histogram.sum_us) * kUs, "_sum");
  family->Add(labels, counted, "_count");
}

void AddRequests(const Core& core, std::string* text) {
  Family begun("xsched_hsa_requests_begun_total", "counter", "Requests that programs have marked");
  Family missed("xsched_hsa_requests_missed_total", "counter", "Requests that ended too late");
  Family open("xsched_hsa_requests_open", "gauge", "Requests begun and not ended");
  Family marked("xsched_hsa_request_seconds", "histogram", "Marked requests, begin to end");
  Family bursts("xsched_hsa_burst_seconds", "histogram", "Bursts of work of urgent queues");
  Family cycle("xsched_hsa_runlist_cycle_seconds", "gauge", "A runlist cycle as last measured");
  Family decisions("xsched_hsa_decisions_total", "counter", "Preemptions that a plan chose for");
  for (const auto& [id, session] : core.sessions()) {
    const std::string labels = ProcessLabels(*session);
    const RequestPage& requests = session->page->requests;
    begun.Add(labels, Bounded(requests.begun));
    missed.Add(labels, Bounded(requests.missed));
    open.Add(labels, Bounded(requests.open));
    AddHistogram(requests.marked, labels, &marked);
    AddHistogram(requests.bursts, labels, &bursts);
    cycle.Add(labels, Bounded(session->page->cycle_ns) * 1e-9);
    decisions.Add(labels, static_cast<double>(session->DecisionsMade()));
  }
  for (const Family* family : {&begun, &missed, &open, &marked, &bursts, &cycle, &decisions}) {
    *text += family->text();
  }
}

void AddUrgency(const Core& core, std::string* text) {
  Family level("xsched_hsa_gpu_urgency_level", "gauge",
               "Priority + 1 of the most urgent active queue, 0: none");
  std::set<const UserPage*> seen;
  for (const auto& [id, session] : core.sessions()) {
    if (!seen.insert(session->user_page).second) continue;
    for (const GpuUrgency& gpu : session->user_page->gpus) {
      const GpuKey key = gpu.gpu_key.load(std::memory_order_acquire);
      if (key == 0) break;
      level.Add(
          "gpu=\"" + FormatGpuKey(key) + "\",uid=\"" + std::to_string(session->layer.uid) + "\"",
          LevelOf(gpu.word.load(std::memory_order_relaxed)));
    }
  }
  *text += level.text();
}

void AddController(const Core& core, const ControllerInfo& info, std::string* text) {
  Family build("xsched_hsa_build_info", "gauge", "Always 1");
  build.Add("version=" + Quoted(kVersion) + ",abi=\"" + std::to_string(kAbiVersion) + "\"", 1);
  Family uptime("xsched_hsa_uptime_seconds", "gauge", "Since the controller started");
  uptime.Add("", static_cast<double>(core.clock().NowUs() - info.started_us) * kUs);
  Family sessions("xsched_hsa_sessions", "gauge", "Programs that are connected");
  sessions.Add("", static_cast<double>(core.sessions().size()));
  Family work("xsched_hsa_controller_events_total", "counter", "What the controller has done");
  for (const auto& [kind, count] : Named(core.counters())) {
    work.Add(std::string("kind=\"") + kind + "\"", static_cast<double>(count));
  }
  *text += build.text() + uptime.text() + sessions.text() + work.text();
}

}  // namespace

std::string MetricsText(const Core& core, const ControllerInfo& info) {
  std::string text;
  AddController(core, info, &text);
  AddUrgency(core, &text);
  AddQueues(core, &text);
  AddRequests(core, &text);
  return text;
}

}  // namespace xsched_hsa

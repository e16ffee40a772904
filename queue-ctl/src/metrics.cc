#include "metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <map>
#include <set>

#include "gpu_key.h"
#include "version.h"

namespace xsched_hsa {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;
using Families = std::vector<prometheus::MetricFamily>;
using Labels = std::vector<ClientMetric::Label>;

class Family {
 public:
  Family(const char* name, MetricType type, const char* help) : family_{name, help, type, {}} {}
  void Add(const Labels& labels, double value) {
    ClientMetric& metric = Next(labels);
    metric.counter.value = metric.gauge.value = value;
  }
  void Add(const Labels& labels, const ClientMetric::Histogram& histogram) {
    Next(labels).histogram = histogram;
  }
  void MoveTo(Families* families) { families->push_back(std::move(family_)); }

 private:
  ClientMetric& Next(const Labels& labels) {
    ClientMetric& metric = family_.metric.emplace_back();
    metric.label = labels;
    return metric;
  }
  prometheus::MetricFamily family_;
};

Labels ProcessLabels(const Session& session) {
  return {{"pid", std::to_string(session.layer.pid)},
          {"comm", session.layer.comm},
          {"uid", std::to_string(session.layer.uid)}};
}

struct QueueMetric {
  const char* name;
  MetricType type;
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
    {"xsched_hsa_queue_priority", MetricType::Gauge, "Priority in force, 0 to 15",
     XSCHED_HSA_QUEUE_VALUE(session.EffectivePriority(queue))},
    {"xsched_hsa_queue_active", MetricType::Gauge, "1 while an urgent queue has unfinished work",
     XSCHED_HSA_QUEUE_VALUE(slot.active.load(std::memory_order_relaxed) != 0)},
    {"xsched_hsa_queue_gate_closed", MetricType::Gauge, "1 while the queue publishes nothing",
     XSCHED_HSA_QUEUE_VALUE(slot.gate_closed.load(std::memory_order_relaxed) != 0)},
    {"xsched_hsa_queue_restriction", MetricType::Gauge,
     "0 none, 1 squeezed, 2 suspended, 3 sharing",
     XSCHED_HSA_QUEUE_VALUE(slot.restriction.load(std::memory_order_relaxed))},
    {"xsched_hsa_queue_pending_packets", MetricType::Gauge,
     "Submitted and not yet taken by the device", XSCHED_HSA_QUEUE_VALUE(counters.Pending())},
    {"xsched_hsa_queue_exposed_packets", MetricType::Gauge,
     "Published and not yet taken by the device",
     XSCHED_HSA_QUEUE_VALUE(counters.published > counters.read ? counters.published - counters.read
                                                               : 0)},
    {"xsched_hsa_queue_submitted_packets_total", MetricType::Counter,
     "Packets the program has submitted", XSCHED_HSA_QUEUE_VALUE(counters.submitted)},
    {"xsched_hsa_queue_held_packets_total", MetricType::Counter,
     "Packets a closed gate kept back, each once", XSCHED_HSA_QUEUE_VALUE(counters.packets_held)},
    {"xsched_hsa_queue_preemptions_total", MetricType::Counter, "Times the gate closed on work",
     XSCHED_HSA_QUEUE_VALUE(counters.holds)},
    {"xsched_hsa_queue_held_seconds_total", MetricType::Counter,
     "Time closed with work behind the gate",
     XSCHED_HSA_QUEUE_VALUE(static_cast<double>(counters.held_us) * kUs)},
    {"xsched_hsa_queue_squeezes_total", MetricType::Counter, "Times put on fewer compute units",
     XSCHED_HSA_QUEUE_VALUE(counters.squeezes)},
    {"xsched_hsa_queue_suspends_total", MetricType::Counter, "Times taken off the hardware",
     XSCHED_HSA_QUEUE_VALUE(counters.suspends)},
    {"xsched_hsa_queue_restricted_seconds_total", MetricType::Counter, "Time squeezed or suspended",
     XSCHED_HSA_QUEUE_VALUE(static_cast<double>(counters.restricted_us) * kUs)},
    {"xsched_hsa_queue_raises_total", MetricType::Counter, "Times the queue made its GPU urgent",
     XSCHED_HSA_QUEUE_VALUE(counters.raises)},
    {"xsched_hsa_queue_device_seconds_total", MetricType::Counter,
     "Time with work on the hardware, where somebody needs to know it",
     XSCHED_HSA_QUEUE_VALUE(Bounded(slot.device_us) * kUs)},
};
#undef XSCHED_HSA_QUEUE_VALUE

void AddQueues(const Core& core, Families* families) {
  for (const QueueMetric& metric : kQueueMetrics) {
    Family family(metric.name, metric.type, metric.help);
    for (const auto& [id, session] : core.sessions()) {
      const Labels process = ProcessLabels(*session);
      for (const auto& [i, queue] : session->queues) {
        const QueueSlot& slot = session->page->queues[i];
        Labels labels = process;
        labels.push_back({"queue", std::to_string(queue.slot.serial)});
        labels.push_back({"gpu", FormatGpuKey(queue.slot.gpu_key)});
        family.Add(labels, metric.value(*session, queue, slot, CopyCounters(slot)));
      }
    }
    family.MoveTo(families);
  }
}

// Octaves of microseconds are fine enough for a dashboard's percentiles.
ClientMetric::Histogram Octaves(const LatencyHistogram& latencies) {
  ClientMetric::Histogram histogram;
  for (std::uint32_t i = 0; i < kLatencyBuckets; ++i) {
    histogram.sample_count += static_cast<std::uint64_t>(Bounded(latencies.buckets[i]));
    if ((i + 1) % 8 != 0 || i + 1 == kLatencyBuckets) continue;
    const double bound = static_cast<double>(LatencyBucketFloorUs(i + 1)) * kUs;
    if (bound >= 1e-4 && bound <= 100) histogram.bucket.push_back({histogram.sample_count, bound});
  }
  histogram.bucket.push_back({histogram.sample_count, std::numeric_limits<double>::infinity()});
  histogram.sample_sum = Bounded(latencies.sum_us) * kUs;
  return histogram;
}

void AddRequests(const Core& core, Families* families) {
  Family begun("xsched_hsa_requests_begun_total", MetricType::Counter,
               "Requests that programs have marked");
  Family missed("xsched_hsa_requests_missed_total", MetricType::Counter,
                "Requests that ended too late");
  Family open("xsched_hsa_requests_open", MetricType::Gauge, "Requests begun and not ended");
  Family marked("xsched_hsa_request_seconds", MetricType::Histogram,
                "Marked requests, begin to end");
  Family bursts("xsched_hsa_burst_seconds", MetricType::Histogram,
                "Bursts of work of urgent queues");
  Family cycle("xsched_hsa_runlist_cycle_seconds", MetricType::Gauge,
               "A runlist cycle as last measured");
  Family mask("xsched_hsa_mask_change_seconds", MetricType::Gauge,
              "A change of compute units as last measured");
  Family reaction("xsched_hsa_reaction_seconds", MetricType::Gauge,
                  "From an urgent doorbell to this program's preemptor, lately");
  Family decisions("xsched_hsa_decisions_total", MetricType::Counter,
                   "Preemptions that a plan chose for");
  Family unmanaged("xsched_hsa_queues_passed_through_total", MetricType::Counter,
                   "Queues of the program that are not managed, in all");
  Family faults("xsched_hsa_layer_faults_total", MetricType::Counter,
                "Faults that the layer has found in itself");
  for (const auto& [id, session] : core.sessions()) {
    const Labels labels = ProcessLabels(*session);
    unmanaged.Add(labels, session->page->queues_passed_through.load(std::memory_order_relaxed));
    faults.Add(labels, session->page->faults.load(std::memory_order_relaxed));
    const RequestPage& requests = session->page->requests;
    begun.Add(labels, Bounded(requests.begun));
    missed.Add(labels, Bounded(requests.missed));
    open.Add(labels, Bounded(requests.open));
    marked.Add(labels, Octaves(requests.marked));
    bursts.Add(labels, Octaves(requests.bursts));
    cycle.Add(labels, Bounded(session->page->cycle_ns) * 1e-9);
    mask.Add(labels, Bounded(session->page->mask_ns) * 1e-9);
    reaction.Add(labels, Bounded(session->page->reaction_ns) * 1e-9);
    decisions.Add(labels, static_cast<double>(session->DecisionsMade()));
  }
  for (Family* family : {&begun, &missed, &open, &marked, &bursts, &cycle, &mask, &reaction,
                         &decisions, &unmanaged, &faults}) {
    family->MoveTo(families);
  }
}

void AddUrgency(const Core& core, Families* families) {
  Family level("xsched_hsa_gpu_urgency_level", MetricType::Gauge,
               "Priority + 1 of the most urgent active queue, 0: none");
  std::set<const UserPage*> seen;
  for (const auto& [id, session] : core.sessions()) {
    if (!seen.insert(session->user_page).second) continue;
    for (const GpuUrgency& gpu : session->user_page->gpus) {
      const GpuKey key = gpu.gpu_key.load(std::memory_order_acquire);
      if (key == 0) break;
      level.Add({{"gpu", FormatGpuKey(key)}, {"uid", std::to_string(session->layer.uid)}},
                LevelOf(gpu.word.load(std::memory_order_relaxed)));
    }
  }
  level.MoveTo(families);
}

void AddController(const Core& core, const ControllerInfo& info, Families* families) {
  Family build("xsched_hsa_build_info", MetricType::Gauge, "Always 1");
  build.Add({{"version", kVersion}, {"abi", std::to_string(kAbiVersion)}}, 1);
  Family uptime("xsched_hsa_uptime_seconds", MetricType::Gauge, "Since the controller started");
  uptime.Add({}, static_cast<double>(core.clock().NowUs() - info.started_us) * kUs);
  Family sessions("xsched_hsa_sessions", MetricType::Gauge, "Programs that are connected");
  sessions.Add({}, static_cast<double>(core.sessions().size()));
  Family work("xsched_hsa_controller_events_total", MetricType::Counter,
              "What the controller has done");
  for (const auto& [kind, count] : Named(core.counters())) {
    work.Add({{"kind", kind}}, static_cast<double>(count));
  }
  for (Family* family : {&build, &uptime, &sessions, &work}) family->MoveTo(families);
}

}  // namespace

std::string MetricsText(const Core& core, const ControllerInfo& info) {
  Families families;
  AddController(core, info, &families);
  AddUrgency(core, &families);
  AddQueues(core, &families);
  AddRequests(core, &families);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace xsched_hsa

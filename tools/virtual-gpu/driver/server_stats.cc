// server_stats.cc: the JSON text of `virtual-gpu stats`.

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "kfd_abi.h"
#include "server.h"

namespace virtual_gpu {
namespace {

using Json = nlohmann::ordered_json;

Json CountersJson(const QueueCounters& c) {
  return {{"packets", c.packets.load()},
          {"dispatches", c.dispatches.load()},
          {"barriers", c.barriers.load()},
          {"vendor", c.vendor.load()},
          {"completed", c.completed.load()},
          {"workgroups", c.workgroups.load()},
          {"work_kernels", c.work_kernels.load()},
          {"blit_kernels", c.blit_kernels.load()},
          {"opaque_kernels", c.opaque_kernels.load()},
          {"interpreted_kernels", c.interpreted_kernels.load()},
          {"instructions", c.instructions.load()},
          {"order_errors", c.order_errors.load()}};
}

// "XCC.SE.CU", separated by blanks.
std::string CusText(const std::vector<CuLocation>& cus) {
  std::string text;
  for (const CuLocation& cu : cus) {
    if (!text.empty()) text += ' ';
    text += std::to_string(cu.xcc) + '.' + std::to_string(cu.se) + '.' + std::to_string(cu.cu);
  }
  return text;
}

Json QueueJson(const KfdQueue& queue, Gpu* on, bool with_cus) {
  const Gpu& gpu = *on;
  Json json = {{"id", queue.id},
               {"gpu", queue.gpu_index},
               {"type", queue.aql == nullptr               ? "sdma"
                        : queue.type == kfd::kQueueCompute ? "pm4"
                                                           : "aql"},
               {"priority", queue.priority},
               {"percentage", queue.percentage},
               {"active", queue.Active()}};
  if (queue.sdma != nullptr) {
    json["packets"] = queue.sdma->packets();
    json["copied_bytes"] = queue.sdma->copied_bytes();
    return json;
  }
  json.update(CountersJson(queue.aql->counters()));
  QueueStats stats;
  if (gpu.QueueStatsOf(*queue.aql, &stats)) {
    json["pipe"] = stats.pipe;
    json["slot"] = stats.slot;
    json["mapped"] = stats.mapped;
    json["resident_workgroups"] = stats.resident_workgroups;
    json["cu_ns"] = stats.cu_ns;
    if (with_cus) json["cus"] = CusText(on->ResidentCus(*queue.aql));
  }
  return json;
}

Json GpuJson(const Gpu& gpu) {
  const GpuStats s = gpu.Stats();
  const GpuModel& m = gpu.model();
  return {{"index", gpu.index()},
          {"gpu_id", gpu.gpu_id()},
          {"profile", m.profile},
          {"name", m.part.marketing_name},
          {"shown_as", GfxName(m.gfx_target_version)},
          {"cus", m.part.CuCount()},
          {"xccs", m.part.params.xccs},
          {"queues", s.queues},
          {"runlist_cycles", s.device.runlist_cycles},
          {"saved_waves", s.device.saved_waves},
          {"saved_bytes", s.device.saved_bytes},
          {"events", s.device.events},
          {"now_ns", s.device.now},
          {"vram_used_bytes", gpu.vram_used},
          {"lag",
           {{"events", s.lag_events},
            {"p50_us", static_cast<double>(s.lag_p50_ns) / 1000},
            {"p99_us", static_cast<double>(s.lag_p99_ns) / 1000},
            {"max_us", static_cast<double>(s.lag_max_ns) / 1000}}},
          {"wakeups", s.wakeups},
          {"cpu_ms", static_cast<double>(s.cpu_ns) / 1e6},
          {"longest_step_us", static_cast<double>(s.longest_step_ns) / 1000}};
}

}  // namespace

std::string Server::StatsJson(bool with_cus) const {
  Json json = {{"simulated", true},
               {"daemon_pid", getpid()},
               {"profile", options_.model.profile},
               {"time_scale", options_.time_scale},
               {"clock",
                {{"running_ms", static_cast<double>(clock_.Now()) * clock_.scale() / 1e6},
                 {"stood_ms", static_cast<double>(clock_.stood_ns()) / 1e6},
                 {"stops", clock_.stops()}}},
               {"processes_seen", processes_seen_},
               {"timers", timers_.size()},
               {"lost_events", driver_->faults().Taken(FaultKind::kLostEvent)}};
  json["gpus"] = Json::array();
  for (const auto& gpu : gpus_) json["gpus"].push_back(GpuJson(*gpu));
  json["processes"] = Json::array();
  for (const auto& [name, process] : processes_) {
    Json entry = {{"pid", process->pid},
                  {"command", process->command},
                  {"allocations", process->memory.Count()},
                  {"events", process->events.Count()},
                  {"events_raised", process->events.raised()}};
    entry["queues"] = Json::array();
    for (const auto& [id, queue] : process->queues) {
      entry["queues"].push_back(QueueJson(*queue, gpus_[queue->gpu_index].get(), with_cus));
    }
    json["processes"].push_back(std::move(entry));
  }
  // A program's name may be any bytes.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace virtual_gpu

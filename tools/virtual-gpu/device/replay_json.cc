// replay_json.cc: the replay's input and output as JSON.

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "profiles.h"
#include "replay.h"

namespace virtual_gpu {
namespace {

using nlohmann::json;

[[noreturn]] void Fail(const std::string& what) { throw std::runtime_error(what); }

void SetParam(DeviceParams* p, const std::string& key, const json& value) {
  const auto set = [&](auto* field) {
    *field = value.get<std::remove_pointer_t<decltype(field)>>();
  };
  const std::map<std::string, std::function<void()>> fields = {
      {"xccs", [&] { set(&p->xccs); }},
      {"ses_per_xcc", [&] { set(&p->ses_per_xcc); }},
      {"cus_per_se", [&] { set(&p->cus_per_se); }},
      {"simds_per_cu", [&] { set(&p->simds_per_cu); }},
      {"waves_per_simd", [&] { set(&p->waves_per_simd); }},
      {"vgprs_per_simd", [&] { set(&p->vgprs_per_simd); }},
      {"vgpr_granule", [&] { set(&p->vgpr_granule); }},
      {"lds_bytes_per_cu", [&] { set(&p->lds_bytes_per_cu); }},
      {"workgroups_per_cu", [&] { set(&p->workgroups_per_cu); }},
      {"pipes", [&] { set(&p->pipes); }},
      {"hqd_slots_per_pipe", [&] { set(&p->hqd_slots_per_pipe); }},
      {"processes_max", [&] { set(&p->processes_max); }},
      {"hqd_quantum_ns", [&] { set(&p->hqd_quantum_ns); }},
      {"runlist_quantum_ns", [&] { set(&p->runlist_quantum_ns); }},
      {"packet_launch_ns", [&] { set(&p->packet_launch_ns); }},
      {"packet_other_ns", [&] { set(&p->packet_other_ns); }},
      {"pipe_priority_effective", [&] { set(&p->pipe_priority_effective); }},
      {"hardware_scheduler", [&] { set(&p->hardware_scheduler); }},
      {"cwsr", [&] { set(&p->cwsr); }},
      {"workgroup_spread", [&] { set(&p->workgroup_spread); }},
      {"grain_ns", [&] { set(&p->grain_ns); }},
      {"contended_ends", [&] { set(&p->contended_ends); }},
      {"calm_ns", [&] { set(&p->calm_ns); }},
      {"runlist_cycle_ns", [&] { set(&p->runlist_cycle_ns); }},
      {"cwsr_bytes_per_ns", [&] { set(&p->cwsr_bytes_per_ns); }},
      {"preempt_timeout_ns", [&] { set(&p->preempt_timeout_ns); }},
      {"seed", [&] { set(&p->seed); }},
  };
  const auto field = fields.find(key);
  if (field == fields.end()) {
    std::string known;
    for (const auto& [name, unused] : fields) known += " " + name;
    Fail("params: unknown name '" + key + "'; known are" + known);
  }
  field->second();
}

KernelCost ParseKernel(const json& j) {
  KernelCost cost;
  cost.workgroups = j.at("workgroups");
  cost.waves = j.value("waves", cost.waves);
  cost.vgprs = j.value("vgprs", cost.vgprs);
  cost.lds_bytes = j.value("lds_bytes", cost.lds_bytes);
  cost.workgroup_ns = j.at("workgroup_ns").get<TimeNs>();
  return cost;
}

ReplayQueue ParseQueue(const json& j, std::size_t index) {
  ReplayQueue queue;
  queue.name = j.value("name", "queue" + std::to_string(index));
  queue.config.process = j.value("process", index);
  queue.config.priority = j.value("priority", 7u);
  if (queue.config.priority > 15) Fail(queue.name + ": priority must be 0..15");
  const json mask = j.value("cu_mask", json::array());
  for (const json& word : mask) {
    queue.cu_mask.push_back(word.is_string() ? static_cast<std::uint32_t>(
                                                   std::stoul(word.get<std::string>(), nullptr, 0))
                                             : word.get<std::uint32_t>());
  }
  for (const json& kernel : j.at("kernels")) queue.kernels.push_back(ParseKernel(kernel));
  if (queue.kernels.empty()) Fail(queue.name + ": no kernels; give at least one");
  queue.repeat = j.value("repeat", std::uint64_t{0});
  const json arrival = j.value("arrival", json("closed"));
  if (arrival.is_object()) {
    queue.period_ns = arrival.at("period_ns").get<TimeNs>();
  } else if (arrival != "closed") {
    Fail(queue.name + ": arrival must be \"closed\" or {\"period_ns\": N}");
  }
  queue.launch_gap_ns = j.value("launch_gap_ns", TimeNs{0});
  queue.start_ns = j.value("start_ns", TimeNs{0});
  return queue;
}

}  // namespace

ReplayInput ParseReplay(const json& j) {
  try {
    ReplayInput input;
    const std::string name = j.value("profile", "mi308x");
    const DeviceProfile* profile = FindProfile(name);
    if (profile == nullptr) {
      std::string known;
      for (const std::string& other : ProfileNames()) known += " " + other;
      Fail("unknown profile '" + name + "'; known are" + known);
    }
    input.params = profile->params;
    const json params = j.value("params", json::object());
    for (const auto& [key, value] : params.items()) {
      SetParam(&input.params, key, value);
    }
    for (const json& queue : j.at("queues")) {
      input.queues.push_back(ParseQueue(queue, input.queues.size()));
    }
    const double seconds = j.value("seconds", 1.0);
    if (!(seconds > 0)) Fail("seconds must be above 0");
    input.duration_ns = static_cast<TimeNs>(seconds * 1e9);
    return input;
  } catch (const json::exception& error) {
    Fail(std::string("replay file: ") + error.what());
  }
}

json ToJson(const ReplayResult& result) {
  json queues = json::array();
  const auto ms = [](TimeNs ns) { return static_cast<double>(ns) / 1e6; };
  for (const ReplayQueueResult& queue : result.queues) {
    queues.push_back({{"name", queue.name},
                      {"repeats", queue.latencies_ns.size()},
                      {"repeats_per_s", queue.repeats_per_s},
                      {"p50_ms", ms(Percentile(queue.latencies_ns, 50))},
                      {"p95_ms", ms(Percentile(queue.latencies_ns, 95))},
                      {"p99_ms", ms(Percentile(queue.latencies_ns, 99))},
                      {"max_ms", ms(Percentile(queue.latencies_ns, 100))},
                      {"packets", queue.stats.packets},
                      {"workgroups", queue.stats.workgroups},
                      {"cu_ms", ms(queue.stats.cu_ns)},
                      {"pipe", queue.stats.pipe}});
  }
  return {{"simulated", true},
          {"seconds", static_cast<double>(result.duration_ns) / 1e9},
          {"events", result.device.events},
          {"runlist_cycles", result.device.runlist_cycles},
          {"queues", queues}};
}

}  // namespace virtual_gpu

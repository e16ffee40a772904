// replay_json.cc: the replay's input and output as JSON.

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "param_table.h"
#include "profiles.h"
#include "replay.h"

namespace virtual_gpu {
namespace {

using nlohmann::json;

constexpr std::uint64_t kStretchesMax = 100'000;

[[noreturn]] void Fail(const std::string& what) { throw std::runtime_error(what); }

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
    const auto stretches = j.value("stretches", std::uint64_t{1});
    if (stretches < 1 || stretches > kStretchesMax) {
      Fail("stretches must be 1.." + std::to_string(kStretchesMax));
    }
    input.stretches = static_cast<std::uint32_t>(stretches);
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
  json whole = {{"simulated", true},
                {"seconds", static_cast<double>(result.duration_ns) / 1e9},
                {"events", result.device.events},
                {"runlist_cycles", result.device.runlist_cycles},
                {"queues", queues}};
  if (result.stretches > 1) whole["stretches"] = result.stretches;
  return whole;
}

}  // namespace virtual_gpu

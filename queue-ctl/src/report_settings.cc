// report_settings.cc: policies, devices and the configuration as JSON.
#include <algorithm>

#include "gpu_key.h"
#include "report.h"

namespace xsched_hsa {

using nlohmann::json;

namespace {

json PolicyJson(const std::string& gpu, const PolicySetting& setting) {
  json parameters = json::object();
  for (const ParamInfo& param : ListParams()) {
    const auto& own = FindPolicy(setting.name)->params;
    if (std::find(own.begin(), own.end(), param.name) == own.end()) continue;
    parameters[std::string(param.name)] = GetParam(setting.params, param);
  }
  return {{"gpu", gpu}, {"policy", setting.name}, {"parameters", std::move(parameters)}};
}

json AvailableJson(const PolicyInfo& info) {
  json parameters = json::array();
  for (const ParamInfo& param : ListParams()) {
    if (std::find(info.params.begin(), info.params.end(), param.name) == info.params.end())
      continue;
    const std::string name(param.name);
    const std::size_t last = name.rfind('_');
    const std::string ending = last != std::string::npos ? name.substr(last + 1) : name;
    const bool has_unit = ending == "ms" || ending == "us" || ending == "percent";
    parameters.push_back({{"name", name},
                          {"unit", has_unit ? json(ending) : json()},
                          {"default", GetParam(PolicyParams{}, param)},
                          {"minimum", param.minimum},
                          {"maximum", param.maximum},
                          {"summary", std::string(param.summary)}});
  }
  return {{"name", std::string(info.name)},
          {"summary", std::string(info.summary)},
          {"parameters", std::move(parameters)}};
}

template <typename T>
json OrNull(const std::optional<T>& value) {
  return value ? json(*value) : json();
}

}  // namespace

json ReportPolicies(const Core& core) {
  json policies = json::array({PolicyJson("*", core.default_policy())});
  for (const auto& [gpu, setting] : core.gpu_policies()) {
    policies.push_back(PolicyJson(FormatGpuKey(gpu), setting));
  }
  json available = json::array();
  for (const PolicyInfo& info : ListPolicies()) available.push_back(AvailableJson(info));
  return {{"ok", true}, {"policies", std::move(policies)}, {"available", std::move(available)}};
}

json ReportDevices(const Core& core, const std::vector<Device>& devices) {
  json list = json::array();
  for (const Device& d : devices) {
    json render_node;
    if (d.render_minor) render_node = "/dev/dri/renderD" + std::to_string(*d.render_minor);
    list.push_back({{"gpu", FormatGpuKey(d.gpu)},
                    {"node", d.node},
                    {"gpu_id", d.gpu_id},
                    {"name", d.name},
                    {"gfx", d.gfx},
                    {"compute_units", d.compute_units},
                    {"xcc", d.xcc},
                    {"shader_engines", d.shader_engines},
                    {"shader_arrays", d.shader_arrays},
                    {"cus_per_array", d.cus_per_array},
                    {"simd_per_cu", d.simd_per_cu},
                    {"waves_per_simd", d.waves_per_simd},
                    {"lds_kb", d.lds_kb},
                    {"clock_mhz", d.clock_mhz},
                    {"memory_mb", d.memory_mb},
                    {"memory_clock_mhz", OrNull(d.memory_clock_mhz)},
                    {"render_node", render_node},
                    {"compute_partition", OrNull(d.compute_partition)},
                    {"memory_partition", OrNull(d.memory_partition)},
                    {"cwsr_enable", OrNull(d.cwsr_enable)},
                    {"sched_policy", OrNull(d.sched_policy)},
                    {"queues_max", d.queues_max},
                    {"policy", core.PolicyOf(d.gpu).name}});
  }
  return {{"ok", true}, {"devices", std::move(list)}};
}

json ReportConfig(const Config& config) {
  json rules = json::array();
  for (const Rule& rule : config.rules) {
    json entry = {{"name", rule.name}, {"where", rule.where}};
    for (const auto& [key, pattern] :
         {std::pair{"exe", rule.exe}, std::pair{"user", rule.user}, std::pair{"group", rule.group},
          std::pair{"cgroup", rule.cgroup}, std::pair{"tag", rule.tag},
          std::pair{"command", rule.command}}) {
      if (pattern) entry[key] = *pattern;
    }
    rules.push_back(std::move(entry));
  }
  json allowed = json::array();
  if (config.mechanisms.squeeze) allowed.push_back("squeeze");
  if (config.mechanisms.suspend) allowed.push_back("suspend");
  if (config.mechanisms.priority) allowed.push_back("priority");
  if (config.mechanisms.share) allowed.push_back("share");
  json gpus = json::object();
  for (const auto& [gpu, choice] : config.gpu_policies) {
    gpus[FormatGpuKey(gpu)] = {{"name", choice.name}, {"parameters", choice.params}};
  }
  return {{"policy", {{"name", config.policy.name}, {"parameters", config.policy.params}}},
          {"gpu", std::move(gpus)},
          {"mechanisms",
           {{"allow", std::move(allowed)},
            {"delay_budget_percent", config.mechanisms.delay_budget_percent},
            {"squeeze_units", config.mechanisms.squeeze_units}}},
          {"controller", {{"cross_user", config.cross_user}, {"log_level", config.log_level}}},
          {"metrics", {{"listen", config.metrics_listen}}},
          {"rules", std::move(rules)}};
}

}  // namespace xsched_hsa

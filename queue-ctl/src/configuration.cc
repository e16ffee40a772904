#include "configuration.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "gpu_key.h"
#include "program_facts.h"

namespace xsched_hsa {

LoadedConfig Configuration::ReadAll() const {
  LoadedConfig loaded = LoadConfig(file_);
  if (!loaded.errors.empty()) return loaded;
  std::string error = overrides_ ? overrides_(&loaded.config) : std::string();
  const Config& config = loaded.config;
  if (error.empty()) ResolvePolicy(config.policy, config.mechanisms, &error);
  for (const auto& [gpu, choice] : config.gpu_policies) {
    if (error.empty()) ResolvePolicy(choice, config.mechanisms, &error);
  }
  if (!error.empty()) loaded.errors.push_back(error);
  return loaded;
}

std::vector<std::string> Configuration::Load() {
  LoadedConfig loaded = ReadAll();
  if (loaded.errors.empty()) config_ = std::move(loaded.config);
  return loaded.errors;
}

std::vector<std::string> Configuration::Check() const { return ReadAll().errors; }

std::vector<std::string> Configuration::Reload(Core* core) {
  std::vector<std::string> errors = Load();
  if (errors.empty()) Apply(core);
  return errors;
}

// One file may be for several machines: a line, not a mistake.
void Configuration::WarnOfGpusThatAreNotThere(const std::vector<Device>& devices) const {
  if (devices.empty()) return;  // nobody knows
  for (const auto& [gpu, choice] : config_.gpu_policies) {
    const GpuKey key = gpu;
    const bool is_there = std::any_of(devices.begin(), devices.end(),
                                      [key](const Device& device) { return device.gpu == key; });
    if (!is_there) {
      spdlog::warn(
          "policy {} is for GPU {}, which is not there; 'xsched-hsa-ctl devices' shows those that "
          "are",
          choice.name, FormatGpuKey(gpu));
    }
  }
}

void Configuration::Apply(Core* core) {
  std::string ignored;  // checked when it was loaded
  std::map<GpuKey, PolicySetting> for_gpus;
  for (const auto& [gpu, choice] : config_.gpu_policies) {
    for_gpus[gpu] = ResolvePolicy(choice, config_.mechanisms, &ignored);
  }
  WarnOfGpusThatAreNotThere(RefreshDevices(core));
  core->SetCrossUser(config_.cross_user);
  core->SetPolicies(ResolvePolicy(config_.policy, config_.mechanisms, &ignored), for_gpus);
  spdlog::set_level(spdlog::level::from_str(config_.log_level));
  std::vector<std::uint32_t> sessions;
  for (const auto& [id, session] : core->sessions()) sessions.push_back(id);
  for (const std::uint32_t id : sessions) {
    const Rule* const rule = Classify(core, id);
    if (rule != nullptr) LogRule(id, core->sessions().at(id)->layer, *rule);
  }
}

const Rule* Configuration::Classify(Core* core, std::uint32_t id) const {
  const auto it = core->sessions().find(id);
  if (it == core->sessions().end()) return nullptr;
  const LayerInfo& layer = it->second->layer;
  // A process has one class for its life as far as its start decides it; nice values and control
  // groups may change, so all is read anew.
  ProgramFacts facts = ReadProgramFacts("", layer.pid);
  // The pid may be another program's by now, of another user: whoever has the socket has got it from the one that
  // connected, and that one has gone. What was known of it stays.
  if (!facts.uids.empty() &&
      std::find(facts.uids.begin(), facts.uids.end(), layer.uid) == facts.uids.end()) {
    facts = it->second->facts;
  }
  std::vector<std::uint32_t> gids = facts.gids;
  if (gids.empty()) gids.push_back(layer.gid);
  const Rule* rule =
      MatchRule(config_.rules, facts, ReadIdentity(layer.uid, gids, NamedIn(config_.rules)));
  core->Classify(id, facts, rule != nullptr ? rule->name : std::string(),
                 rule != nullptr ? ClassOf(*rule, facts) : ProgramClass{});
  return rule;
}

void LogRule(std::uint32_t session, const LayerInfo& layer, const Rule& rule) {
  spdlog::info("pid {} ({}), session {}: rule {} ({}) counts", layer.pid, layer.comm, session,
               rule.name, rule.where);
}

const std::vector<Device>& Configuration::RefreshDevices(Core* core) {
  devices_ = ListDevices("");
  for (const Device& device : devices_) {
    core->SetDeviceShape(device.gpu, {device.compute_units, device.shader_arrays});
  }
  return devices_;
}

}  // namespace xsched_hsa

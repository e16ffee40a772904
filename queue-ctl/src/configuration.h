// configuration.h: the configuration in force, and exchanging it while programs run.
//
// Why        Requests, signals and the start all end here: a new configuration is taken whole or not
//            at all, and what the command line says always wins over files.
// Threads    the controller's thread.
// Errors     Reload returns the mistakes and leaves everything as it was.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config.h"
#include "core.h"
#include "devices.h"

namespace xsched_hsa {

// One line: which rule a program has matched.
void LogRule(std::uint32_t session, const LayerInfo& layer, const Rule& rule);

class Configuration {
 public:
  // Changes a Config that came from files as the command line wants it; a text: what is wrong.
  using Overrides = std::function<std::string(Config*)>;

  Configuration(std::string file, Overrides overrides)
      : file_(std::move(file)), overrides_(std::move(overrides)) {}

  // Reads what there is; puts it in force with Apply if there are no mistakes.
  std::vector<std::string> Load();
  // Load, and on success Apply.
  std::vector<std::string> Reload(Core* core);
  void Apply(Core* core);
  // What Load would say now.
  std::vector<std::string> Check() const;

  // Reads the program's facts and gives it the class of the first rule that matches; which one, or null.
  const Rule* Classify(Core* core, std::uint32_t session) const;

  // The devices there are now, and their shapes into the core.
  const std::vector<Device>& RefreshDevices(Core* core);

  const Config& config() const { return config_; }

 private:
  LoadedConfig ReadAll() const;
  void WarnOfGpusThatAreNotThere(const std::vector<Device>& devices) const;

  const std::string file_;
  const Overrides overrides_;
  Config config_;
  std::vector<Device> devices_;
};

}  // namespace xsched_hsa

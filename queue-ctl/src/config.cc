#include "config.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <numeric>

namespace xsched_hsa {
namespace {

// Name order, as run-parts does.
std::vector<std::string> DropIns(const std::string& file) {
  const std::size_t slash = file.rfind('/');
  const std::string directory =
      (slash == std::string::npos ? std::string() : file.substr(0, slash + 1)) + "config.d";
  std::vector<std::string> files;
  DIR* const listing = opendir(directory.c_str());
  if (listing == nullptr) return files;
  while (const dirent* entry = readdir(listing)) {
    const std::string name = entry->d_name;
    if (name.size() > 5 && name[0] != '.' && name.ends_with(".toml")) {
      std::string path = directory;
      files.push_back(path.append("/").append(name));
    }
  }
  closedir(listing);
  std::sort(files.begin(), files.end());
  return files;
}

std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<std::string> Nearest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
  std::optional<std::string> nearest;
  std::size_t best = word.size() / 3 + 2;  // further away is another word
  for (const std::string& candidate : candidates) {
    const std::size_t distance = EditDistance(word, candidate);
    if (distance >= best) continue;
    best = distance;
    nearest = candidate;
  }
  return nearest;
}

PolicySetting ResolvePolicy(const PolicyChoice& choice, const AllowedMechanisms& mechanisms,
                            std::string* error) {
  PolicySetting setting;
  setting.name = choice.name;
  if (FindPolicy(choice.name) == nullptr) {
    *error = "there is no policy '" + choice.name + "'; there are: " + PolicyNames();
    return setting;
  }
  for (const auto& [name, value] : choice.params) {
    *error = SetParam(&setting.params, choice.name, name, value);
    if (!error->empty()) return setting;
  }
  setting.params.hardware_priority = mechanisms.priority;
  setting.params.preemption = {.squeeze = mechanisms.squeeze,
                               .suspend = mechanisms.suspend,
                               .share = mechanisms.share,
                               .delay_budget_permille = static_cast<std::uint32_t>(
                                   std::lround(mechanisms.delay_budget_percent * 10)),
                               .squeeze_units = mechanisms.squeeze_units};
  return setting;
}

LoadedConfig LoadConfig(const std::string& file) {
  LoadedConfig loaded;
  const std::string main_file = file.empty() ? kDefaultConfigFile : file;
  std::vector<std::string> files;
  if (access(main_file.c_str(), F_OK) == 0) {
    files.push_back(main_file);
  } else if (!file.empty()) {
    loaded.errors.push_back(file + ": " + std::strerror(errno) + "; give another --config");
    return loaded;
  }
  for (std::string& more : DropIns(main_file)) files.push_back(std::move(more));
  for (const std::string& each : files) {
    ReadConfigFile(each, &loaded.config, &loaded.errors);
  }
  loaded.config.files = std::move(files);
  return loaded;
}

std::vector<ConfigKey> ConfigKeys() {
  std::vector<ConfigKey> keys = {
      {"controller", "cross_user", "true or false", "programs of different users compete"},
      {"controller", "log_level", "text", "trace, debug, info, warn, error or off"},
      {"mechanisms", "allow", "list of text",
       "what may be done besides holding: any of squeeze, suspend, priority, share"},
      {"mechanisms", "delay_budget_percent", "number",
       "what an urgent request may lose to a preemption, of its length"},
      {"mechanisms", "squeeze_units", "number",
       "compute units that a squeezed queue keeps; 0: chosen at each request"},
      {"metrics", "listen", "text",
       "where metrics are served: \"unix:/path\" or \"127.0.0.1:port\"; empty: nowhere"},
  };
  for (const std::string table : {"policy", "gpu.ADDRESS.policy"}) {
    keys.push_back({table, "name", "text", PolicyNames()});
    for (const ParamInfo& param : ListParams()) {
      keys.push_back({table, std::string(param.name), "number", std::string(param.summary)});
    }
  }
  for (const auto& [name, summary] : {
           std::pair{"name", "what list and show call it"},
           std::pair{"exe", "pattern for the executable's path"},
           std::pair{"user", "pattern for the user's name, or the uid"},
           std::pair{"group", "pattern for a group of the process, or its gid"},
           std::pair{"cgroup", "pattern for the control group's path: a container, pod or unit"},
           std::pair{"tag", "pattern for XSCHED_HSA_TAG in the program's environment"},
           std::pair{"command", "pattern for the arguments, separated by blanks"},
       }) {
    keys.push_back({"rule", name, "text", summary});
  }
  keys.push_back({"rule", "priority", "text or number",
                  "low, normal, high, 0 to 15, or nice: from the process's nice value"});
  for (const auto& [name, summary] : {
           std::pair{"weight", "share among programs of one priority, 1 to 10000; 100 by default"},
           std::pair{"cap_percent", "of a GPU's time at most, 1 to 100"},
           std::pair{"share_percent", "of the compute units, 1 to 100 (policy cu-partition)"},
           std::pair{"deadline_ms", "of each request or burst of work, from its begin"},
           std::pair{"latency_target_ms", "the P99 to keep (policy latency-target)"},
       }) {
    keys.push_back({"rule", name, "number", summary});
  }
  return keys;
}

}  // namespace xsched_hsa

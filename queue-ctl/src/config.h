// config.h: what an administrator configures, read, checked and merged.
//
// Why        One value that the rest uses; where it came from (a main file, drop-ins beside it, the
//            command line) is settled here. toml++ is seen by config_toml.cc only.
// Threads    pure but for reading files.
// Errors     LoadConfig collects every mistake, each as "file:line: what is wrong; what to do"; a
//            configuration with a mistake is not used at all.
// See        docs/configuration.md, which a test compares with ConfigKeys().
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core.h"

namespace xsched_hsa {

inline constexpr char kDefaultConfigFile[] = "/etc/xsched-hsa/config.toml";

// Gives programs their class. All patterns that are there must match; none: it matches all.
struct Rule {
  std::string name;
  // Shell patterns; exe, user, group and cgroup are the kernel's word, tag and command the program's.
  std::optional<std::string> exe, user, group, cgroup, tag, command;
  ProgramClass program_class;
  bool priority_from_nice = false;
  std::string where;  // file:line
};

struct AllowedMechanisms {
  bool squeeze = true, suspend = true, priority = true, share = true;
  double delay_budget_percent = 8;
  std::uint32_t squeeze_units = 0;
};

// A policy by name with those of its parameters that are not at their default.
struct PolicyChoice {
  std::string name = "strict-priority";
  std::map<std::string, double, std::less<>> params;
};

struct Config {
  PolicyChoice policy;
  std::map<GpuKey, PolicyChoice> gpu_policies;
  AllowedMechanisms mechanisms;
  bool cross_user = false;
  std::string log_level = "info";
  std::string metrics_listen;      // "unix:/path" or "127.0.0.1:port"; empty: no endpoint
  std::vector<Rule> rules;         // in order
  std::vector<std::string> files;  // that it was read from
};

// With the mechanisms in it, as the core wants it. *error: what is wrong; the result is void then.
PolicySetting ResolvePolicy(const PolicyChoice& choice, const AllowedMechanisms& mechanisms,
                            std::string* error);

struct LoadedConfig {
  Config config;
  std::vector<std::string> errors;  // empty: config is good
};

// `file`: empty for kDefaultConfigFile, which need not be there. Drop-ins: config.d/*.toml in the same
// directory, in the order of their names; what comes later counts, and rules are put after those
// before.
LoadedConfig LoadConfig(const std::string& file);

struct ConfigKey {
  std::string table;  // "policy", "gpu.ADDRESS.policy", "rule" ...
  std::string name;
  std::string type;  // "text", "number", "true or false", "list of text"
  std::string summary;
};
std::vector<ConfigKey> ConfigKeys();

// The candidate nearest to `word`, if it is near enough to have been meant.
std::optional<std::string> Nearest(std::string_view word,
                                   const std::vector<std::string>& candidates);

// config_toml.cc: adds one file's values to *config.
void ReadConfigFile(const std::string& file, Config* config, std::vector<std::string>* errors);

}  // namespace xsched_hsa

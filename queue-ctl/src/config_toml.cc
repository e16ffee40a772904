// config_toml.cc: one TOML file into a Config. The only place that knows toml++, which is slow to
// compile.
#define TOML_ENABLE_FORMATTERS 0
// Of Debian's 3.3.0 some assertions do not hold for some mistakes in a file; the code behind them reports those.
#define TOML_ASSERT(expr) static_cast<void>(0)
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "config.h"
#include "gpu_key.h"

namespace xsched_hsa {
namespace {

class Reader {
 public:
  Reader(const std::string& file, Config* config, std::vector<std::string>* errors)
      : file_(file), config_(config), errors_(errors) {}

  void Read(const toml::table& root) {
    for (const auto& [key, node] : root) {
      const std::string name(key.str());
      if (name == "rule") {
        Rules(node);
      } else if (name == "gpu") {
        Gpus(node);
      } else if (name == "policy") {
        if (const toml::table* table = Table(name, node)) Policy(*table, &config_->policy);
      } else if (name == "controller" || name == "mechanisms" || name == "metrics") {
        if (const toml::table* table = Table(name, node)) Simple(name, *table);
      } else {
        Unknown(key, "", {"controller", "policy", "gpu", "mechanisms", "metrics", "rule"});
      }
    }
  }

 private:
  void Fail(const toml::source_region& at, const std::string& text) {
    errors_->push_back(file_ + ":" + std::to_string(at.begin.line) + ": " + text);
  }
  void Fail(const toml::node& node, const std::string& text) { Fail(node.source(), text); }

  void Unknown(const toml::key& key, const std::string& table,
               const std::vector<std::string>& known) {
    std::string text = "unknown key '" + std::string(key.str()) + "'";
    if (!table.empty()) text += " in [" + table + "]";
    if (const auto nearest = Nearest(key.str(), known)) {
      text += "; did you mean '" + *nearest + "'?";
    } else {
      text += "; there are:";
      for (const std::string& name : known) text += " " + name;
    }
    Fail(key.source(), text);
  }

  static std::vector<std::string> KnownIn(const std::string& table) {
    std::vector<std::string> names;
    for (const ConfigKey& key : ConfigKeys()) {
      if (key.table == table) names.push_back(key.name);
    }
    return names;
  }
  static bool IsKnown(const std::string& table, std::string_view name) {
    const auto known = KnownIn(table);
    return std::find(known.begin(), known.end(), name) != known.end();
  }

  const toml::table* Table(const std::string& name, const toml::node& node) {
    if (!node.is_table()) Fail(node, "'" + name + "' must be a table: [" + name + "]");
    return node.as_table();
  }

  bool Text(const toml::key& key, const toml::node& node, std::string* text) {
    if (const auto value = node.value_exact<std::string>()) {
      *text = *value;
      return true;
    }
    Fail(node, "'" + std::string(key.str()) + "' must be text in quotes");
    return false;
  }

  // A number within the bounds, not a text or a truth.
  bool Number(const toml::key& key, const toml::node& node, double minimum, double maximum,
              double* number) {
    std::optional<double> value;
    if (const auto* integer = node.as_integer()) value = static_cast<double>(integer->get());
    if (const auto* real = node.as_floating_point()) value = real->get();
    if (value && std::isfinite(*value) && *value >= minimum && *value <= maximum) {
      *number = *value;
      return true;
    }
    char bounds[80];
    std::snprintf(bounds, sizeof bounds, "' must be a number from %.10g to %.10g", minimum,
                  maximum);
    Fail(node, "'" + std::string(key.str()) + bounds);
    return false;
  }

  bool Whole(const toml::key& key, const toml::node& node, double minimum, double maximum,
             std::uint32_t* number) {
    double value = 0;
    if (!Number(key, node, minimum, maximum, &value)) return false;
    if (value != std::floor(value)) {
      Fail(node, "'" + std::string(key.str()) + "' must be a whole number");
      return false;
    }
    *number = static_cast<std::uint32_t>(value);
    return true;
  }

  void Policy(const toml::table& table, PolicyChoice* choice) {
    // Another policy's parameters don't go with this one.
    if (const auto* name = table.get("name")) {
      std::string text;
      if (Text(toml::key("name"), *name, &text)) {
        if (FindPolicy(text) == nullptr) {
          std::vector<std::string> names;
          for (const PolicyInfo& info : ListPolicies()) names.emplace_back(info.name);
          const auto nearest = Nearest(text, names);
          Fail(*name,
               "there is no policy '" + text + "'; " +
                   (nearest ? "did you mean '" + *nearest + "'?" : "there are: " + PolicyNames()));
          return;
        }
        if (choice->name != text) choice->params.clear();
        choice->name = text;
      }
    }
    for (const auto& [key, node] : table) {
      if (key.str() == "name") continue;
      if (!IsKnown("policy", key.str())) {
        Unknown(key, "policy", KnownIn("policy"));
        continue;
      }
      double value = 0;
      if (!Number(key, node, -1e12, 1e12, &value)) continue;
      PolicyParams ignored;
      const std::string error = SetParam(&ignored, choice->name, key.str(), value);
      if (!error.empty()) {
        Fail(node, error);
      } else {
        choice->params[std::string(key.str())] = value;
      }
    }
  }

  void Gpus(const toml::node& node) {
    const toml::table* gpus = Table("gpu", node);
    if (gpus == nullptr) return;
    for (const auto& [key, value] : *gpus) {
      const auto gpu = ParseGpuKey(std::string(key.str()));
      if (!gpu) {
        Fail(key.source(),
             "'" + std::string(key.str()) + "' is not a PCI address such as \"0000:03:00.0\"");
        continue;
      }
      const toml::table* table = Table("gpu.ADDRESS", value);
      if (table == nullptr) continue;
      for (const auto& [inner, policy] : *table) {
        if (inner.str() != "policy") {
          Unknown(inner, "gpu.\"" + std::string(key.str()) + "\"", {"policy"});
        } else if (const toml::table* choice = Table("policy", policy)) {
          Policy(*choice, &config_->gpu_policies[*gpu]);
        }
      }
    }
  }

  void Simple(const std::string& name, const toml::table& table) {
    for (const auto& [key, node] : table) {
      const std::string_view word = key.str();
      if (!IsKnown(name, word)) {
        Unknown(key, name, KnownIn(name));
      } else if (word == "cross_user") {
        if (const auto value = node.value_exact<bool>()) {
          config_->cross_user = *value;
        } else {
          Fail(node, "'cross_user' must be true or false");
        }
      } else if (word == "log_level") {
        LogLevel(key, node);
      } else if (word == "allow") {
        Allow(node);
      } else if (word == "delay_budget_percent") {
        Number(key, node, 0, 1000, &config_->mechanisms.delay_budget_percent);
      } else if (word == "squeeze_units") {
        Whole(key, node, 0, 1024, &config_->mechanisms.squeeze_units);
      } else if (word == "listen") {
        Listen(key, node);
      }
    }
  }

  void LogLevel(const toml::key& key, const toml::node& node) {
    static const std::vector<std::string> levels = {"trace", "debug", "info",
                                                    "warn",  "error", "off"};
    std::string text;
    if (!Text(key, node, &text)) return;
    if (std::find(levels.begin(), levels.end(), text) == levels.end()) {
      return Fail(node, "'log_level' must be trace, debug, info, warn, error or off");
    }
    config_->log_level = text;
  }

  void Listen(const toml::key& key, const toml::node& node) {
    std::string text;
    if (!Text(key, node, &text)) return;
    if (!text.empty() && !text.starts_with("unix:/") && !text.starts_with("127.0.0.1:") &&
        !text.starts_with("[::1]:")) {
      return Fail(node, "'listen' must be \"unix:/path\" or on the loopback, \"127.0.0.1:9400\"");
    }
    config_->metrics_listen = text;
  }

  void Allow(const toml::node& node) {
    const toml::array* list = node.as_array();
    if (list == nullptr) return Fail(node, "'allow' must be a list: [\"squeeze\", \"suspend\"]");
    AllowedMechanisms& mechanisms = config_->mechanisms;
    mechanisms = {.squeeze = false,
                  .suspend = false,
                  .priority = false,
                  .share = false,
                  .delay_budget_percent = mechanisms.delay_budget_percent,
                  .squeeze_units = mechanisms.squeeze_units};
    for (const toml::node& each : *list) {
      const auto text = each.value_exact<std::string>().value_or("");
      if (text == "squeeze") {
        mechanisms.squeeze = true;
      } else if (text == "suspend") {
        mechanisms.suspend = true;
      } else if (text == "priority") {
        mechanisms.priority = true;
      } else if (text == "share") {
        mechanisms.share = true;
      } else {
        Fail(each, "'allow' may hold squeeze, suspend, priority and share");
      }
    }
  }

  void Rules(const toml::node& node) {
    const toml::array* rules = node.as_array();
    if (rules == nullptr || !rules->is_array_of_tables()) {
      return Fail(node, "rules are written [[rule]], with two brackets");
    }
    for (const toml::node& each : *rules) {
      Rule rule;
      rule.where = file_ + ":" + std::to_string(each.source().begin.line);
      rule.name = "rule " + std::to_string(config_->rules.size() + 1);
      for (const auto& [key, value] : *each.as_table()) RuleKey(key, value, &rule);
      config_->rules.push_back(std::move(rule));
    }
  }

  void RuleKey(const toml::key& key, const toml::node& node, Rule* rule) {
    const std::string_view word = key.str();
    std::string text;
    double number = 0;
    ProgramClass& given = rule->program_class;
    for (const auto& [name, pattern] :
         {std::pair{"exe", &rule->exe}, std::pair{"user", &rule->user},
          std::pair{"group", &rule->group}, std::pair{"cgroup", &rule->cgroup},
          std::pair{"tag", &rule->tag}, std::pair{"command", &rule->command}}) {
      if (word == name) {
        if (Text(key, node, &text)) *pattern = text;
        return;
      }
    }
    if (word == "name") {
      if (Text(key, node, &text)) rule->name = text;
    } else if (word == "priority") {
      Priority(node, rule);
    } else if (word == "weight") {
      std::uint32_t weight = 0;
      if (Whole(key, node, 1, 10'000, &weight)) given.weight = weight;
    } else if (word == "cap_percent") {
      if (Number(key, node, 1, 100, &number)) {
        given.cap_permille = static_cast<std::uint32_t>(std::lround(number * 10));
      }
    } else if (word == "share_percent") {
      if (Number(key, node, 1, 100, &number)) {
        given.share_permille = static_cast<std::uint32_t>(std::lround(number * 10));
      }
    } else if (word == "deadline_ms") {
      if (Number(key, node, 0.01, 3.6e6, &number)) {
        given.deadline_us = static_cast<std::uint64_t>(std::llround(number * 1000));
      }
    } else if (word == "latency_target_ms") {
      if (Number(key, node, 0.01, 3.6e6, &number)) {
        given.latency_target_us = static_cast<std::uint64_t>(std::llround(number * 1000));
      }
    } else {
      Unknown(key, "rule", KnownIn("rule"));
    }
  }

  void Priority(const toml::node& node, Rule* rule) {
    if (const auto* integer = node.as_integer()) {
      if (integer->get() >= 0 && integer->get() <= kPriorityMax) {
        rule->program_class.priority = static_cast<int>(integer->get());
        return;
      }
    }
    const std::string text = node.value_exact<std::string>().value_or("");
    for (const auto& [name, priority] :
         {std::pair{"low", kPriorityLow}, std::pair{"normal", kPriorityNormal},
          std::pair{"high", kPriorityHigh}}) {
      if (text == name) {
        rule->program_class.priority = priority;
        return;
      }
    }
    rule->priority_from_nice = text == "nice";
    if (!rule->priority_from_nice) {
      Fail(node, "'priority' must be low, normal, high, nice or a number from 0 to 15");
    }
  }

  const std::string& file_;
  Config* const config_;
  std::vector<std::string>* const errors_;
};

}  // namespace

void ReadConfigFile(const std::string& file, Config* config, std::vector<std::string>* errors) {
  try {
    const toml::table root = toml::parse_file(file);
    Reader(file, config, errors).Read(root);
  } catch (const toml::parse_error& error) {
    errors->push_back(file + ":" + std::to_string(error.source().begin.line) + ": " +
                      std::string(error.description()));
  }
}

}  // namespace xsched_hsa

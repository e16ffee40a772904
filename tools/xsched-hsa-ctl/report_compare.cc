#include "report_compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "arguments.h"
#include "ask.h"
#include "table.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;
using RunKey = std::tuple<std::string, std::string, int>;  // scenario, mode, repeat

constexpr const char* kFigures[] = {"p50_ms", "p99_ms", "max_ms", "p99_over_alone", "kept"};

std::string At(const json& object, const char* key) { return object.at(key).get<std::string>(); }

RunKey KeyOf(const json& run) {
  return {At(run, "scenario"), At(run, "mode"), run.value("repeat", 0)};
}

const json* Find(const json& result, const RunKey& key) {
  for (const json& run : result.at("runs")) {
    if (KeyOf(run) == key) return &run;
  }
  return nullptr;
}

// A figure of the high or the low model; null where the run failed or had no such model.
json Figure(const json* run, const char* model, const char* name) {
  if (run == nullptr || !run->contains(model) || !run->at(model).is_object()) return nullptr;
  const json& figures = run->at(model);
  const auto it = figures.find(name);
  return it != figures.end() && it->is_number() ? *it : json(nullptr);
}

json Ratio(const json& value, const json& base) {
  if (!value.is_number() || !base.is_number() || base.get<double>() <= 0) return nullptr;
  return value.get<double>() / base.get<double>();
}

json Side(const json& result, const RunKey& key) {
  const json* run = Find(result, key);
  if (run == nullptr) return nullptr;
  if (run->contains("failed")) return {{"failed", At(*run, "failed")}};
  const json* alone = Find(result, {std::get<0>(key), "alone", 0});
  json side = json::object();
  for (const char* name : {"requests", "p50_ms", "p99_ms", "max_ms"}) {
    side[name] = Figure(run, "high", name);
  }
  side["p99_over_alone"] = Ratio(side["p99_ms"], Figure(alone, "high", "p99_ms"));
  side["low_per_s"] = Figure(run, "low", "iter_per_s");
  side["kept"] = Ratio(side["low_per_s"], Figure(alone, "low", "iter_per_s"));
  return side;
}

json Of(const json& side, const char* name) {
  return side.is_object() && side.contains(name) ? side.at(name) : json(nullptr);
}

// How far apart two equal native runs of one result were: less says nothing.
json Spread(const json& result, const std::string& scenario) {
  const json p99 = Figure(Find(result, {scenario, "native", 0}), "high", "p99_ms");
  const json again = Figure(Find(result, {scenario, "native", 1}), "high", "p99_ms");
  if (!p99.is_number() || !again.is_number()) return nullptr;
  const double x = p99.get<double>(), y = again.get<double>();
  return x + y > 0 ? json(std::abs(x - y) * 2 / (x + y)) : json(nullptr);
}

json Rows(const json& a, const json& b) {
  std::vector<RunKey> keys;
  for (const json* result : {&a, &b}) {
    for (const json& run : result->at("runs")) {
      const RunKey key = KeyOf(run);
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  }
  json rows = json::array();
  for (const RunKey& key : keys) {
    const json of_a = Side(a, key), of_b = Side(b, key);
    rows.push_back({{"scenario", std::get<0>(key)},
                    {"mode", std::get<1>(key)},
                    {"repeat", std::get<2>(key)},
                    {"a", of_a},
                    {"b", of_b},
                    {"p99_b_over_a", Ratio(Of(of_b, "p99_ms"), Of(of_a, "p99_ms"))}});
  }
  return rows;
}

json Criteria(const json& result, const std::string& scenario) {
  const json& scenarios = result.at("verdict").at("scenarios");
  const auto it = scenarios.find(scenario);
  return it == scenarios.end() ? json::array() : it->at("criteria");
}

json Met(const json& criteria, const std::string& name) {
  for (const json& one : criteria) {
    if (At(one, "name") == name) return one.at("met").get<bool>();
  }
  return nullptr;
}

std::vector<std::string> ScenariosOf(const json& a, const json& b) {
  std::vector<std::string> scenarios;
  for (const json* result : {&a, &b}) {
    for (const json& run : result->at("runs")) {
      const std::string name = At(run, "scenario");
      if (std::find(scenarios.begin(), scenarios.end(), name) == scenarios.end())
        scenarios.push_back(name);
    }
  }
  return scenarios;
}

bool HasRun(const json& result, const std::string& scenario) {
  const json& runs = result.at("runs");
  return std::any_of(runs.begin(), runs.end(),
                     [&](const json& run) { return At(run, "scenario") == scenario; });
}

json Verdicts(const json& a, const json& b) {
  json verdicts = json::array();
  for (const std::string& scenario : ScenariosOf(a, b)) {
    const json of_a = Criteria(a, scenario), of_b = Criteria(b, scenario);
    json criteria = json::array();
    std::set<std::string> seen;
    for (const json* side : {&of_a, &of_b}) {
      for (const json& one : *side) {
        const std::string name = At(one, "name");
        if (!seen.insert(name).second) continue;
        criteria.push_back({{"name", name}, {"a", Met(of_a, name)}, {"b", Met(of_b, name)}});
      }
    }
    verdicts.push_back(
        {{"scenario", scenario},
         {"run", {{"a", HasRun(a, scenario)}, {"b", HasRun(b, scenario)}}},
         {"criteria", criteria},
         {"aa_spread_p99", {{"a", Spread(a, scenario)}, {"b", Spread(b, scenario)}}}});
  }
  return verdicts;
}

// Every value of an object, by its path.
void AddFlat(const std::string& part, const json& object, std::map<std::string, json>* all) {
  if (!object.is_object() || object.empty()) return;
  const json flat = object.flatten();
  for (const auto& [path, value] : flat.items()) {
    std::string name = part + path;
    std::replace(name.begin(), name.end(), '/', '.');
    (*all)[name] = value;
  }
}

// Versions, machine and what the simulated device was set to; not when.
void AddMadeWith(const json& made, std::map<std::string, json>* all) {
  if (!made.is_object()) return;
  for (const char* name : {"xsched_hsa", "machine"}) {
    if (made.contains(name)) (*all)[name] = made.at(name);
  }
  for (const json& row : made.value("virtual_gpu", json::array())) {
    if (row.is_array() && row.size() >= 2 && row[0].is_string()) {
      (*all)["virtual_gpu." + row[0].get<std::string>()] = row[1];
    }
  }
}

// What was measured: device, parameters, and what of them a run's record says.
std::map<std::string, json> Conditions(const json& result) {
  std::map<std::string, json> all = {{"simulated", result.at("simulated")}};
  for (const char* part : {"device", "parameters"}) {
    if (result.contains(part)) AddFlat(part, result.at(part), &all);
  }
  if (result.contains("made_with")) AddMadeWith(result.at("made_with"), &all);
  for (const json& run : result.at("runs")) {
    const auto [scenario, mode, repeat] = KeyOf(run);
    if (mode == "xsched-hsa" && run.contains("proof") && run.at("proof").is_object()) {
      AddFlat(scenario + ".controller", run.at("proof").value("controller", json()), &all);
    }
    if (mode != "alone" || repeat != 0) continue;
    for (const char* name : {"seconds", "time_scale"}) {
      if (run.contains(name)) all[scenario + "." + name] = run.at(name);
    }
  }
  return all;
}

// What a scenario that only one of them has run was run with is no difference between the two.
void LeaveOutOthers(const json& a, const json& b, std::map<std::string, json>* conditions) {
  for (const std::string& scenario : ScenariosOf(a, b)) {
    if (HasRun(a, scenario) && HasRun(b, scenario)) continue;
    std::erase_if(*conditions, [&](const auto& one) {
      return one.first.starts_with(scenario + ".") ||
             one.first.starts_with("parameters." + scenario + ".");
    });
  }
}

json Differences(const json& a, const json& b) {
  auto of_a = Conditions(a), of_b = Conditions(b);
  LeaveOutOthers(a, b, &of_a);
  LeaveOutOthers(a, b, &of_b);
  std::set<std::string> names;
  for (const auto* side : {&of_a, &of_b}) {
    for (const auto& [name, value] : *side) names.insert(name);
  }
  json differs = json::array();
  for (const std::string& name : names) {
    const auto x = of_a.find(name), y = of_b.find(name);
    const json left = x == of_a.end() ? json(nullptr) : x->second;
    const json right = y == of_b.end() ? json(nullptr) : y->second;
    if (left != right) differs.push_back({{"what", name}, {"a", left}, {"b", right}});
  }
  return differs;
}

std::string Number(const json& value, const char* format = "%.2f") {
  if (!value.is_number()) return "-";
  char text[48];
  std::snprintf(text, sizeof text, format, value.get<double>());
  return text;
}

std::string FigureCell(const json& side, const char* name) {
  if (side.is_object() && side.contains("failed")) return "failed";
  return Number(Of(side, name));
}

std::string ModeName(const json& row) {
  return At(row, "mode") + (row.at("repeat") != 0 ? " (again)" : "");
}

std::string RowTable(const json& rows) {
  std::vector<std::vector<std::string>> table = {{"SCENARIO", "MODE", "P50-A", "P50-B", "P99-A",
                                                  "P99-B", "MAX-A", "MAX-B", "/ALONE-A", "/ALONE-B",
                                                  "KEPT-A", "KEPT-B", "P99-B/A"}};
  for (const json& row : rows) {
    std::vector<std::string> cells = {At(row, "scenario"), ModeName(row)};
    for (const char* figure : kFigures) {
      for (const char* side : {"a", "b"}) cells.push_back(FigureCell(row.at(side), figure));
    }
    cells.push_back(Number(row.at("p99_b_over_a")));
    table.push_back(cells);
  }
  return FormatTable(table);
}

std::string MetWord(const json& met) {
  if (!met.is_boolean()) return "-";
  return met.get<bool>() ? "met" : "not met";
}

std::string VerdictTable(const json& verdicts) {
  std::vector<std::vector<std::string>> table = {{"SCENARIO", "CRITERION", "A", "B", ""}};
  for (const json& verdict : verdicts) {
    for (const json& one : verdict.at("criteria")) {
      table.push_back(
          {At(verdict, "scenario"), At(one, "name"), MetWord(one.at("a")), MetWord(one.at("b")),
           one.at("a").is_boolean() && one.at("b").is_boolean() && one.at("a") != one.at("b")
               ? "differs"
               : ""});
    }
  }
  return FormatTable(table);
}

std::string SpreadLines(const json& verdicts) {
  std::string text;
  for (const json& verdict : verdicts) {
    const json& run = verdict.at("run");
    if (run.at("a") != run.at("b")) {
      text += "only " + std::string(run.at("a").get<bool>() ? "A" : "B") + " has run " +
              At(verdict, "scenario") + "\n";
      continue;
    }
    const json& spread = verdict.at("aa_spread_p99");
    const auto percent = [&spread](const char* side) {
      const json& value = spread.at(side);
      return value.is_number() ? Number(value.get<double>() * 100, "%.1f %%")
                               : std::string("unknown");
    };
    text += At(verdict, "scenario") + ": P99 of two equal native runs differed by " + percent("a") +
            " in A and " + percent("b") + " in B; a smaller difference says nothing\n";
  }
  return text;
}

void Print(const json& comparison) {
  for (const char* side : {"a", "b"}) {
    const json& one = comparison.at(side);
    std::cout << (*side == 'a' ? "A: " : "B: ") << At(one, "path") << ", device times "
              << (one.at("simulated").get<bool>() ? "simulated" : "real") << "\n";
  }
  if (!comparison.at("same_kind").get<bool>()) {
    std::cout << "One of them is simulated and the other real: their times are not comparable.\n";
  }
  std::cout
      << "\nLatencies of the online (high-priority) requests in ms; /ALONE: P99 over that alone; "
         "KEPT: the offline model's rate over that alone\n"
      << RowTable(comparison.at("rows")) << "\n"
      << VerdictTable(comparison.at("verdicts")) << "\n"
      << SpreadLines(comparison.at("verdicts")) << "\n";
  const json& differs = comparison.at("differs");
  if (differs.empty()) {
    std::cout << "device and parameters are the same\n";
    return;
  }
  std::vector<std::vector<std::string>> table = {{"DIFFERS", "A", "B"}};
  for (const json& one : differs) {
    const auto text = [&one](const char* side) {
      const json& value = one.at(side);
      if (value.is_null()) return std::string("-");
      return value.is_string() ? value.get<std::string>() : value.dump();
    };
    table.push_back({At(one, "what"), text("a"), text("b")});
  }
  std::cout << FormatTable(table);
}

// Nothing, and the line has been printed.
std::optional<json> Load(const std::string& path) {
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(path, ignored);
  const std::string file = is_folder ? path + "/result.json" : path;
  std::ifstream in(file);
  if (!in) {
    Fail("cannot read " + file + "; give a folder that tools/demo wrote, or its result.json");
    return std::nullopt;
  }
  json result = json::parse(in, nullptr, false);
  if (!result.is_object() || !result.contains("runs") || !result.at("runs").is_array() ||
      !result.contains("verdict")) {
    Fail(file + " is not a result of tools/demo: it has no runs and verdict");
    return std::nullopt;
  }
  return result;
}

}  // namespace

json CompareResults(const json& a, const json& b) {
  return {{"a", {{"simulated", a.at("simulated").get<bool>()}}},
          {"b", {{"simulated", b.at("simulated").get<bool>()}}},
          {"same_kind", a.at("simulated") == b.at("simulated")},
          {"rows", Rows(a, b)},
          {"verdicts", Verdicts(a, b)},
          {"differs", Differences(a, b)}};
}

int ReportCompare(const std::string& a, const std::string& b, bool as_json) {
  const auto of_a = Load(a);
  if (!of_a) return kExitBadInput;
  const auto of_b = Load(b);
  if (!of_b) return kExitBadInput;
  for (const auto& [path, result] : {std::pair(a, *of_a), std::pair(b, *of_b)}) {
    try {
      CompareResults(result, result);
    } catch (const json::exception& error) {
      return Fail(path + " is not a result of this release's tools/demo: " + error.what());
    }
  }
  // What one has of a scenario that only the other has run is looked at here for the first time.
  json comparison;
  try {
    comparison = CompareResults(*of_a, *of_b);
  } catch (const json::exception& error) {
    return Fail(
        a + " and " + b +
        " cannot be compared, one of them is damaged or another release's: " + error.what());
  }
  comparison["a"]["path"] = a;
  comparison["b"]["path"] = b;
  as_json ? PrintJson(comparison) : Print(comparison);
  return 0;
}

}  // namespace xsched_hsa

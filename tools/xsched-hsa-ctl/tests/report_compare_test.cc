// `report compare`: two results side by side, also of other devices, with gaps, or none at all.
#include "report_compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "daemon.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;
using testing::Finished;
using testing::RunProgram;
using testing::TemporaryDirectory;

json RunOf(const char* mode, int repeat, double p99_ms, double per_s) {
  return {{"scenario", "intensive"},
          {"mode", mode},
          {"repeat", repeat},
          {"seconds", 6.0},
          {"time_scale", 4.0},
          {"high", {{"requests", 120}, {"p50_ms", 2.25}, {"p99_ms", p99_ms}, {"max_ms", 30.5}}},
          {"low", {{"iter_per_s", per_s}}}};
}

json Result(double p99_ms) {
  const json criteria = json::array({{{"name", "project"}, {"met", p99_ms < 2.8}}});
  return {
      {"simulated", true},
      {"device", {{"compute_units", 80}, {"profile", "mi308x"}}},
      {"parameters", {{"intensive", {{"rate", 20}, {"models", {"x", "y"}}}}}},
      {"runs", json::array({RunOf("alone", 0, 2.5, 2.0), RunOf("native", 0, 20, 1.98),
                            RunOf("native", 1, 22, 1.98), RunOf("xsched-hsa", 0, p99_ms, 1.9)})},
      {"verdict", {{"scenarios", {{"intensive", {{"criteria", criteria}}}}}}}};
}

class ReportCompareTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    const std::string folder = directory_.path() + "/" + name;
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/result.json") << text;
    return folder;
  }
  static Finished Compare(std::vector<std::string> words) {
    words.insert(words.begin(), {XSCHED_HSA_BIN_DIR "/xsched-hsa-ctl", "report", "compare"});
    return RunProgram(words);
  }
  static void ExpectOneLine(const Finished& finished, const std::string& part) {
    EXPECT_EQ(finished.code, 2) << finished.out;
    EXPECT_EQ(finished.out, "");
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
    EXPECT_NE(finished.err.find(part), std::string::npos) << finished.err;
  }

  TemporaryDirectory directory_;
};

TEST_F(ReportCompareTest, FiguresStandSideBySide) {
  const std::string a = Write("a", Result(2.6).dump()), b = Write("b", Result(3.9).dump());
  const Finished shown = Compare({a, b + "/result.json"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  for (const char* part : {"intensive  xsched-hsa       2.25   2.25   2.60   3.90  30.50  30.50    "
                           "  1.04      1.56    0.95"
                           "    0.95     1.50\n",
                           "intensive  native (again)", "project    met  not met  differs\n",
                           "differed by 9.5 % in A and 9.5 % in B", "A: ", "device times simulated",
                           "device and parameters are the same"}) {
    EXPECT_NE(shown.out.find(part), std::string::npos) << part << "\n" << shown.out;
  }
  const json told = json::parse(Compare({"--json", a, b}).out);
  EXPECT_EQ(told["rows"].size(), 4u);
  EXPECT_DOUBLE_EQ(told["rows"][3]["p99_b_over_a"], 1.5);
  EXPECT_DOUBLE_EQ(told["rows"][1]["b"]["p99_over_alone"], 8.0);
  EXPECT_EQ(told["verdicts"][0]["criteria"][0],
            (json{{"name", "project"}, {"a", true}, {"b", false}}));
  EXPECT_TRUE(told["differs"].empty());
  EXPECT_EQ(told["b"]["path"], b);
}

TEST_F(ReportCompareTest, WhatWasNotTheSameIsNamed) {
  json other = Result(2.6);
  other["simulated"] = false;
  other["device"] = {{"compute_units", 304}};
  other["parameters"]["intensive"]["rate"] = 50;
  other["runs"][0]["time_scale"] = 1.0;
  const std::string a = Write("a", Result(2.6).dump()), b = Write("b", other.dump());
  const json told = json::parse(Compare({a, b, "--json"}).out);
  EXPECT_FALSE(told["same_kind"]);
  std::vector<std::string> names;
  for (const json& one : told["differs"]) names.push_back(one["what"]);
  EXPECT_EQ(names, (std::vector<std::string>{"device.compute_units", "device.profile",
                                             "intensive.time_scale", "parameters.intensive.rate",
                                             "simulated"}));
  EXPECT_TRUE(told["differs"][1]["b"].is_null());
  EXPECT_NE(Compare({a, b}).out.find("not comparable"), std::string::npos);
}

TEST_F(ReportCompareTest, SettingsVersionsAndTheSimulatedDeviceAreComparedToo) {
  json first = Result(2.6);
  first["made_with"] = {{"xsched_hsa", "0.1.0"},
                        {"machine", "2 processors"},
                        {"date", "2026-01-01"},
                        {"virtual_gpu", {{"xccs", "4", ""}, {"runlist_cycle_ns", "200000", "ns"}}}};
  first["runs"][3]["proof"] = {
      {"controller", {{"policy", "strict-priority"}, {"parameters", {{"window_us", 800}}}}}};
  json other = first;
  other["made_with"]["date"] = "2026-02-02";  // is no condition
  other["made_with"]["machine"] = "64 processors";
  other["made_with"]["virtual_gpu"][1][1] = "50000";
  other["runs"][3]["proof"]["controller"]["parameters"]["window_us"] = 200;
  const json told =
      json::parse(Compare({Write("a", first.dump()), Write("b", other.dump()), "--json"}).out);
  std::vector<std::string> names;
  for (const json& one : told["differs"]) names.push_back(one["what"]);
  EXPECT_EQ(names, (std::vector<std::string>{"intensive.controller.parameters.window_us", "machine",
                                             "virtual_gpu.runlist_cycle_ns"}));
}

TEST_F(ReportCompareTest, WhatOnlyOneHasRunIsSaidOnce) {
  json more = Result(2.6);
  more["parameters"]["standard"] = {{"rate", 10}};
  more["verdict"]["scenarios"]["standard"] = more["verdict"]["scenarios"]["intensive"];
  const json runs = Result(2.6)["runs"];
  for (json run : runs) {
    run["scenario"] = "standard";
    more["runs"].push_back(run);
  }
  const std::string a = Write("a", Result(2.6).dump()), b = Write("b", more.dump());
  const Finished shown = Compare({a, b});
  EXPECT_EQ(shown.code, 0) << shown.err;
  for (const char* part : {"only B has run standard\n", "intensive: P99 of two equal native runs",
                           "device and parameters are the same"}) {
    EXPECT_NE(shown.out.find(part), std::string::npos) << part << "\n" << shown.out;
  }
  EXPECT_EQ(shown.out.find("differs"), std::string::npos) << shown.out;
  EXPECT_NE(Compare({b, a}).out.find("only A has run standard\n"), std::string::npos);
}

TEST_F(ReportCompareTest, ARunThatFailedOrIsMissingIsAGap) {
  json other = Result(2.6);
  other["runs"][3] = {
      {"scenario", "intensive"}, {"mode", "xsched-hsa"}, {"repeat", 0}, {"failed", "exit code 1"}};
  other["runs"].erase(2);
  other["runs"][0]["high"] = nullptr;
  const std::string a = Write("a", Result(2.6).dump()), b = Write("b", other.dump());
  const json told = json::parse(Compare({a, b, "--json"}).out);
  EXPECT_EQ(told["rows"][3]["b"], (json{{"failed", "exit code 1"}}));
  EXPECT_TRUE(told["rows"][2]["b"].is_null());
  EXPECT_TRUE(told["rows"][1]["b"]["p99_over_alone"].is_null());
  EXPECT_TRUE(told["verdicts"][0]["aa_spread_p99"]["b"].is_null());
  const Finished shown = Compare({a, b});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_NE(shown.out.find("failed"), std::string::npos) << shown.out;
}

TEST_F(ReportCompareTest, WhatIsNoResultIsOneLineAndTwo) {
  const std::string good = Write("good", Result(2.6).dump());
  ExpectOneLine(Compare({good, directory_.path() + "/none"}),
                "/none; give a folder that tools/demo");
  ExpectOneLine(Compare({directory_.path(), good}), "/result.json; give a folder");
  ExpectOneLine(Compare({good, Write("text", "{\"runs\": [")}), "is not a result of tools/demo");
  ExpectOneLine(Compare({good, Write("list", "[]")}), "is not a result of tools/demo");
  ExpectOneLine(Compare({good, Write("half", "{\"runs\": []}")}), "it has no runs and verdict");
  json wrong = Result(2.6);
  wrong["runs"][1]["mode"] = 7;
  ExpectOneLine(Compare({Write("wrong", wrong.dump()), good}), "not a result of this release's");
  wrong = Result(2.6);
  wrong["verdict"] = nullptr;
  ExpectOneLine(Compare({Write("bare", wrong.dump()), good}), "not a result of this release's");
  // Each is one by itself.
  wrong = Result(2.6);
  for (json& run : wrong["runs"]) run["scenario"] = "other";
  wrong["verdict"]["scenarios"]["intensive"] = 7;
  ExpectOneLine(Compare({good, Write("apart", wrong.dump())}),
                "cannot be compared, one of them is damaged");
  ExpectOneLine(Compare({good}), "--help");
  ExpectOneLine(RunProgram({XSCHED_HSA_BIN_DIR "/xsched-hsa-ctl", "report"}), "--help");
}

}  // namespace
}  // namespace xsched_hsa

// config_test.cc: the configuration's mistakes, drop-ins, rules, and the machine it is read on.
#include "config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "configuration.h"
#include "daemon.h"
#include "devices.h"
#include "gpu_key.h"
#include "latency.h"
#include "manual_clock.h"
#include "page_waker.h"
#include "policies/registry.h"
#include "program_facts.h"

namespace xsched_hsa {
namespace {

class ConfigTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = directory_.path() + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  LoadedConfig Load(const std::string& text) {
    Write("config.toml", text);
    return LoadConfig(directory_.path() + "/config.toml");
  }
  // The one mistake in the text.
  std::string Mistake(const std::string& text) {
    const LoadedConfig loaded = Load(text);
    EXPECT_EQ(loaded.errors.size(), 1u) << text;
    return loaded.errors.empty() ? "" : loaded.errors.front();
  }
  testing::TemporaryDirectory directory_;
};

TEST_F(ConfigTest, EverythingThatCanBeSaid) {
  const LoadedConfig loaded = Load(R"(
[controller]
cross_user = true
log_level = "debug"
[policy]
name = "weighted-fair"
slice_ms = 5
[gpu."0000:03:00.0".policy]
name = "cu-partition"
[mechanisms]
allow = ["suspend"]
delay_budget_percent = 4.5
squeeze_units = 16
[metrics]
listen = "unix:/run/xsched-hsa/metrics.sock"
[[rule]]
name = "inference"
exe = "/opt/serve*"
priority = "high"
latency_target_ms = 12.5
deadline_ms = 30
[[rule]]
user = "batch"
weight = 300
cap_percent = 60
share_percent = 25
)");
  ASSERT_TRUE(loaded.errors.empty()) << loaded.errors.front();
  const Config& config = loaded.config;
  EXPECT_TRUE(config.cross_user);
  EXPECT_EQ(config.policy.params.at("slice_ms"), 5);
  EXPECT_EQ(config.gpu_policies.at(*ParseGpuKey("0000:03:00.0")).name, "cu-partition");
  EXPECT_FALSE(config.mechanisms.squeeze);
  EXPECT_TRUE(config.mechanisms.suspend);
  std::string error;
  const PolicySetting setting = ResolvePolicy(config.policy, config.mechanisms, &error);
  EXPECT_EQ(error, "");
  EXPECT_EQ(setting.params.slice_us, 5'000u);
  EXPECT_EQ(setting.params.preemption.delay_budget_permille, 45u);
  ASSERT_EQ(config.rules.size(), 2u);
  EXPECT_EQ(config.rules[0].program_class.latency_target_us, 12'500u);
  EXPECT_EQ(config.rules[1].program_class.cap_permille, 600u);
  EXPECT_EQ(config.rules[1].name, "rule 2");
}

TEST_F(ConfigTest, MistakesHaveTheirLineAndASuggestion) {
  EXPECT_NE(
      Mistake("[polcy]\nname = 'x'\n").find(":1: unknown key 'polcy'; did you mean 'policy'?"),
      std::string::npos);
  EXPECT_NE(Mistake("[[rule]]\nwieght = 3\n")
                .find(":2: unknown key 'wieght' in [rule]; did you "
                      "mean 'weight'?"),
            std::string::npos);
  EXPECT_NE(Mistake("[policy]\nname = 'wieghted-fair'\n").find("did you mean 'weighted-fair'?"),
            std::string::npos);
  EXPECT_NE(Mistake("[policy]\nslice_ms = 5\n").find("has no parameter 'slice_ms'"),
            std::string::npos);
  EXPECT_NE(Mistake("\n\nx = [").find("config.toml:3: "), std::string::npos) << "not TOML";
}

TEST_F(ConfigTest, WrongValuesAreRefused) {
  for (const char* text : {"[policy]\nname = 3\n",
                           "[policy]\nname = 'round-robin'\nslice_ms = -1\n",
                           "[policy]\nname = 'round-robin'\nslice_ms = '5'\n",
                           "policy = 'round-robin'\n",
                           "[gpu.x.policy]\nname = 'round-robin'\n",
                           "[gpu.\"03:00.0\"]\npolcy = 1\n",
                           "[controller]\ncross_user = 1\n",
                           "[controller]\nlog_level = 'loud'\n",
                           "[mechanisms]\nallow = 'squeeze'\n",
                           "[mechanisms]\nallow = ['kill']\n",
                           "[mechanisms]\ndelay_budget_percent = nan\n",
                           "[metrics]\nlisten = '0.0.0.0:9400'\n",
                           "[mechanisms]\nsqueeze_units = 1.5\n",
                           "[[rule]]\nweight = 1.5\n",
                           "[policy]\nname = 'earliest-deadline'\nconcurrent = 1.5\n",
                           "rule = 3\n",
                           "[rule]\nname = 'x'\n",
                           "[[rule]]\npriority = 16\n",
                           "[[rule]]\npriority = 'urgent'\n",
                           "[[rule]]\ncap_percent = 0\n",
                           "[[rule]]\nexe = 3\n"}) {
    EXPECT_NE(Mistake(text).find("config.toml:"), std::string::npos) << text;
  }
}

TEST_F(ConfigTest, AllMistakesAreNamedAtOnce) {
  EXPECT_EQ(Load("[polcy]\n[controler]\n[[rule]]\nweigth = 1\n").errors.size(), 3u);
}

TEST_F(ConfigTest, DropInsCountInTheirOrderAndAddRules) {
  Write("config.d/20-b.toml", "[policy]\nname = 'round-robin'\n[[rule]]\nname = 'b'\n");
  Write("config.d/10-a.toml", "[policy]\nname = 'cu-partition'\n[[rule]]\nname = 'a'\n");
  Write("config.d/readme.txt", "not read");
  const LoadedConfig loaded = Load(
      "[policy]\nname = 'weighted-fair'\nslice_ms = 5\n[[rule]]\n"
      "name = 'main'\n");
  ASSERT_TRUE(loaded.errors.empty()) << loaded.errors.front();
  EXPECT_EQ(loaded.config.policy.name, "round-robin");
  EXPECT_TRUE(loaded.config.policy.params.empty()) << "another policy's parameters";
  ASSERT_EQ(loaded.config.rules.size(), 3u);
  EXPECT_EQ(loaded.config.rules[0].name, "main");
  EXPECT_EQ(loaded.config.rules[2].name, "b");
  EXPECT_EQ(loaded.config.files.size(), 3u);
}

TEST_F(ConfigTest, MissingFileIsAMistakeOnlyIfItWasNamed) {
  EXPECT_EQ(LoadConfig(directory_.path() + "/none.toml").errors.size(), 1u);
}

TEST_F(ConfigTest, EveryKeyIsDocumented) {
  std::ifstream file(std::string(XSCHED_HSA_SOURCE_DIR) + "/docs/configuration.md");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  ASSERT_FALSE(text.empty());
  for (const ConfigKey& key : ConfigKeys()) {
    const std::string table = key.table == "gpu.ADDRESS.policy" ? "policy" : key.table;
    EXPECT_NE(text.find("| `" + table + "` | `" + key.name + "` |"), std::string::npos)
        << "docs/configuration.md has no row for [" << table << "] " << key.name;
  }
  // And nothing that does not exist.
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("| `", 0) != 0 || line.find("` | `") == std::string::npos) continue;
    const std::string table = line.substr(3, line.find('`', 3) - 3);
    const std::size_t at = line.find("` | `") + 5;
    const std::string name = line.substr(at, line.find('`', at) - at);
    bool known = false;
    for (const ConfigKey& key : ConfigKeys()) known |= key.table == table && key.name == name;
    EXPECT_TRUE(known) << table << "." << name << " is documented and unknown";
  }
}

TEST_F(ConfigTest, NearestSuggestsOnlyWhatIsNear) {
  const std::vector<std::string> words = {"weight", "priority", "cgroup"};
  EXPECT_EQ(Nearest("wight", words), "weight");
  EXPECT_EQ(Nearest("group", words), "cgroup");
  EXPECT_EQ(Nearest("banana", words), std::nullopt);
}

// ------------------------------------------------------------------------------------------- rules

Rule MakeRule(const std::string& name) {
  Rule rule;
  rule.name = name;
  return rule;
}

TEST(RuleTest, FirstMatchWinsAndAllPatternsMustMatch) {
  ProgramFacts facts;
  facts.exe = "/usr/bin/python3.11";
  facts.cgroup = "/kubepods/burstable/pod12/abc";
  facts.tag = "offline";
  facts.command = "python3 train.py --batch 8";
  const Identity identity{{"1000", "alice"}, {"1000", "alice", "44", "video"}};
  std::vector<Rule> rules = {MakeRule("bob"), MakeRule("pod"), MakeRule("rest")};
  rules[0].user = "bob";
  rules[0].exe = "/usr/bin/python*";
  rules[1].cgroup = "/kubepods/*";
  rules[1].group = "video";
  EXPECT_EQ(MatchRule(rules, facts, identity)->name, "pod");
  rules[1].tag = "online";
  EXPECT_EQ(MatchRule(rules, facts, identity)->name, "rest") << "no pattern matches everybody";
  rules[0].user = "1000";
  rules[0].command = "*train.py*";
  EXPECT_EQ(MatchRule(rules, facts, identity)->name, "bob");
  rules.clear();
  EXPECT_EQ(MatchRule(rules, facts, identity), nullptr);
}

TEST(RuleTest, WhatCouldNotBeReadMatchesNoPattern) {
  std::vector<Rule> rules = {MakeRule("any tag")};
  rules[0].tag = "*";
  EXPECT_EQ(MatchRule(rules, {}, {}), nullptr);
}

TEST(RuleTest, NiceValuesBecomePriorities) {
  Rule rule = MakeRule("nice");
  rule.priority_from_nice = true;
  const auto priority = [&](int nice) {
    ProgramFacts facts;
    facts.nice = nice;
    return *ClassOf(rule, facts).priority;
  };
  EXPECT_EQ(priority(0), 7);
  EXPECT_EQ(priority(-20), 15);
  EXPECT_EQ(priority(19), 0);
  for (int nice = -20; nice < 19; ++nice) EXPECT_GE(priority(nice), priority(nice + 1)) << nice;
}

TEST(RuleTest, FactsOfThisProcessAreRead) {
  const ProgramFacts facts = ReadProgramFacts("", getpid());
  EXPECT_NE(facts.exe.find("queue_ctl_test"), std::string::npos) << facts.exe;
  EXPECT_NE(facts.command.find("queue_ctl_test"), std::string::npos);
  ASSERT_FALSE(facts.pids.empty());
  EXPECT_EQ(facts.pids.back(), getpid());
  ASSERT_FALSE(facts.gids.empty());
  EXPECT_EQ(facts.gids.front(), getegid());
  EXPECT_TRUE(ReadProgramFacts("", 0).exe.empty()) << "no such process";
}

// Whoever connected has gone and left the socket to another one; its pid is this program's now.
TEST_F(ConfigTest, APidThatIsAnotherUsersByNowGivesNobodyThatOnesClass) {
  Write("config.toml", "[[rule]]\nname = 'by name'\nexe = '*queue_ctl_test'\npriority = 'high'\n");
  Configuration configuration(directory_.path() + "/config.toml", nullptr);
  ASSERT_TRUE(configuration.Load().empty());
  testing::ManualClock clock(1'000'000);
  testing::PageWaker waker;
  Core core({}, &clock, MakePolicy("strict-priority", {}), &waker);
  const auto page = std::make_unique<ProcessPage>(), other = std::make_unique<ProcessPage>();
  const auto user = std::make_unique<UserPage>(), other_user = std::make_unique<UserPage>();
  LayerInfo info;
  info.pid = getpid();
  info.uid = geteuid();
  const std::uint32_t own = core.AddSession(info, page.get(), user.get());
  info.uid = geteuid() + 1;
  const std::uint32_t others = core.AddSession(info, other.get(), other_user.get());
  EXPECT_NE(configuration.Classify(&core, own), nullptr);
  EXPECT_EQ(core.sessions().at(own)->rule, "by name");
  EXPECT_EQ(configuration.Classify(&core, others), nullptr);
  EXPECT_EQ(core.sessions().at(others)->rule, "");
  EXPECT_EQ(core.sessions().at(others)->facts.exe, "");
}

TEST(RuleTest, NamesAreAskedForOnlyWhereARuleHasThem) {
  Rule by_user, by_group;
  by_user.user = "root";
  by_group.group = "wheel";
  const std::vector<Rule> neither(1), users = {by_user}, groups = {by_group, Rule{}};
  EXPECT_FALSE(NamedIn(neither).users || NamedIn(neither).groups);
  EXPECT_TRUE(NamedIn(users).users && !NamedIn(users).groups);
  EXPECT_TRUE(NamedIn(groups).groups && !NamedIn(groups).users);
  EXPECT_EQ(ReadIdentity(0, {0}, {false, false}).users, std::vector<std::string>{"0"});
  EXPECT_EQ(ReadIdentity(0, {0}, {true, false}).users.size(), 2u);
}

// ----------------------------------------------------------------------------------------- devices

TEST_F(ConfigTest, DevicesComeFromTheTopologyAndNoneIsNoError) {
  EXPECT_TRUE(ListDevices(directory_.path()).empty());
  const std::string nodes = "sys/devices/virtual/kfd/kfd/topology/nodes/";
  Write(nodes + "0/gpu_id", "0\n");
  Write(nodes + "0/properties", "cpu_cores_count 8\n");
  Write(nodes + "1/gpu_id", "4711\n");
  Write(nodes + "1/name", "aqua_vanjaram\n");
  Write(nodes + "1/properties",
        "simd_count 320\narray_count 16\nsimd_arrays_per_engine 1\ncu_per_simd_array 10\n"
        "simd_per_cu 4\nmax_waves_per_simd 8\nlds_size_in_kb 64\ngfx_target_version 90402\n"
        "location_id 768\ndomain 0\nnum_cp_queues 120\nmax_engine_clk_fcompute 1420\nnum_xcc 4\n"
        "drm_render_minor 128\n");
  Write(nodes + "1/mem_banks/0/properties",
        "heap_type 1\nsize_in_bytes 206141652992\nmem_clk_max 1300\n");
  Write("sys/class/drm/renderD128/device/current_compute_partition", "SPX\n");
  Write("sys/module/amdgpu/parameters/cwsr_enable", "1\n");
  const std::vector<Device> devices = ListDevices(directory_.path());
  ASSERT_EQ(devices.size(), 1u);
  const Device& device = devices[0];
  EXPECT_EQ(FormatGpuKey(device.gpu), "0000:03:00.0");
  EXPECT_EQ(device.gfx, "gfx942");
  EXPECT_EQ(device.name, "aqua_vanjaram");
  EXPECT_EQ(device.compute_units, 80u);
  EXPECT_EQ(device.xcc, 4u);
  EXPECT_EQ(device.shader_engines, 16u);
  EXPECT_EQ(device.memory_mb, 196'592u);
  EXPECT_EQ(device.memory_clock_mhz, 1300u);
  EXPECT_EQ(device.compute_partition, "SPX");
  EXPECT_EQ(device.cwsr_enable, 1u);
  EXPECT_FALSE(device.sched_policy) << "not said";
}

TEST(GpuKeyTest, ParsesWhatItFormats) {
  EXPECT_EQ(FormatGpuKey(*ParseGpuKey("0000:c7:00.1")), "0000:c7:00.1");
  EXPECT_EQ(ParseGpuKey("03:00.0"), ParseGpuKey("0000:03:00.0"));
  for (const char* text :
       {"", "x", "0000:03:00", "0000:03:00.8", "0000:03:40.0", "0000:03:00.0 "}) {
    EXPECT_EQ(ParseGpuKey(text), std::nullopt) << text;
  }
}

// ----------------------------------------------------------------------------------------- latency

TEST(LatencyTest, PercentilesAreAtMostAnEighthTooHighAndNeverTooLow) {
  LatencyHistogram histogram{};
  for (std::uint64_t us = 1; us <= 10'000; ++us) histogram.Add(us);
  const LatencyCopy copy = CopyLatency(histogram);
  EXPECT_EQ(copy.count, 10'000u);
  for (const double fraction : {0.5, 0.9, 0.95, 0.99, 1.0}) {
    const double exact = fraction * 10'000;
    EXPECT_GE(copy.PercentileUs(fraction) + 1, exact);
    EXPECT_LE(copy.PercentileUs(fraction), exact * 1.125);
  }
  EXPECT_EQ(CopyLatency(LatencyHistogram{}).PercentileUs(0.99), 0u);
}

TEST(LatencyTest, SinceLeavesOutWhatWasBeforeAndDamageIsBounded) {
  LatencyHistogram histogram{};
  for (int i = 0; i < 100; ++i) histogram.Add(1'000'000);
  const LatencyCopy before = CopyLatency(histogram);
  for (int i = 0; i < 10; ++i) histogram.Add(100);
  const LatencyCopy recent = CopyLatency(histogram).Since(before);
  EXPECT_EQ(recent.count, 10u);
  EXPECT_LT(recent.PercentileUs(0.99), 120u);
  histogram.buckets[3].store(~std::uint64_t{0});
  EXPECT_LT(CopyLatency(histogram).count, 1'000u);
}

TEST(LatencyTest, BucketsCoverEveryTimeWithoutGaps) {
  for (std::uint32_t bucket = 1; bucket < kLatencyBuckets; ++bucket) {
    const std::uint64_t floor = LatencyBucketFloorUs(bucket);
    EXPECT_EQ(LatencyBucket(floor), bucket);
    EXPECT_EQ(LatencyBucket(floor - 1), bucket - 1);
  }
  EXPECT_EQ(LatencyBucket(~std::uint64_t{0}), kLatencyBuckets - 1);
}

}  // namespace
}  // namespace xsched_hsa

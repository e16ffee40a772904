// Two weighted tenants under one configuration file, and an operator who does not leave them alone: the
// policy is switched, the configuration reloaded, the controller killed and started again, all in the
// middle of their load. tools/tenants is the long form with figures.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "support/stack.h"

namespace xsched_hsa_tests {
namespace {

using nlohmann::json;

constexpr char kConfig[] = R"(
[policy]
name = "weighted-fair"
slice_ms = 20
[[rule]]
name = "heavy"
tag = "heavy"
weight = 300
[[rule]]
name = "light"
tag = "light"
)";

class TenantsTest : public testing::Test {
 protected:
  TenantsTest() {
    std::ofstream(config_) << kConfig;
    StartController();
    for (const char* tag : {"heavy", "light"}) {
      const std::string model = "/tools/dual-model/workloads/resnet_h100.json:resnet50.b8";
      workers_[tag] =
          stack_.Start("normal", {"env", std::string("XSCHED_HSA_TAG=") + tag, Bin("dual-model"),
                                  "worker", "--seconds", "60", "--result", ResultFile(tag),
                                  XSCHED_HSA_SOURCE_DIR + model});
    }
  }
  void StartController() { stack_.StartController({"--config", config_}); }
  std::string ResultFile(const std::string& tag) { return directory_.path() + "/" + tag + ".json"; }

  // The live process with that tag and one queue; null if there is none.
  json Tenant(const std::string& tag) {
    const json list = stack_.List();
    if (!list.is_object()) return nullptr;
    for (const json& process : list["processes"]) {
      if (process["alive"] == true && process["tag"] == tag && !process["queues"].empty()) {
        return process;
      }
    }
    return nullptr;
  }
  template <typename Condition>
  bool Until(const std::string& tag, Condition condition) {
    for (int i = 0; i < 400; ++i) {
      const json tenant = Tenant(tag);
      if (tenant.is_object() && condition(tenant)) return true;
      usleep(25'000);
    }
    return false;
  }
  // Turns change, and both get on.
  bool BothTakeTurns() {
    for (const char* tag : {"heavy", "light"}) {
      const json before = Tenant(tag);
      if (!before.is_object()) return false;
      const auto holds = before["totals"]["preemptions"].get<int>();
      const auto read = before["totals"]["packets_read"].get<int>();
      if (!Until(tag, [&](const json& now) {
            return now["totals"]["preemptions"].get<int>() > holds + 2 &&
                   now["totals"]["packets_read"].get<int>() > read + 100;
          })) {
        return false;
      }
    }
    return true;
  }
  void StopAndExpectNothingLost() {
    for (const char* tag : {"heavy", "light"}) {
      const json tenant = Tenant(tag);
      ASSERT_TRUE(tenant.is_object()) << tag;
      kill(tenant["pid"].get<int>(), SIGTERM);
    }
    for (const char* tag : {"heavy", "light"}) {
      const auto finished = workers_[tag]->Wait(std::chrono::seconds(60));
      EXPECT_EQ(finished.exit_code, 0) << tag << ": " << finished.err;
      std::ifstream file(ResultFile(tag));
      const auto record = json::parse(file, nullptr, false);
      ASSERT_TRUE(record.is_object()) << tag;
      const json& check = record["check"];
      EXPECT_GT(check["packets_submitted"], 0) << tag;
      EXPECT_EQ(check["packets_submitted"], check["packets_completed"]) << tag;
      EXPECT_EQ(check["workgroups_expected"], check["workgroups_done"]) << tag;
      EXPECT_EQ(check["order_errors"], 0) << tag;
      EXPECT_EQ(check["signal_errors"], 0) << tag;
    }
  }

  TemporaryDirectory directory_;
  const std::string config_ = directory_.path() + "/config.toml";
  Stack stack_;
  std::map<std::string, std::unique_ptr<Process>> workers_;
};

TEST_F(TenantsTest, DeviceTimeFollowsTheWeightsOfTheRules) {
  ASSERT_TRUE(Until("light", [](const json& p) { return p["queues"][0]["armed"] == true; }));
  EXPECT_EQ(Tenant("heavy")["rule"], "heavy");
  EXPECT_EQ(Tenant("heavy")["class"]["weight"], 300);
  ASSERT_TRUE(BothTakeTurns());
  const auto device_ms = [&](const char* tag) {
    return Tenant(tag)["totals"]["device_ms"].get<double>();
  };
  const double heavy = device_ms("heavy"), light = device_ms("light");
  ASSERT_TRUE(Until("light", [&](const json& now) {
    return now["totals"]["device_ms"].get<double>() > light + 150;
  }));
  const double heavy_gained = device_ms("heavy") - heavy, light_gained = device_ms("light") - light;
  // 0.75 is meant; turns of 20 ms over a second and a loaded machine leave it this wide.
  EXPECT_GT(heavy_gained / (heavy_gained + light_gained), 0.6);
  EXPECT_LT(heavy_gained / (heavy_gained + light_gained), 0.9);
  StopAndExpectNothingLost();
}

TEST_F(TenantsTest, SwitchReloadAndRestartInTheMiddleLoseNothing) {
  ASSERT_TRUE(Until("light", [](const json& p) { return p["queues"][0]["armed"] == true; }));
  ASSERT_TRUE(BothTakeTurns());
  // Among equals strict-priority leaves everybody alone.
  std::ofstream(config_) << "[policy]\nname = 'strict-priority'\n";
  stack_.SignalController(SIGHUP);
  EXPECT_TRUE(Until("heavy", [](const json& p) {
    return p["queues"][0]["armed"] == false && p["rule"].is_null();
  }));
  std::ofstream(config_) << kConfig;
  stack_.SignalController(SIGHUP);
  EXPECT_TRUE(Until("heavy", [](const json& p) { return p["rule"] == "heavy"; }));
  EXPECT_TRUE(BothTakeTurns());
  std::ofstream(config_) << "[oops]\n";
  stack_.SignalController(SIGHUP);
  EXPECT_TRUE(BothTakeTurns()) << "the old configuration stays";
  std::ofstream(config_) << kConfig;
  stack_.KillController(SIGKILL);
  StartController();
  // They come back by themselves, are recognised, and managed again.
  for (const char* tag : {"heavy", "light"}) {
    EXPECT_TRUE(Until(tag, [&](const json& p) {
      return p["rule"] == tag && p["queues"][0]["armed"] == true;
    })) << tag;
  }
  EXPECT_TRUE(BothTakeTurns());
  StopAndExpectNothingLost();
}

}  // namespace
}  // namespace xsched_hsa_tests

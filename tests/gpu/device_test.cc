// What preemption needs of a device, asked of whichever is there: compiled once for the virtual GPU
// (label vgpu) and once for hardware (label gpu), where each test skips itself if there is none.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/process.h"

namespace xsched_hsa_tests {
namespace {

using nlohmann::json;

constexpr bool kOnHardware = XSCHED_HSA_ON_HARDWARE;

class DeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (kOnHardware && access("/dev/kfd", R_OK | W_OK) != 0) {
      GTEST_SKIP() << (access("/dev/kfd", F_OK) != 0
                           ? "needs an MI-series GPU: there is no /dev/kfd"
                           : "needs an MI-series GPU: /dev/kfd is not ours to open (group render)");
    }
  }
  Result OnDevice(const std::vector<std::string>& command,
                  const std::vector<std::string>& device = {}) {
    std::vector<std::string> words;
    if (!kOnHardware) {
      words = {Bin("virtual-gpu"), "run", "--quiet", "--time-scale", "4"};
      words.insert(words.end(), device.begin(), device.end());
      words.push_back("--");
    }
    words.insert(words.end(), command.begin(), command.end());
    return xsched_hsa_tests::Run(words, {}, std::chrono::seconds(100));
  }
  json Measure(const std::string& step, const std::vector<std::string>& device = {}) {
    const Result result = OnDevice(
        {Bin("device-measurements"), "--quick", "--endurance", "1", "--only", step}, device);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const json record = json::parse(result.out, nullptr, false);
    EXPECT_TRUE(record.is_object()) << result.out << result.err;
    if (!record.is_object()) return json::object();
    EXPECT_EQ(record["simulated"], !kOnHardware);
    for (const json& check : record["checks"]) {
      EXPECT_TRUE(check["passed"]) << check["name"] << ": " << check["text"];
    }
    return record;
  }
};

TEST_F(DeviceTest, LaunchesPackets) {
  const json record = Measure("packets");
  EXPECT_GT(record["measured"]["dependent_packet_us"]["p50"], 0.0);
  EXPECT_EQ(record["checks"].size(), 1u);
}

TEST_F(DeviceTest, CyclesTheRunlistBesideANeighbour) {
  const json record = Measure("cycle");
  EXPECT_GT(record["params"]["runlist_cycle_ns"], 0);
  EXPECT_EQ(record["measured"]["neighbour_iterations"], 5);
}

TEST_F(DeviceTest, KeepsASuspendedQueueWhereItIs) {
  const json record = Measure("suspend");
  EXPECT_EQ(record["measured"]["suspend_us"]["n"], 10);
  EXPECT_EQ(record["checks"].size(), 2u);
}

TEST_F(DeviceTest, TakesComputeUnitsAwayByMask) { EXPECT_EQ(Measure("mask")["checks"].size(), 2u); }

TEST_F(DeviceTest, SaysWhetherPriorityHasAnEffect) {
  EXPECT_TRUE(Measure("priority")["params"]["pipe_priority_effective"].is_boolean());
}

TEST_F(DeviceTest, ClosesTheGateAndLeavesTheDevice) {
  const json measured = Measure("reaction")["measured"];
  for (const char* name : {"gate_closed_us", "device_left_us", "device_left_long_kernels_us"}) {
    EXPECT_EQ(measured[name]["n"], 20) << name;
  }
  // What was published when the gate closed still runs.
  EXPECT_GT(measured["device_left_us"]["max"], 0.0);
  EXPECT_GT(measured["device_left_us"]["max"], measured["gate_closed_us"]["p50"]);
}

TEST_F(DeviceTest, EnduresPreemption) {
  const json record = Measure("endurance");
  EXPECT_EQ(record["measured"]["endurance"]["preemptions"], 10);
}

TEST_F(DeviceTest, HoldsWithoutLoss) {
  TemporaryDirectory directory;
  const std::string file = directory.path() + "/run.json";
  const std::string traces =
      std::string(XSCHED_HSA_SOURCE_DIR) + "/tools/dual-model/workloads/resnet_h100.json:";
  const Result result =
      OnDevice({Bin("dual-model"), "run", "--mode", "xsched-hsa", "--seconds", "1", "--high",
                traces + "resnet18.b1@10", "--low", traces + "resnet50.b8", "--json", file});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::ifstream stream(file);
  const json record = json::parse(stream, nullptr, false);
  ASSERT_TRUE(record.is_object());
  EXPECT_GT(record["proof"]["packets_held"], 0);
  for (const json& model : record["models"]) {
    EXPECT_EQ(model["check"]["packets_submitted"], model["check"]["packets_completed"]);
    EXPECT_EQ(model["check"]["order_errors"], 0);
  }
}

#if !XSCHED_HSA_ON_HARDWARE
// Where the truth is known, the measurement has to find it: a hundred times the cycle is far more than
// any lateness of this machine.
TEST_F(DeviceTest, MeasuresTheCycleThatTheModelHas) {
  const json cheap = Measure("cycle", {"--param", "runlist_cycle_ns=50000"});
  const json dear = Measure("cycle", {"--param", "runlist_cycle_ns=5000000"});
  EXPECT_GT(dear["params"]["runlist_cycle_ns"], 4'000'000);
  EXPECT_LT(cheap["params"]["runlist_cycle_ns"],
            dear["params"]["runlist_cycle_ns"].get<double>() / 4);
}

// Eight units more or fewer are a quarter of it; the model's time stands while the host is busy.
TEST_F(DeviceTest, IsAsMuchSlowerAsUnitsAreMissing) {
  const json slower = Measure("mask")["measured"]["slower_on_fewer_units"];
  const double expected = slower["of"].get<double>() / slower["units"].get<double>();
  EXPECT_NEAR(slower["times"].get<double>(), expected, 0.1 * expected) << slower;
}

TEST_F(DeviceTest, RefusesADeviceThatOthersUse) {
  const std::string device = "measure-" + std::to_string(getpid());
  ASSERT_EQ(xsched_hsa_tests::Run({Bin("virtual-gpu"), "start", "--device", device}).exit_code, 0);
  const std::vector<std::string> on_it = {Bin("virtual-gpu"), "run",  "--quiet",
                                          "--device",         device, "--"};
  const auto with = [&on_it](std::vector<std::string> command) {
    command.insert(command.begin(), on_it.begin(), on_it.end());
    return command;
  };
  {
    Process other(with({Bin("hsa-exercise"), "busy"}));
    ASSERT_TRUE(other.WaitForOutput("ready"));
    const std::vector<std::string> measure = {Bin("device-measurements"), "--quick", "--only",
                                              "packets"};
    const Result refused = xsched_hsa_tests::Run(with(measure));
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_NE(refused.err.find("other processes have queues on this GPU"), std::string::npos)
        << refused.err;
    EXPECT_EQ(refused.out, "");
    std::vector<std::string> anyway = measure;
    anyway.push_back("--busy-ok");
    EXPECT_EQ(xsched_hsa_tests::Run(with(anyway)).exit_code, 0);
  }
  xsched_hsa_tests::Run({Bin("virtual-gpu"), "stop", "--device", device});
}

TEST_F(DeviceTest, RefusesBadInput) {
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--only", "everything"},
                                                {"--endurance", "-1"},
                                                {"--gpu", "x"},
                                                {"all"}}) {
    std::vector<std::string> command = {Bin("device-measurements")};
    command.insert(command.end(), wrong.begin(), wrong.end());
    const Result result = xsched_hsa_tests::Run(command);
    EXPECT_EQ(result.exit_code, 2) << wrong.front();
    EXPECT_EQ(result.err.find("measure-device: "), 0u) << result.err;
  }
  const Result ungated = OnDevice(
      {"env", "XSCHED_HSA_GATE=none", Bin("device-measurements"), "--quick", "--only", "reaction"});
  EXPECT_EQ(ungated.exit_code, 1);
  EXPECT_NE(ungated.err.find("the layer does not manage this program's queues"), std::string::npos)
      << ungated.err;
  const Result absent = OnDevice({Bin("device-measurements"), "--gpu", "7"});
  EXPECT_EQ(absent.exit_code, 2) << absent.err;
  const Result nowhere = OnDevice({Bin("device-measurements"), "--quick", "--only", "packets",
                                   "--out", "/nowhere/record.json"});
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_NE(nowhere.err.find("cannot write /nowhere/record.json"), std::string::npos)
      << nowhere.err;
}
#endif

}  // namespace
}  // namespace xsched_hsa_tests

// The main job under attack: two models on one device, and a controller that dies in the middle.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "support/stack.h"

namespace xsched_hsa_tests {
namespace {

std::vector<std::string> Worker(const std::string& model, const std::string& rate,
                                const std::string& result) {
  std::vector<std::string> words = {Bin("dual-model"), "worker", "--seconds", "2",
                                    "--result",        result};
  if (!rate.empty()) words.insert(words.end(), {"--rate", rate});
  words.push_back(std::string(XSCHED_HSA_SOURCE_DIR) +
                  "/tools/dual-model/workloads/resnet_h100.json:" + model);
  return words;
}

class MainJobTest : public testing::Test {
 protected:
  void StartBoth() {
    low_ = stack_.Start("low", Worker("resnet50.b1024", "", directory_.path() + "/low.json"));
    high_ = stack_.Start("high", Worker("resnet18.b1", "20", directory_.path() + "/high.json"));
  }
  // Until the low program has been preempted for the first time.
  bool WaitForAPreemption() {
    for (int i = 0; i < 400; ++i) {
      const nlohmann::json queue = stack_.QueueAt(0);
      if (queue.is_object() && queue["holds"].get<int>() > 0) return true;
      usleep(25'000);
    }
    return false;
  }
  // Both ended by themselves, and each packet and workgroup ran once and in order.
  void ExpectNothingLost() {
    for (const auto& [name, process] :
         {std::pair{"low", low_.get()}, std::pair{"high", high_.get()}}) {
      const Result result = process->Wait(std::chrono::seconds(100));
      EXPECT_EQ(result.exit_code, 0) << name << ": " << result.err;
      std::ifstream file(directory_.path() + "/" + name + ".json");
      const auto record = nlohmann::json::parse(file, nullptr, false);
      ASSERT_TRUE(record.is_object()) << name;
      const auto& check = record["check"];
      EXPECT_GT(check["packets_submitted"], 0) << name;
      EXPECT_EQ(check["packets_submitted"], check["packets_completed"]) << name;
      EXPECT_EQ(check["workgroups_expected"], check["workgroups_done"]) << name;
      EXPECT_EQ(check["order_errors"], 0) << name;
      EXPECT_EQ(check["signal_errors"], 0) << name;
    }
  }

  TemporaryDirectory directory_;
  Stack stack_;
  std::unique_ptr<Process> low_, high_;
};

class MainJobAtEachGateTest : public MainJobTest, public testing::WithParamInterface<const char*> {
 protected:
  MainJobAtEachGateTest() { stack_.UseGate(GetParam()); }
};

TEST_P(MainJobAtEachGateTest, PreemptsAndLosesNothing) {
  stack_.StartController();
  StartBoth();
  EXPECT_TRUE(WaitForAPreemption());
  ExpectNothingLost();
  EXPECT_GT(stack_.QueueAt(0)["packets_held"], 0);
  EXPECT_EQ(stack_.QueueAt(15)["packets_held"], 0);
}

TEST_F(MainJobTest, LosesNothingWhenTheControllerIsKilledInTheMiddle) {
  stack_.StartController();
  StartBoth();
  EXPECT_TRUE(WaitForAPreemption());
  stack_.KillController(SIGKILL);
  ExpectNothingLost();
}

TEST_F(MainJobTest, LosesNothingWhenTheControllerHangsInTheMiddle) {
  stack_.StartController();
  StartBoth();
  EXPECT_TRUE(WaitForAPreemption());
  stack_.KillController(SIGSTOP);
  ExpectNothingLost();
}

INSTANTIATE_TEST_SUITE_P(Gates, MainJobAtEachGateTest, testing::Values("window", "intercept"),
                         [](const auto& gate) { return std::string(gate.param); });

}  // namespace
}  // namespace xsched_hsa_tests

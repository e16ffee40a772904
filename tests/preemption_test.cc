// Preemption in the middle of a kernel, on the real runtime: suspended, squeezed, and always brought
// back, whoever dies. The low program is the offline model at batch 1024: kernels of milliseconds.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>

#include "support/stack.h"

namespace xsched_hsa_tests {
namespace {

constexpr int kLow = 0, kHigh = 15;
constexpr int kTriesMax = 40;
// Some kernels of the low program; a bound for one of them.
constexpr std::chrono::milliseconds kLookApart{200}, kPatienceForAKernel{10'000 * kPatience};

class PreemptionTest : public testing::Test {
 protected:
  // Until ExpectNothingLost() ends it.
  void StartLow() {
    low_ =
        stack_.Start("low", {Bin("dual-model"), "worker", "--seconds", "600", "--result", result_,
                             std::string(XSCHED_HSA_SOURCE_DIR) +
                                 "/tools/dual-model/workloads/resnet_h100.json:resnet50.b1024"});
    ASSERT_TRUE(stack_.WaitForQueue(kLow, "state", "running"));
    low_pid_ = stack_.PidAt(kLow);
  }
  // An urgent program that is busy until FinishUrgent().
  void StartUrgent() {
    urgent_ = stack_.Start("high", {Bin("hsa-exercise"), "busy"});
    ASSERT_TRUE(urgent_->WaitForOutput("ready"));
    ASSERT_TRUE(stack_.WaitForQueue(kHigh, "raise", true));
    urgent_->Write("\n");
    ASSERT_TRUE(urgent_->WaitForOutput("submitted"));
  }
  void FinishUrgent() {
    urgent_->Write("\n");
    EXPECT_TRUE(urgent_->WaitForOutput("completed 1"));
    EXPECT_EQ(urgent_->Wait().exit_code, 0);
  }
  // The first requests are for learning, and a later one may find the running kernel nearly over: the
  // urgent program comes until it has happened.
  void PreemptUntil(const std::string& state) {
    for (int i = 0; i < kTriesMax; ++i) {
      StartUrgent();
      for (int look = 0; look < 10; ++look) {
        const nlohmann::json queue = stack_.QueueAt(kLow);
        if (queue.is_object() && queue["state"] == state) return;
        usleep(10'000);
      }
      FinishUrgent();
    }
    FAIL() << "the low queue never became " << state << ": " << stack_.QueueAt(kLow).dump();
  }
  // How many of its queues the driver keeps off the hardware at once. UPDATE_QUEUE does so by a
  // percentage of 0; a debugger's suspension leaves that alone.
  int Suspended(bool by_debug_trap) {
    int count = 0;
    for (const auto& queue : stack_.DeviceQueues(low_pid_)) {
      if (queue["type"] != "aql" || queue["active"] == true) continue;
      if ((queue["percentage"] != 0) == by_debug_trap) ++count;
    }
    return count;
  }
  // Two looks at the low queue in one and the same restriction, the second when `enough` says so: on a busy
  // machine a lease may end in between, and then the urgent program comes again.
  struct Looks {
    std::uint64_t first = 0, second = 0;  // read indexes
    std::chrono::steady_clock::duration apart{};
  };
  Looks LookTwice(const std::string& state, const std::function<bool(const Looks&)>& enough) {
    const std::string count = state == "squeezed" ? "squeezes" : "suspends";
    for (int i = 0; i < kTriesMax; ++i) {
      PreemptUntil(state);
      if (HasFatalFailure()) break;
      const nlohmann::json first = stack_.QueueAt(kLow);
      const auto began = std::chrono::steady_clock::now();
      nlohmann::json now = first;
      Looks looks;
      while (now["state"] == state && now[count] == first[count]) {
        looks = {first["read"], now["read"], looks.apart};
        if (enough(looks)) return looks;
        usleep(25'000);
        looks.apart = std::chrono::steady_clock::now() - began;
        now = stack_.QueueAt(kLow);
      }
      FinishUrgent();
    }
    ADD_FAILURE() << "never " << state << " for long enough";
    return {};
  }
  void ExpectNothingLost() {
    kill(low_pid_, SIGTERM);
    const Result result = low_->Wait(std::chrono::seconds(100));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::ifstream file(result_);
    const auto record = nlohmann::json::parse(file, nullptr, false);
    ASSERT_TRUE(record.is_object());
    const auto& check = record["check"];
    EXPECT_GT(check["packets_submitted"], 0);
    EXPECT_EQ(check["packets_submitted"], check["packets_completed"]);
    EXPECT_EQ(check["workgroups_expected"], check["workgroups_done"]);
    EXPECT_EQ(check["order_errors"], 0);
    EXPECT_EQ(check["signal_errors"], 0);
  }

  TemporaryDirectory directory_;
  const std::string result_ = directory_.path() + "/low.json";
  Stack stack_;
  std::unique_ptr<Process> low_, urgent_;
  pid_t low_pid_ = 0;
};

class PreemptionAtEachGateTest : public PreemptionTest,
                                 public testing::WithParamInterface<const char*> {
 protected:
  PreemptionAtEachGateTest() { stack_.UseGate(GetParam()); }
};

const std::vector<std::string> kSuspend = {"--mechanisms", "suspend", "--delay-budget", "0",
                                           "--linger-us",  "200000"};
const std::vector<std::string> kSqueeze = {"--mechanisms", "squeeze",     "--squeeze-units",
                                           "16",           "--linger-us", "200000"};

TEST_P(PreemptionAtEachGateTest, SuspendsInTheMiddleOfAKernelAndLosesNothing) {
  stack_.StartController(kSuspend);
  StartLow();
  const Looks looks =
      LookTwice("suspended", [](const Looks& now) { return now.apart >= kLookApart; });
  EXPECT_EQ(looks.second, looks.first) << "a suspended queue went on";
  FinishUrgent();
  ExpectNothingLost();
  EXPECT_GT(stack_.QueueAt(kLow)["suspends"], 0);
}

TEST_P(PreemptionAtEachGateTest, SqueezedQueueGoesOnAndLosesNothing) {
  stack_.StartController(kSqueeze);
  StartLow();
  const Looks looks = LookTwice("squeezed", [](const Looks& now) {
    return now.second > now.first || now.apart >= kPatienceForAKernel;
  });
  EXPECT_GT(looks.second, looks.first) << "a squeezed queue stood still";
  FinishUrgent();
  ExpectNothingLost();
}

// At the queue's creation and at each change of rank; what the program itself has set stays.
TEST_P(PreemptionAtEachGateTest, HardwarePriorityFollowsTheRankUntilTheProgramSetsItsOwn) {
  stack_.StartController({"--mechanisms", "priority"});
  low_ = stack_.Start("low", {Bin("hsa-exercise"), "sets", "10"});
  ASSERT_TRUE(low_->WaitForOutput("ready"));
  urgent_ = stack_.Start("high", {Bin("hsa-exercise"), "paused", "10"});
  ASSERT_TRUE(urgent_->WaitForOutput("ready"));
  ASSERT_TRUE(stack_.WaitForQueue(kHigh, "raise", true));
  // ROCr's own queues are among them.
  const auto has = [&](pid_t pid, const std::vector<int>& any_of) {
    for (const auto& queue : stack_.DeviceQueues(pid)) {
      const int priority = queue["type"] == "aql" ? queue["priority"].get<int>() : -1;
      if (std::find(any_of.begin(), any_of.end(), priority) != any_of.end()) return true;
    }
    return false;
  };
  const auto becomes = [&](pid_t pid, const std::vector<int>& any_of) {
    for (int i = 0; i < 200 && !has(pid, any_of); ++i) usleep(25'000);
    return has(pid, any_of);
  };
  // Through the intercept gate it is ROCr that sets it, which knows three; its highest is 11 since 6.2.
  const bool exact = GetParam() == std::string("window");
  const pid_t low = stack_.PidAt(kLow), high = stack_.PidAt(kHigh);
  EXPECT_TRUE(becomes(low, {0}));
  EXPECT_TRUE(becomes(high, exact ? std::vector{15} : std::vector{15, 11}));
  EXPECT_EQ(stack_.Ctl({"set-priority", std::to_string(low), "12"}).exit_code, 0);
  EXPECT_TRUE(becomes(low, exact ? std::vector{12} : std::vector{15, 11}));
  low_->Write("\n");
  ASSERT_TRUE(low_->WaitForOutput("priority set"));
  EXPECT_TRUE(has(low, {0}));
  EXPECT_EQ(stack_.Ctl({"set-priority", std::to_string(low), "10"}).exit_code, 0);
  EXPECT_TRUE(stack_.WaitForQueue(kLow, "priority", 10));
  for (int i = 0; i < 20; ++i, usleep(10'000)) ASSERT_TRUE(has(low, {0})) << "not ours any more";
  low_->Write("\n");
  ASSERT_TRUE(low_->WaitForOutput("mask set"));
  low_->Write("\n");
  EXPECT_TRUE(low_->WaitForOutput("completed 10"));
  EXPECT_EQ(low_->Wait().exit_code, 0);
}

// ROCr's own update says 100 percent, and resumes what we have suspended.
TEST_P(PreemptionAtEachGateTest, TheProgramsOwnPriorityAndMaskLeaveItSuspended) {
  stack_.StartController(kSuspend);
  low_ = stack_.Start("low", {Bin("hsa-exercise"), "sets", "10"});
  ASSERT_TRUE(low_->WaitForOutput("ready"));
  ASSERT_TRUE(stack_.WaitForQueue(kLow, "state", "idle"));
  low_pid_ = stack_.PidAt(kLow);
  const std::string pid = std::to_string(low_pid_);
  EXPECT_EQ(stack_.Ctl({"suspend", pid}).exit_code, 0);
  ASSERT_TRUE(stack_.WaitForQueue(kLow, "state", "suspended"));
  // That of the queue which is off: what an update of ours sends is what stands there.
  const auto priority = [&] {
    for (const auto& queue : stack_.DeviceQueues(low_pid_)) {
      if (queue["type"] == "aql" && queue["percentage"] == 0) return queue["priority"].get<int>();
    }
    return -1;
  };
  EXPECT_EQ(priority(), 7);
  for (const char* what : {"priority set", "mask set"}) {
    ASSERT_EQ(Suspended(false), 1) << what;
    low_->Write("\n");
    ASSERT_TRUE(low_->WaitForOutput(what));
    EXPECT_EQ(priority(), 0) << what;
  }
  EXPECT_EQ(Suspended(false), 1);
  EXPECT_EQ(stack_.QueueAt(kLow)["state"], "suspended");
  low_->Write("\n");
  ASSERT_TRUE(low_->WaitForOutput("submitted"));
  EXPECT_EQ(stack_.Ctl({"resume", pid}).exit_code, 0);
  EXPECT_TRUE(low_->WaitForOutput("completed 10"));
  EXPECT_EQ(low_->Wait().exit_code, 0);
}

TEST_F(PreemptionTest, SuspendedQueueComesBackWhenTheControllerIsKilled) {
  stack_.StartController(kSuspend);
  StartLow();
  PreemptUntil("suspended");
  stack_.KillController(SIGKILL);
  ExpectNothingLost();
}

TEST_F(PreemptionTest, SuspendedQueueComesBackWhenTheControllerHangs) {
  stack_.StartController(kSuspend);
  StartLow();
  PreemptUntil("suspended");
  stack_.KillController(SIGSTOP);
  ExpectNothingLost();
}

TEST_F(PreemptionTest, SuspendedQueueComesBackWhenTheUrgentProgramIsKilled) {
  stack_.StartController(kSuspend);
  StartLow();
  PreemptUntil("suspended");
  kill(stack_.PidAt(kHigh), SIGKILL);
  ExpectNothingLost();
}

TEST_F(PreemptionTest, SqueezedQueueHasAllItsUnitsAgainWhenTheControllerIsKilled) {
  stack_.StartController(kSqueeze);
  StartLow();
  PreemptUntil("squeezed");
  stack_.KillController(SIGKILL);
  ExpectNothingLost();
}

TEST_F(PreemptionTest, SuspendsTheQueuesOfAProgramTogether) {
  for (const char* batch : {"1", "0"}) {
    stack_.StartController(kSuspend);
    low_ = stack_.Start(
        "low", {"env", std::string("XSCHED_HSA_DEBUG_TRAP=") + batch, Bin("many-streams"), "3"});
    ASSERT_TRUE(stack_.WaitForQueue(kLow, "state", "running"));
    low_pid_ = stack_.PidAt(kLow);
    bool together = false;
    for (int i = 0; i < kTriesMax && !together; ++i) {
      StartUrgent();
      for (int look = 0; look < 5 && !together; ++look) together = Suspended(*batch == '1') >= 2;
      FinishUrgent();
    }
    EXPECT_TRUE(together) << batch;
    kill(low_pid_, SIGTERM);
    const Result result = low_->Wait(std::chrono::seconds(100));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const bool said = result.err.find("suspended together") != std::string::npos;
    EXPECT_EQ(said, *batch == '1') << result.err;
    stack_.KillController(SIGTERM);
  }
}

TEST_F(PreemptionTest, ExplainsWhatItDid) {
  stack_.StartController(kSuspend);
  StartLow();
  PreemptUntil("suspended");
  FinishUrgent();
  const auto living = nlohmann::json::parse(stack_.Ctl({"explain", "--json"}).out)["processes"][0];
  EXPECT_GT(living["cycle_ms"], 0);
  EXPECT_GT(living["reaction_ms"], 0);
  EXPECT_TRUE(living["mask_ms"].is_null()) << "it was never squeezed";
  ExpectNothingLost();
  const Result result = stack_.Ctl({"explain", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto told = nlohmann::json::parse(result.out);
  ASSERT_EQ(told["processes"].size(), 1u) << result.out;
  bool suspended = false, measured = false;
  for (const auto& decision : told["processes"][0]["decisions"]) {
    if (decision["mechanism"] != "suspend") continue;
    suspended = true;
    EXPECT_GT(decision["rest_ms"], 0);
    EXPECT_GT(decision["driver_ms"], 0);
    EXPECT_GT(decision["request_ms"], 0);
    EXPECT_TRUE(decision["predicted_delay_ms"].is_number());
    EXPECT_TRUE(decision["rest_spread_ms"].is_number());
    // Longer than the driver calls of it: those are in it.
    measured = measured || (decision["measured_ms"].is_number() &&
                            decision["measured_ms"] > decision["driver_ms"]);
    EXPECT_FALSE(decision["reason"].get<std::string>().empty());
    EXPECT_TRUE(decision["error"].is_null()) << decision.dump();
  }
  EXPECT_TRUE(suspended);
  EXPECT_TRUE(measured) << result.out;
  const std::string text = stack_.Ctl({"explain"}).out;
  for (const char* column : {"REST-MS", "+-MS", "DELAY-MS", "TOOK-MS", "BECAUSE"}) {
    EXPECT_NE(text.find(column), std::string::npos) << column << "\n" << text;
  }
  EXPECT_NE(stack_.Ctl({"explain", "1"}).exit_code, 0) << "no such program is an error";
}

INSTANTIATE_TEST_SUITE_P(Gates, PreemptionAtEachGateTest, testing::Values("window", "intercept"),
                         [](const auto& gate) { return std::string(gate.param); });

}  // namespace
}  // namespace xsched_hsa_tests

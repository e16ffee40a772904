// The layer in real processes on the real runtime, on the virtual GPU, beside a real controller.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "support/rivals.h"

namespace xsched_hsa_tests {
namespace {

std::vector<std::string> Exercise(const std::string& verb, const std::string& count = "10",
                                  const std::string& more = "") {
  std::vector<std::string> words = {Bin("hsa-exercise"), verb, count};
  if (!more.empty()) words.push_back(more);
  return words;
}

class LayerTest : public RivalsTest, public testing::WithParamInterface<const char*> {
 protected:
  LayerTest() { stack_.UseGate(GetParam()); }
  std::unique_ptr<Process> StartLow(const std::string& verb = "paused",
                                    const std::string& count = "10") {
    return RivalsTest::StartLow(Exercise(verb, count));
  }
  void SubmitHeld(Process* low, int packets) {
    RivalsTest::SubmitHeld(low);
    EXPECT_EQ(stack_.QueueAt(kLow)["packets_held"], packets);
  }
};

class GateRequestTest : public testing::Test {
 protected:
  Stack stack_;
};

TEST_P(LayerTest, PassesEverythingThroughWithoutAController) {
  const Result result = stack_.Start("low", Exercise("barriers", "2000"))->Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("completed 2000"), std::string::npos) << result.out;
  EXPECT_NE(result.err.find("passing through"), std::string::npos) << result.err;
}

TEST_P(LayerTest, RuntimeShowsTheSameAgentsWithAndWithoutIt) {
  stack_.StartController(kPatient);
  const Result plain = stack_.StartPlain({"rocminfo"})->Wait();
  const Result layered = stack_.Start("normal", {"rocminfo"})->Wait();
  EXPECT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_EQ(plain.out, layered.out);
}

TEST_P(LayerTest, RegistersItsQueuesAndTakesThemBack) {
  stack_.StartController(kPatient);
  auto program = StartLow();
  program->Write("\n");
  const Result result = program->Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "destroyed"));
  EXPECT_EQ(stack_.QueueAt(kLow)["submitted"], 10);
}

TEST_P(LayerTest, HoldsLowWhileHighIsBusyAndReleasesItAfter) {
  stack_.StartController(kPatient);
  auto low = StartLow();
  StartHigh();
  SubmitHeld(low.get(), 10);
  sleep(1);
  EXPECT_FALSE(low->WaitForOutput("completed", std::chrono::seconds(0)));
  high_->Write("\n");
  EXPECT_TRUE(high_->WaitForOutput("completed 1"));
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
  EXPECT_EQ(low->Wait().exit_code, 0);
  EXPECT_EQ(stack_.QueueAt(kHigh)["packets_held"], 0);
}

TEST_P(LayerTest, LowIsLetRunAfterAWhileBesideAHighThatNeverPauses) {
  stack_.StartController({"--linger-us", "200000", "--param", "hold_max_ms=200"});
  auto low = StartLow();
  StartHigh();
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
  EXPECT_GT(stack_.QueueAt(kLow)["held_max_ms"], 100.0);
  EXPECT_FALSE(high_->WaitForOutput("completed 1", std::chrono::seconds(0)));
  high_->Write("\n");
  EXPECT_TRUE(high_->WaitForOutput("completed 1"));
}

TEST_P(LayerTest, ReleasesLowWhenTheBusyHighProgramIsKilled) {
  stack_.StartController(kPatient);
  auto low = StartLow();
  StartHigh();
  SubmitHeld(low.get(), 10);
  kill(stack_.PidAt(kHigh), SIGKILL);
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
  EXPECT_EQ(low->Wait().exit_code, 0);
}

TEST_P(LayerTest, ReleasesHeldPacketsWhenTheControllerIsKilled) {
  stack_.StartController(kPatient);
  auto low = StartLow();
  StartHigh();
  SubmitHeld(low.get(), 10);
  stack_.KillController(SIGKILL);
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
  EXPECT_EQ(low->Wait().exit_code, 0);
}

TEST_P(LayerTest, ReleasesHeldPacketsWhenTheControllerHangs) {
  stack_.StartController(kPatient);
  auto low = StartLow();
  StartHigh();
  SubmitHeld(low.get(), 10);
  stack_.KillController(SIGSTOP);
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
  EXPECT_EQ(low->Wait().exit_code, 0);
}

TEST_P(LayerTest, ReconnectsToANewController) {
  stack_.StartController(kPatient);
  auto low = StartLow();
  stack_.KillController(SIGKILL);
  stack_.StartController(kPatient);
  EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "idle"));
  StartHigh();
  SubmitHeld(low.get(), 10);
  high_->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
}

TEST_P(LayerTest, HoldsByOrderUntilReleased) {
  stack_.StartController(kPatient);
  auto low = StartLow();
  const std::string pid = std::to_string(stack_.PidAt(kLow));
  EXPECT_EQ(stack_.Ctl({"hold", pid}).exit_code, 0);
  SubmitHeld(low.get(), 10);
  EXPECT_EQ(stack_.Ctl({"release", pid}).exit_code, 0);
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
}

TEST_P(LayerTest, PriorityChangeReleasesWhatWasHeld) {
  stack_.StartController(kPatient);
  auto low = StartLow();
  StartHigh();
  SubmitHeld(low.get(), 10);
  EXPECT_EQ(stack_.Ctl({"set-priority", std::to_string(stack_.PidAt(kLow)), "high"}).exit_code, 0);
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
}

TEST_P(LayerTest, DestroyingAHeldQueueDoesNotHang) {
  stack_.StartController(kPatient);
  auto low = StartLow("destroy");
  StartHigh();
  SubmitHeld(low.get(), 10);
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("left"));
  EXPECT_EQ(low->Wait().exit_code, 0);
}

TEST_P(LayerTest, ExitWithHeldPacketsDoesNotHang) {
  stack_.StartController(kPatient);
  auto low = StartLow("exit");
  StartHigh();
  SubmitHeld(low.get(), 10);
  low->Write("\n");
  const Result result = low->Wait();
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_P(LayerTest, ManyProducersLoseNothingWhileHeldAndReleased) {
  stack_.StartController(kPatient);
  auto low = stack_.Start("low", Exercise("threads", "4", "20000"));
  EXPECT_TRUE(low->WaitForOutput("ready"));
  const std::string pid = std::to_string(stack_.PidAt(kLow));
  int orders = 0;
  while (!low->WaitForOutput("completed", std::chrono::seconds(0)) && orders < 60) {
    stack_.Ctl({orders % 2 == 0 ? "hold" : "release", pid});
    ++orders;
  }
  stack_.Ctl({"release", pid});
  EXPECT_TRUE(low->WaitForOutput("completed 80000"));
  EXPECT_EQ(low->Wait().exit_code, 0);
  EXPECT_GT(orders, 1) << "the program was done before anything was held";
}

TEST_P(LayerTest, LeavesAQueueAloneThatBypassesTheApi) {
  stack_.StartController(kPatient);
  auto low = StartLow("foreign", "40");
  StartHigh();
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("completed 40"));
  EXPECT_TRUE(low->WaitForOutput("foreign done"));
  EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "foreign"));
  low->Write("\n");
  EXPECT_EQ(low->Wait().exit_code, 0);
}

TEST_P(LayerTest, ForkedChildTouchesNothing) {
  stack_.StartController(kPatient);
  const Result result = stack_.Start("low", Exercise("fork", "100"))->Wait();
  EXPECT_NE(result.out.find("child ok"), std::string::npos) << result.out << result.err;
  EXPECT_NE(result.out.find("completed 200"), std::string::npos) << result.out << result.err;
  EXPECT_EQ(result.exit_code, 0);
}

TEST_P(LayerTest, SlotsAreReusedThroughQueueChurn) {
  stack_.StartController(kPatient);
  const Result result =
      stack_.Start("low", Exercise("churn", "400"))->Wait(std::chrono::seconds(120));
  EXPECT_NE(result.out.find("completed 4000"), std::string::npos) << result.out << result.err;
  EXPECT_EQ(result.exit_code, 0);
}

TEST_P(LayerTest, SurvivesShutDownAndASecondInit) {
  stack_.StartController(kPatient);
  const Result result = stack_.Start("low", Exercise("reinit", "50"))->Wait();
  EXPECT_NE(result.out.find("completed 50"), std::string::npos) << result.out << result.err;
  EXPECT_EQ(result.exit_code, 0);
}

TEST_P(LayerTest, SaysWhatIsWrongWithAPriorityAndRunsOn) {
  const Result result = stack_.Start("urgent", Exercise("barriers"))->Wait();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("XSCHED_HSA_PRIORITY is 'urgent'"), std::string::npos) << result.err;
}

TEST_P(LayerTest, SaysWhichGateAQueueHas) {
  const Result result = stack_.Start("low", Exercise("barriers"))->Wait();
  EXPECT_NE(result.err.find(std::string(GetParam()) + " gate"), std::string::npos) << result.err;
}

// More packets than ROCr's own ring can take with their marks, behind a latch: the program sees room
// for as many as its ring has, then back-pressure, and nothing is lost.
TEST_P(LayerTest, FillsTheWholeRingBehindABlockedPacket) {
  stack_.StartController(kPatient);
  auto low = stack_.Start("low", Exercise("blocked", "256"));
  ASSERT_TRUE(low->WaitForOutput("ready"));
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("submitted"));
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("completed 256"));
  low->Write("\n");
  EXPECT_EQ(low->Wait().exit_code, 0);
}

TEST_F(GateRequestTest, NoneLeavesEveryQueueAlone) {
  stack_.UseGate("none");
  stack_.StartController(kPatient);
  const Result result = stack_.Start("low", Exercise("barriers", "2000"))->Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("completed 2000"), std::string::npos) << result.out;
  EXPECT_NE(result.err.find("XSCHED_HSA_GATE is none"), std::string::npos) << result.err;
  const nlohmann::json list = stack_.List();
  ASSERT_EQ(list["processes"].size(), 1u);
  EXPECT_TRUE(list["processes"][0]["queues"].empty());
}

TEST_F(GateRequestTest, SaysWhatIsWrongAndUsesTheDefault) {
  stack_.UseGate("door");
  const Result result = stack_.Start("low", Exercise("barriers"))->Wait();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("XSCHED_HSA_GATE is 'door'"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("window gate"), std::string::npos) << result.err;
}

INSTANTIATE_TEST_SUITE_P(Gates, LayerTest, testing::Values("window", "intercept"),
                         [](const auto& gate) { return std::string(gate.param); });

}  // namespace
}  // namespace xsched_hsa_tests

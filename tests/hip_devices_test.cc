// HIP programs with lists of visible devices, and ones that end in the middle of a stream callback.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "support/rivals.h"

namespace xsched_hsa_tests {
namespace {

using Words = std::vector<std::string>;

const std::string& Program() {
  static const std::string program = BuildFile("tests/hip/hip_devices");
  return program;
}

// A shim above HIP ended programs with "invalid device ordinal", whichever devices they were shown.
TEST(HipVisibleDevicesTest, EachDeviceWorksAndTheOneTooManyIsInvalidAsWithoutTheLayer) {
  Stack stack({"--gpus", "2"});
  stack.StartController();
  for (const Words& shown : {Words{"HIP_VISIBLE_DEVICES=1,0"},
                             Words{"ROCR_VISIBLE_DEVICES=1,0", "HIP_VISIBLE_DEVICES=1"},
                             Words{"HIP_VISIBLE_DEVICES=7"}}) {
    Words command = {"env"};
    command.insert(command.end(), shown.begin(), shown.end());
    command.push_back(Program());
    const Result plain = stack.StartPlain(command)->Wait();
    const Result layered = stack.Start("low", command)->Wait();
    const std::string what = testing::PrintToString(shown);
    EXPECT_EQ(plain.exit_code, 0) << what << plain.out << plain.err;
    EXPECT_EQ(layered.out, plain.out) << what << layered.err;
    EXPECT_EQ(layered.exit_code, 0) << what << layered.err;
    if (shown.back() == "HIP_VISIBLE_DEVICES=7") {
      EXPECT_NE(plain.out.find(" 0 devices"), std::string::npos) << plain.out;
      continue;
    }
    EXPECT_NE(plain.out.find(": 0 wrong"), std::string::npos) << what << plain.out;
    EXPECT_NE(plain.out.find("hipErrorInvalidDevice"), std::string::npos) << what << plain.out;
    EXPECT_NE(layered.err.find(" managed, "), std::string::npos) << layered.err;
  }
}

class HipCallbackEndTest : public testing::TestWithParam<const char*> {};

// Kernels lie behind the callback, published or held; somebody else goes on.
TEST_P(HipCallbackEndTest, EndsAsWithoutTheLayerAndKeepsNobodyUp) {
  const std::string how = GetParam();
  const bool killed = how == "wait";
  Stack stack;
  stack.StartController(kPatient);
  const auto end = [&](Process* program, pid_t pid) {
    EXPECT_TRUE(program->WaitForOutput("ready"));
    program->Write("\n");
    EXPECT_TRUE(program->WaitForOutput("in the callback"));
    if (killed) kill(pid != 0 ? pid : program->pid(), SIGKILL);
    return program->Wait(std::chrono::seconds(20));
  };
  auto low = stack.Start("low", {Program(), "callback", how});
  EXPECT_TRUE(low->WaitForOutput("ready"));
  const pid_t pid = stack.PidAt(kLow);
  const Result layered = end(low.get(), pid);
  EXPECT_FALSE(layered.timed_out);
  EXPECT_EQ(layered.exit_code, killed           ? 128 + SIGKILL
                               : how == "abort" ? 128 + SIGABRT
                                                : 7)
      << layered.err;
  EXPECT_EQ(stack.DeviceQueues(pid).size(), 0u) << "its queues went with it";
  const Result next = stack.Start("low", {Bin("hsa-exercise"), "barriers", "200"})->Wait();
  EXPECT_NE(next.out.find("completed 200"), std::string::npos) << next.out << next.err;
}

INSTANTIATE_TEST_SUITE_P(Ends, HipCallbackEndTest, testing::Values("exit", "abort", "wait"),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace xsched_hsa_tests

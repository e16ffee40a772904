// Programs that end, or die, in every state that the layer can have them in: at once, with the code that
// they would have without it, and nobody else notices.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <tuple>

#include "support/stack.h"

namespace xsched_hsa_tests {
namespace {

constexpr int kLow = 0;
constexpr std::chrono::seconds kSoon(20);  // a hang is for ever

// What was done to it (the tool's verb, its further words, the state that it shows) and how it ends.
struct Done {
  const char* name;
  std::vector<std::string> order;
  const char* state;
};
const Done kDone[] = {{"held", {"hold"}, "held"},
                      {"suspended", {"suspend"}, "suspended"},
                      {"squeezed", {"cu-mask", "16"}, "idle"}};

class EndingTest : public testing::TestWithParam<std::tuple<int, int, const char*>> {
 protected:
  EndingTest() {
    stack_.UseGate(std::get<2>(GetParam()));
    stack_.StartControllerOnDevice();
  }
  Stack stack_;
};

TEST_P(EndingTest, IsOverAtOnceAndTheNextProgramRuns) {
  const Done& done = kDone[std::get<0>(GetParam())];
  const int signal = std::get<1>(GetParam());
  auto low = stack_.Start("low", {Bin("hsa-exercise"), "exit", "40"});
  ASSERT_TRUE(low->WaitForOutput("ready"));
  ASSERT_TRUE(stack_.WaitForQueue(kLow, "state", "idle"));
  const pid_t pid = stack_.PidAt(kLow);
  std::vector<std::string> order = {done.order[0], std::to_string(pid)};
  order.insert(order.end(), done.order.begin() + 1, done.order.end());
  const Result ordered = stack_.Ctl(order);
  ASSERT_EQ(ordered.exit_code, 0) << ordered.err;
  low->Write("\n");
  ASSERT_TRUE(low->WaitForOutput("submitted"));
  if (std::string(done.name) != "squeezed") {
    ASSERT_TRUE(stack_.WaitForQueue(kLow, "state", done.state));
    EXPECT_EQ(stack_.QueueAt(kLow)["read"], 0) << "a packet ran";
  }
  if (signal != 0) {
    kill(pid, signal);
  } else {
    low->Write("\n");
  }
  const Result result = low->Wait(kSoon);
  EXPECT_FALSE(result.timed_out) << "it hangs";
  EXPECT_EQ(result.exit_code, signal == 0 ? 0 : 128 + signal) << result.err;
  EXPECT_EQ(stack_.DeviceQueues(pid).size(), 0u) << "its queues went with it";
  const Result next = stack_.Start("low", {Bin("hsa-exercise"), "barriers", "200"})->Wait(kSoon);
  EXPECT_NE(next.out.find("completed 200"), std::string::npos) << next.out << next.err;
}

INSTANTIATE_TEST_SUITE_P(States, EndingTest,
                         testing::Combine(testing::Range(0, 3), testing::Values(0, SIGSEGV),
                                          testing::Values("window", "intercept")),
                         [](const auto& param) {
                           const int signal = std::get<1>(param.param);
                           return std::string(kDone[std::get<0>(param.param)].name) +
                                  (signal == 0 ? "_exit_" : "_crash_") + std::get<2>(param.param);
                         });

}  // namespace
}  // namespace xsched_hsa_tests

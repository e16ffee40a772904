// An urgent queue that waits for a less urgent one: holding that one would hold both for ever.
#include <gtest/gtest.h>
#include <unistd.h>

#include "support/stack.h"

namespace xsched_hsa_tests {
namespace {

// Or a held queue is let run after half a second, and nothing deadlocks, whatever it waits for.
const std::vector<std::string> kNoMercy = {"--param", "guaranteed_share_percent=0"};

class DependencyTest : public testing::TestWithParam<const char*> {
 protected:
  DependencyTest() { stack_.UseGate(GetParam()); }
  // One program with a chain of queues; `priorities` in the order in which they wait for each other.
  void StartChain(const std::vector<std::string>& priorities) {
    StartQueues({"depends", "10", std::to_string(priorities.size())}, priorities);
  }
  void StartQueues(std::vector<std::string> words, const std::vector<std::string>& priorities) {
    words.insert(words.begin(), Bin("hsa-exercise"));
    program_ = stack_.Start("normal", words);
    ASSERT_TRUE(program_->WaitForOutput("ready"));
    // On a busy machine the layer may have joined, and told of its queues, later than the program was ready.
    const auto process_of = [](const nlohmann::json& list) {
      return list["processes"].empty() ? nlohmann::json() : list["processes"].back();
    };
    nlohmann::json process;
    for (int look = 0;
         look < 200 && (process.is_null() || process["queues"].size() < priorities.size());
         ++look) {
      if (look > 0) usleep(100'000);
      process = process_of(stack_.List());
    }
    ASSERT_FALSE(process.is_null());
    ASSERT_EQ(process["queues"].size(), priorities.size());
    for (std::size_t i = 0; i < priorities.size(); ++i) {
      const std::string name = std::to_string(process["pid"].get<int>()) + ":" +
                               std::to_string(process["queues"][i]["serial"].get<int>());
      ASSERT_EQ(stack_.Ctl({"set-priority", name, priorities[i]}).exit_code, 0);
    }
  }
  void RunChain() {
    program_->Write("\n");
    ASSERT_TRUE(program_->WaitForOutput("waiting"));
    program_->Write("\n");
    EXPECT_TRUE(program_->WaitForOutput("completed 1"));
    EXPECT_EQ(program_->Wait().exit_code, 0);
  }

  Stack stack_;
  std::unique_ptr<Process> program_;
};

TEST_P(DependencyTest, HighQueueThatWaitsForALowOneOfItsProcessEnds) {
  stack_.StartController(kNoMercy);
  StartChain({"high", "low"});
  RunChain();
}

TEST_P(DependencyTest, ChainOverThreeQueuesEnds) {
  stack_.StartController(kNoMercy);
  StartChain({"high", "normal", "low"});
  RunChain();
}

// Not only barrier-AND packets wait; and a host thread may stand in between.
TEST_P(DependencyTest, HighQueueThatWaitsByAnotherPacketOrThroughTheHostEnds) {
  stack_.StartController(kNoMercy);
  for (const char* kind : {"or", "value", "host"}) {
    SCOPED_TRACE(kind);
    StartQueues({"depends-by", "10", kind}, {"high", "low"});
    RunChain();
  }
}

// The one in the middle ranks below what it waits for: what it inherits has to be passed on.
TEST_P(DependencyTest, ChainThroughALowQueueToANormalOneEnds) {
  stack_.StartController(kNoMercy);
  StartChain({"high", "low", "normal", "low"});
  RunChain();
}

TEST_P(DependencyTest, ChainThatDoublesBackEnds) {
  stack_.StartController(kNoMercy);
  StartChain({"normal", "high", "low", "high", "low"});
  RunChain();
}

// Nothing of the waiting program can run; the other one goes on, though the wait is not over.
TEST_P(DependencyTest, HighQueueThatWaitsForItsHostHoldsNobody) {
  stack_.StartController(kNoMercy);
  auto high = stack_.Start("high", {Bin("hsa-exercise"), "blocked", "1"});
  auto low = stack_.Start("low", {Bin("hsa-exercise"), "paused", "10"});
  ASSERT_TRUE(high->WaitForOutput("ready"));
  ASSERT_TRUE(low->WaitForOutput("ready"));
  ASSERT_TRUE(stack_.WaitForQueue(15, "raise", true));
  high->Write("\n");
  ASSERT_TRUE(high->WaitForOutput("submitted"));
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
  EXPECT_EQ(low->Wait().exit_code, 0);
  // And it is urgent again when its turn has come.
  high->Write("\n");
  EXPECT_TRUE(high->WaitForOutput("completed 1"));
}

// A third program between the two levels stays held while the low queue works for the high one.
TEST_P(DependencyTest, NobodyGetsBetweenAHighQueueAndTheLowOneItWaitsFor) {
  stack_.StartController(kNoMercy);
  StartChain({"high", "low"});
  auto middle = stack_.Start("normal", {Bin("hsa-exercise"), "paused", "10"});
  ASSERT_TRUE(middle->WaitForOutput("ready"));
  program_->Write("\n");
  ASSERT_TRUE(program_->WaitForOutput("waiting"));
  middle->Write("\n");
  ASSERT_TRUE(middle->WaitForOutput("submitted"));
  program_->Write("\n");
  EXPECT_TRUE(program_->WaitForOutput("completed 1"));
  EXPECT_TRUE(middle->WaitForOutput("completed 10"));
  EXPECT_EQ(program_->Wait().exit_code, 0);
  EXPECT_EQ(middle->Wait().exit_code, 0);
}

INSTANTIATE_TEST_SUITE_P(Gates, DependencyTest, testing::Values("window", "intercept"),
                         [](const auto& gate) { return std::string(gate.param); });

}  // namespace
}  // namespace xsched_hsa_tests

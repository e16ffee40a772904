// rivals.h: a low program, and a high one that is busy for as long as the test wants.
//
// Why        Much of what is tried has to happen while a queue is held: by somebody who stays urgent, under a
//            controller that lets nothing through meanwhile.
// Threads    one.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "stack.h"

namespace xsched_hsa_tests {

inline constexpr int kLow = 0, kHigh = 15;

// For the controller: "busy" has a packet every 10 ms, and stays urgent in between.
inline const std::vector<std::string> kPatient = {
    "--linger-us", std::to_string(200'000 * kPatience), "--param", "guaranteed_share_percent=0"};

class RivalsTest : public testing::Test {
 protected:
  explicit RivalsTest(const std::vector<std::string>& device = {}) : stack_(device) {}

  // A program that says "ready" when it has a queue.
  std::unique_ptr<Process> StartLow(const std::vector<std::string>& command) {
    auto low = stack_.Start("low", command);
    const bool ready = low->WaitForOutput("ready");
    EXPECT_TRUE(ready) << (ready ? "" : low->Wait().err);
    EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "idle"));
    return low;
  }
  // Urgent until FinishHigh().
  void StartHigh(const std::vector<std::string>& launcher = {}) {
    std::vector<std::string> command = launcher;
    command.insert(command.end(), {Bin("hsa-exercise"), "busy"});
    high_ = stack_.Start("high", command);
    ASSERT_TRUE(high_->WaitForOutput("ready"));
    ASSERT_TRUE(stack_.WaitForQueue(kHigh, "raise", true));
    high_->Write("\n");
    ASSERT_TRUE(high_->WaitForOutput("submitted"));
    ASSERT_TRUE(stack_.WaitForQueue(kHigh, "active", true));
  }
  void FinishHigh() {
    high_->Write("\n");
    EXPECT_TRUE(high_->WaitForOutput("completed 1"));
    EXPECT_EQ(high_->Wait().exit_code, 0);
  }
  // At its first line it submits, and nothing of that runs.
  void SubmitHeld(Process* low) {
    low->Write("\n");
    EXPECT_TRUE(low->WaitForOutput("submitted"));
    EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "held"));
    EXPECT_EQ(stack_.QueueAt(kLow)["read"], 0) << "a packet ran through a closed gate";
  }

  Stack stack_;
  std::unique_ptr<Process> high_;
};

}  // namespace xsched_hsa_tests

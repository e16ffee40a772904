// What costs nothing while nothing competes: no system call a dispatch, no wake-up of anything idle.
#include <gtest/gtest.h>
#include <poll.h>

#include <filesystem>
#include <fstream>

#include "support/stack.h"

namespace xsched_hsa_tests {
namespace {

constexpr int kIdleMs = 2000;
constexpr int kNormal = 7, kLow = 0, kHigh = 15;

class QuietTest : public testing::Test {
 protected:
  // What quiet-dispatch says of its calls.
  std::string Dispatch(Process* program) {
    EXPECT_TRUE(program->WaitForOutput("ready"));
    program->Write("\n");
    const Result result = program->Wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }

  Stack stack_;
};

TEST_F(QuietTest, UnarmedDispatchMakesNoSystemCall) {
  stack_.StartController();
  auto program = stack_.Start("normal", {Bin("quiet-dispatch")});
  ASSERT_TRUE(program->WaitForOutput("ready"));
  ASSERT_TRUE(stack_.WaitForQueue(kNormal, "state", "idle"));
  EXPECT_NE(Dispatch(program.get()).find("dispatches 10000 calls 0 "), std::string::npos);
}

TEST_F(QuietTest, DispatchWithoutAControllerMakesNoSystemCall) {
  auto program = stack_.Start("normal", {Bin("quiet-dispatch")});
  EXPECT_NE(Dispatch(program.get()).find("dispatches 10000 calls 0 "), std::string::npos);
}

TEST_F(QuietTest, ASystemCallWouldBeSeen) {
  auto program = stack_.StartPlain({Bin("quiet-dispatch"), "--one-call"});
  const std::string out = Dispatch(program.get());
  EXPECT_NE(out.find("dispatches 10000 calls 1 last "), std::string::npos) << out;
}

// Times a thread gave the processor up by itself: each is a wake-up.
long WakeUps(const std::filesystem::path& task) {
  std::ifstream file(task / "status");
  long count = 0;
  for (std::string word; file >> word;) {
    if (word == "voluntary_ctxt_switches:") file >> count;
  }
  return count;
}

std::string NameOf(const std::filesystem::path& task) {
  std::ifstream file(task / "comm");
  std::string name;
  std::getline(file, name);
  return name;
}

// By "pid name", of the threads whose name begins so.
std::map<std::string, long> WakeUpsOf(int pid, const std::string& prefix) {
  std::map<std::string, long> found;
  const std::string folder = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(folder)) {
    const std::string name = NameOf(task.path());
    if (name.starts_with(prefix)) found[std::to_string(pid) + " " + name] = WakeUps(task.path());
  }
  return found;
}

// The controller, and the layer's threads in a program that has sent a request and in one that is
// armed: seconds without a request, and nobody wakes up.
TEST_F(QuietTest, IdleControllerAndLayersDoNotWakeUp) {
  stack_.StartController();
  auto low = stack_.Start("low", {Bin("hsa-exercise"), "blocked", "10"});
  auto high = stack_.Start("high", {Bin("hsa-exercise"), "blocked", "10"});
  ASSERT_TRUE(low->WaitForOutput("ready"));
  ASSERT_TRUE(high->WaitForOutput("ready"));
  ASSERT_TRUE(stack_.WaitForQueue(kLow, "armed", true));
  ASSERT_TRUE(stack_.WaitForQueue(kHigh, "raise", true));
  for (const char* text : {"submitted", "completed"}) {
    high->Write("\n");
    ASSERT_TRUE(high->WaitForOutput(text));
  }
  ASSERT_TRUE(stack_.WaitForQueue(kHigh, "active", false));
  poll(nullptr, 0, 200);  // what the request left behind is over

  const int low_pid = stack_.PidAt(kLow), high_pid = stack_.PidAt(kHigh);
  const auto all = [&] {
    auto found = WakeUpsOf(stack_.controller_pid(), "");
    found.merge(WakeUpsOf(low_pid, "xsched-"));
    found.merge(WakeUpsOf(high_pid, "xsched-"));
    return found;
  };
  const auto before = all();
  ASSERT_GE(before.size(), 5u) << "the controller, two pumps, two sessions";
  poll(nullptr, 0, kIdleMs);  // the time is the measurement
  const auto after = all();
  for (const auto& [name, count] : before) {
    EXPECT_LE(after.at(name) - count, 1) << name << " woke up while nothing competed";
  }
}

}  // namespace
}  // namespace xsched_hsa_tests

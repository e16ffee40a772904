// The layer beside what else may be in a program: other tools of the runtime, preloaded libraries,
// Python's processes, lists of visible devices.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <tuple>

#include "support/rivals.h"

namespace xsched_hsa_tests {
namespace {

constexpr int kPackets = 40;

using Words = std::vector<std::string>;

class CompanionTest : public RivalsTest {
 protected:
  explicit CompanionTest(const Words& device = {}) : RivalsTest(device) {
    stack_.StartController(kPatient);
  }
  // It submits, is held behind `high`, and goes on afterwards.
  Result HoldAndFinish(Process* low, int packets = kPackets) {
    StartHigh();
    SubmitHeld(low);
    EXPECT_EQ(stack_.QueueAt(kLow)["packets_held"], packets);
    FinishHigh();
    Result result = low->Wait();
    EXPECT_NE(result.out.find("completed " + std::to_string(packets)), std::string::npos)
        << result.out << result.err;
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result;
  }
  static void ExpectSaid(const Result& result, const std::string& text) {
    EXPECT_NE(result.err.find(text), std::string::npos) << text << "\n--- in\n" << result.err;
  }
};

const Words kPaused = {Bin("hsa-exercise"), "paused", std::to_string(kPackets)};

// --------------------------------------------------------------------------- other tools

// Which tool, whether it is loaded before the layer, and the gate that is asked for.
class OtherToolTest
    : public CompanionTest,
      public testing::WithParamInterface<std::tuple<const char*, bool, const char*>> {
 protected:
  OtherToolTest() {
    const auto& [tool, before, gate] = GetParam();
    const std::string library = BuildFile(std::string("lib/lib") + tool + ".so");
    stack_.UseGate(gate);
    stack_.UseEnvironment(
        {{"HSA_TOOLS_LIB", before ? library + " " + Layer() : Layer() + " " + library}});
  }
};

TEST_P(OtherToolTest, BothSeeEveryPacketAndTheProgramIsHeld) {
  const auto& [tool, before, gate] = GetParam();
  const bool intercepts = std::string(tool) == "foreign-intercept-tool";
  auto low = StartLow(kPaused);
  EXPECT_TRUE(stack_.QueueAt(kLow)["kfd_queue_id"].is_number()) << "it could not be suspended";
  const Result result = HoldAndFinish(low.get());
  ExpectSaid(result, "foreign-tool: queues 1, packets " + std::to_string(kPackets) +
                         (intercepts ? "\n" : ", rung for\n"));
  if (before) ExpectSaid(result, std::string("lib") + tool + ".so was loaded before us");
  if (intercepts) {
    ExpectSaid(result, "intercept gate");
    if (!before) ExpectSaid(result, "was made by a tool that was loaded after us");
  } else if (before && std::string(gate) == "intercept") {
    ExpectSaid(result, "has the window gate, not the intercept gate: it was made by another tool");
  } else {
    ExpectSaid(result, std::string(gate) + " gate");
  }
}

INSTANTIATE_TEST_SUITE_P(Tools, OtherToolTest,
                         testing::Combine(testing::Values("foreign-tool", "foreign-intercept-tool"),
                                          testing::Bool(), testing::Values("window", "intercept")),
                         [](const auto& param) {
                           const std::string tool = std::get<0>(param.param);
                           return std::string(tool == "foreign-tool" ? "wraps" : "intercepts") +
                                  (std::get<1>(param.param) ? "_before_" : "_after_") +
                                  std::get<2>(param.param);
                         });

// More packets than its ring has, each with what the tool adds: ROCr 5.2.3 aborts where its own
// overflows.
class ManyPacketsBesideAToolTest : public CompanionTest,
                                   public testing::WithParamInterface<bool> {};

TEST_P(ManyPacketsBesideAToolTest, RocrsRingDoesNotOverflow) {
  const std::string library = BuildFile("lib/libforeign-intercept-tool.so");
  stack_.UseEnvironment(
      {{"HSA_TOOLS_LIB", GetParam() ? library + " " + Layer() : Layer() + " " + library}});
  auto low = StartLow({Bin("hsa-exercise"), "blocked", "256"});
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("submitted"));
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("completed 256"));
  low->Write("\n");
  const Result result = low->Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectSaid(result, "packets 256\n");
}

INSTANTIATE_TEST_SUITE_P(Tools, ManyPacketsBesideAToolTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "before" : "after"; });

// It makes a queue of its own while it makes the program's, by the runtime's public function: on the
// thread that is in the layer's already.
TEST_F(CompanionTest, AToolBelowThatComesBackIsServed) {
  stack_.UseEnvironment({{"HSA_TOOLS_LIB", BuildFile("lib/libforeign-tool.so") + " " + Layer()},
                         {"FOREIGN_TOOL_COMES_BACK", "1"}});
  auto low = StartLow(kPaused);
  ExpectSaid(HoldAndFinish(low.get()), "foreign-tool: queues 2, ");
}

TEST_F(CompanionTest, AToolThatIsMissingKeepsNobodyOut) {
  stack_.UseEnvironment({{"HSA_TOOLS_LIB", "/nowhere/tool.so " + Layer() + " /nowhere/else.so"}});
  auto low = StartLow(kPaused);
  HoldAndFinish(low.get());
}

// --------------------------------------------------------------------------- launchers

TEST_F(CompanionTest, WhatALauncherPreloadsComesFirstAndTheProgramIsHeld) {
  auto low =
      StartLow({"/bin/sh", "-c", "LD_PRELOAD=\"$0 $LD_PRELOAD\" exec nice -n 1 setsid \"$@\"",
                BuildFile("lib/libpreloaded.so"), kPaused[0], kPaused[1], kPaused[2]});
  ExpectSaid(HoldAndFinish(low.get()), "preloaded: 1 queues");
}

// --------------------------------------------------------------------------- Python

class PythonTest : public CompanionTest, public testing::WithParamInterface<const char*> {
 protected:
  // Waits until there are `wanted` queues of which `is` holds; how many there were at last.
  template <typename Is>
  int WaitForQueues(int wanted, Is is) {
    int found = 0;
    for (int i = 0; i < 1200 && found != wanted; ++i, usleep(25'000)) {
      found = 0;
      const nlohmann::json list = stack_.List();
      for (const auto& process : list["processes"]) {
        for (const auto& queue : process["queues"]) found += is(queue) ? 1 : 0;
      }
    }
    return found;
  }
  const Words program_words = {
      "python3", "-B", std::string(XSCHED_HSA_SOURCE_DIR) + "/tests/programs/hsa_processes.py",
      GetParam(), std::to_string(kPackets)};
};

TEST_P(PythonTest, ParentAndChildAreProgramsOfTheirOwn) {
  const std::string go = testing::TempDir() + "go-" + std::to_string(getpid());
  stack_.UseEnvironment({{"LD_PRELOAD", RuntimeToPreload()}, {"HSA_PROCESSES_GO", go}});
  auto parent = StartLow(program_words);
  StartHigh();
  parent->Write("\n");
  const auto armed = [](const nlohmann::json& queue) { return queue["armed"] == true; };
  EXPECT_EQ(WaitForQueues(2, armed), 2) << "parent and child: " << stack_.List();
  std::ofstream(go).put('\n');
  const auto held = [](const nlohmann::json& queue) {
    return queue["state"] == "held" && queue["submitted"] == kPackets;
  };
  EXPECT_EQ(WaitForQueues(2, held), 2) << "parent and child: " << stack_.List();
  std::remove(go.c_str());
  FinishHigh();
  const Result result = parent->Wait();
  EXPECT_NE(result.out.find("child completed 40\nchild ended with 0\ncompleted 80\n"),
            std::string::npos)
      << result.out << result.err;
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

INSTANTIATE_TEST_SUITE_P(Methods, PythonTest, testing::Values("spawn", "forkserver"),
                         [](const auto& param) { return param.param; });

// What the runtime makes of a fork child's calls is its own affair; the parent's queue stays right.
TEST_F(CompanionTest, AForkChildInPythonEndsAsWithoutTheLayerAndItsParentGoesOn) {
  const Words program = {"python3", "-B",
                         std::string(XSCHED_HSA_SOURCE_DIR) + "/tests/programs/hsa_processes.py",
                         "fork", std::to_string(kPackets)};
  auto plain = stack_.StartPlain(program);
  EXPECT_TRUE(plain->WaitForOutput("ready"));
  plain->Write("\n");
  const Result without = plain->Wait();
  EXPECT_NE(without.out.find("completed 80"), std::string::npos) << without.out << without.err;
  stack_.UseEnvironment({{"LD_PRELOAD", RuntimeToPreload()}});
  auto parent = StartLow(program);
  parent->Write("\n");
  const Result with = parent->Wait();
  EXPECT_EQ(with.out, without.out) << with.err;
  EXPECT_EQ(with.exit_code, without.exit_code);
  EXPECT_EQ(stack_.QueueAt(kLow)["submitted"], 2 * kPackets);
}

// --------------------------------------------------------------------------- visible devices

class VisibleDevicesTest : public CompanionTest {
 protected:
  VisibleDevicesTest() : CompanionTest({"--gpus", "2"}) {}
  static Words Seeing(const std::string& devices) {
    return {"env", "ROCR_VISIBLE_DEVICES=" + devices};
  }
  std::unique_ptr<Process> StartLowSeeing(const std::string& devices) {
    Words command = Seeing(devices);
    command.insert(command.end(), kPaused.begin(), kPaused.end());
    return StartLow(command);
  }
};

TEST_F(VisibleDevicesTest, TheSameGpuUnderAnotherNumberIsTheSame) {
  auto low = StartLowSeeing("1,0");
  StartHigh(Seeing("1"));
  SubmitHeld(low.get());
  EXPECT_EQ(stack_.QueueAt(kLow)["gpu"], stack_.QueueAt(kHigh)["gpu"]);
  FinishHigh();
  EXPECT_TRUE(low->WaitForOutput("completed 40"));
}

TEST_F(VisibleDevicesTest, AnotherGpuUnderTheSameNumberIsAnother) {
  auto low = StartLowSeeing("1");
  auto high = stack_.Start("high", {"env", "ROCR_VISIBLE_DEVICES=0", Bin("hsa-exercise"), "busy"});
  EXPECT_TRUE(high->WaitForOutput("ready"));
  high->Write("\n");
  EXPECT_TRUE(high->WaitForOutput("submitted"));
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("completed 40"));
  EXPECT_FALSE(high->WaitForOutput("completed", std::chrono::seconds(0)));
  EXPECT_EQ(stack_.QueueAt(kLow)["packets_held"], 0);
  EXPECT_NE(stack_.QueueAt(kLow)["gpu"], stack_.QueueAt(kHigh)["gpu"]);
  high->Write("\n");
  EXPECT_TRUE(high->WaitForOutput("completed 1"));
}

}  // namespace
}  // namespace xsched_hsa_tests

// HIP programs, unmodified, on the virtual GPU: kernels' results, HIP's rules of order under every kind
// of preemption, and the examples.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <tuple>

#include "support/stack.h"

namespace xsched_hsa_tests {
namespace {

constexpr int kLow = 0, kProgramsMax = 6;
constexpr unsigned kOften = 20;

using Words = std::vector<std::string>;

std::string Program(const std::string& name) { return BuildFile("tests/hip/" + name); }
std::string Example(const std::string& name) { return BuildFile("bin/hip-examples/" + name); }

// What the controller may do besides holding; as tests/soak/exactly-once has it.
Words Mechanism(const std::string& name) {
  if (name == "hold") return {"--mechanisms", "none"};
  if (name == "squeeze") {
    return {"--mechanisms", "squeeze", "--squeeze-units", "16", "--delay-budget", "0"};
  }
  if (name == "suspend") return {"--mechanisms", "suspend", "--delay-budget", "0"};
  if (name == "priority") return {"--mechanisms", "priority"};
  return {};
}

// On a device of its own, which dies with it.
Result RunAlone(const Words& options, const Words& command) {
  Words words = {Bin("virtual-gpu"), "run", "--quiet"};
  words.insert(words.end(), options.begin(), options.end());
  words.push_back("--");
  words.insert(words.end(), command.begin(), command.end());
  return Run(words);
}

class HipTest : public testing::Test {
 protected:
  // A program of high priority that asks for the device at random moments until the test's end.
  void StartCompetitor() {
    competitor_ = stack_.Start("high", {Bin("packet-storm"), "pulse", "7"});
    ASSERT_TRUE(competitor_->WaitForOutput("ready"));
  }
  void FinishCompetitor() {
    competitor_->CloseInput();
    EXPECT_EQ(competitor_->Wait().exit_code, 0);
  }

  Stack stack_;
  std::unique_ptr<Process> competitor_;
};

// Sums of what was done to the queues of a program that may have ended.
struct Done {
  unsigned long long queues = 0, holds = 0, packets_held = 0, squeezes = 0, suspends = 0,
                     submitted = 0;
};
Done DoneTo(const nlohmann::json& list, int priority) {
  Done sum;
  for (const auto& process : list["processes"]) {
    for (const auto& queue : process["queues"]) {
      if (queue["requested_priority"] != priority) continue;
      ++sum.queues;
      sum.holds += queue["holds"].get<std::uint64_t>();
      sum.packets_held += queue["packets_held"].get<std::uint64_t>();
      sum.squeezes += queue["squeezes"].get<std::uint64_t>();
      sum.suspends += queue["suspends"].get<std::uint64_t>();
      sum.submitted += queue["submitted"].get<std::uint64_t>();
    }
  }
  return sum;
}

TEST(HipDeviceTest, KernelsComputeWhatTheHostComputes) {
  const Result result = RunAlone({}, {Program("hip_kernels")});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_NE(result.out.find("all: 0 wrong"), std::string::npos) << result.out << result.err;
}

// What a kernel itself reads (HW_ID, XCC_ID), not what the device says of itself.
TEST(HipDeviceTest, BlocksRunOnTheComputeUnitsOfTheirStreamsMask) {
  const Result result = RunAlone({}, {Program("hip_kernels"), "places"});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_EQ(result.out,
            "few: 32 compute units in 4 XCCs, 4 SEs, 2 CUs each\n"
            "others: 48 compute units in 4 XCCs, 4 SEs, 3 CUs each\n"
            "all: 80 compute units in 4 XCCs, 4 SEs, 5 CUs each\n"
            "long: 1 compute units in 1 XCCs, 1 SEs, 1 CUs each\n")
      << result.err;
}

TEST(HipDeviceTest, ABlockThatAsksWhereItRunsWhereTheFirstDoesNotIsNamed) {
  const Result result = RunAlone({}, {Program("hip_kernels"), "elsewhere"});
  EXPECT_EQ(result.exit_code, 128 + SIGABRT) << result.out;
  EXPECT_NE(result.err.find("is interpreted only where workgroup 0 has it, too"), std::string::npos)
      << result.err;
}

TEST(HipDeviceTest, AnUncoveredInstructionIsNamedAndEndsTheProgram) {
  const Result result = RunAlone({}, {Program("hip_kernels"), "uncovered"});
  EXPECT_EQ(result.exit_code, 128 + SIGABRT) << result.out;
  EXPECT_EQ(result.out.find("not refused"), std::string::npos);
  EXPECT_NE(result.err.find("Uncovered"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("'v_exp_legacy_f32_e32 v"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION"), std::string::npos)
      << result.err;
}

TEST(HipDeviceTest, AnAddressThatIsNotMappedIsAMemoryFault) {
  const Result result = RunAlone({}, {Program("hip_kernels"), "fault"});
  EXPECT_EQ(result.exit_code, 128 + SIGABRT) << result.out;
  EXPECT_NE(result.err.find("fault at 0x123456789000"), std::string::npos) << result.err;
}

TEST(HipDeviceTest, AKernelWithoutAnEndIsNamedAndEndsTheProgram) {
  const Result result =
      RunAlone({"--param", "wave_instructions_max=100000"}, {Program("hip_kernels"), "endless"});
  EXPECT_EQ(result.exit_code, 128 + SIGABRT) << result.out;
  EXPECT_NE(result.err.find("no end after 100000 instructions"), std::string::npos) << result.err;
}

TEST(HipDeviceTest, WithoutInterpretingKernelsHaveNoEffectAndAreNamed) {
  const Result result = RunAlone({"--param", "interpret=0"}, {Example("vector_add")});
  EXPECT_EQ(result.exit_code, 1) << result.out << result.err;
  EXPECT_NE(result.err.find("VectorAdd"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("interpret=0"), std::string::npos) << result.err;
}

class HipOrderTest : public HipTest,
                     public testing::WithParamInterface<std::tuple<const char*, const char*>> {
 protected:
  HipOrderTest() { stack_.UseGate(std::get<0>(GetParam())); }
};

bool Happened(const std::string& mechanism, const Done& done) {
  if (mechanism == "squeeze") return done.squeezes > 0;
  if (mechanism == "suspend") return done.suspends > 0;
  return done.packets_held >= kOften;
}

void ExpectNothingBroken(const Result& result) {
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  for (const char* rule : {"device-synchronize", "legacy-memcpy", "default-stream",
                           "stream-callback", "wait-event", "blocks"}) {
    const std::size_t at = result.out.find(std::string(rule) + ": ");
    ASSERT_NE(at, std::string::npos) << result.out;
    const std::string line = result.out.substr(at, result.out.find('\n', at) - at);
    EXPECT_NE(line.find(" 0 broken"), std::string::npos) << line;
  }
}

// hipDeviceSynchronize, legacy hipMemcpy, default stream, stream callbacks, hipStreamWaitEvent. On a
// loaded machine the layer may learn that a runlist cycle costs more than it saves: then another
// program, which learns anew.
TEST_P(HipOrderTest, AllFiveRulesHoldWhileItIsPreempted) {
  const std::string mechanism = std::get<1>(GetParam());
  stack_.StartController(Mechanism(mechanism));
  StartCompetitor();
  // Only long kernels are worth taking off.
  const bool mid_kernel = mechanism == "squeeze" || mechanism == "suspend";
  Done done;
  for (int program = 0; program < kProgramsMax && !Happened(mechanism, done); ++program) {
    auto low = stack_.Start("low", {Program("hip_ordering"), mid_kernel ? "10000" : "1000"});
    ASSERT_TRUE(low->WaitForOutput("enough"));
    low->CloseInput();
    ExpectNothingBroken(low->Wait());
    done = DoneTo(stack_.List(), kLow);
  }
  FinishCompetitor();
  // It was the layer's business, and it did something.
  EXPECT_GE(done.queues, 3u);
  EXPECT_GT(done.submitted, 0u);
  EXPECT_GT(done.holds, 0u);
  EXPECT_TRUE(Happened(mechanism, done)) << stack_.Ctl({"explain"}).out;
  std::printf("%llu queues, %llu packets, %llu held, holds %llu, squeezes %llu, suspends %llu\n",
              done.queues, done.submitted, done.packets_held, done.holds, done.squeezes,
              done.suspends);
}

INSTANTIATE_TEST_SUITE_P(Gates, HipOrderTest,
                         testing::Combine(testing::Values("window", "intercept"),
                                          testing::Values("hold", "squeeze", "suspend", "priority",
                                                          "all")),
                         [](const auto& param) {
                           return std::string(std::get<0>(param.param)) + "_" +
                                  std::get<1>(param.param);
                         });

TEST_F(HipTest, ExamplesSayTheSameWithAndWithoutTheLayer) {
  stack_.StartController(Mechanism("hold"));
  for (const Words& example : {Words{Example("vector_add")}, Words{Example("stream_priorities")},
                               Words{Example("serving_loop"), "20", "5"}}) {
    const Result plain = stack_.StartPlain(example)->Wait();
    EXPECT_EQ(plain.exit_code, 0) << plain.out << plain.err;
    EXPECT_NE(plain.out.find(" wrong"), std::string::npos) << plain.out;
    StartCompetitor();
    const Result layered = stack_.Start("low", example)->Wait();
    FinishCompetitor();
    EXPECT_EQ(layered.exit_code, 0) << layered.out << layered.err;
    EXPECT_EQ(layered.out, plain.out) << layered.err;
  }
  const Done done = DoneTo(stack_.List(), kLow);
  EXPECT_GE(done.queues, 3u);
  EXPECT_GT(done.packets_held, 0u);
}

}  // namespace
}  // namespace xsched_hsa_tests

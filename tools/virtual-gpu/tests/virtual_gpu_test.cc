// virtual_gpu_test.cc: whole programs under the virtual GPU, with Debian's unmodified runtime.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "shell.h"

namespace virtual_gpu::test {
namespace {

using ::testing::Test;
using Json = nlohmann::json;

constexpr int kSkippedCode = 77;

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) {
    ++count;
  }
  return count;
}

#define RUN_EXERCISE(name)                                                           \
  const Outcome outcome = Shell(VirtualGpu() + " run --quiet -- " + Exercise(name)); \
  if (outcome.code == kSkippedCode) GTEST_SKIP() << outcome.output;                  \
  EXPECT_EQ(outcome.code, 0) << outcome.output

TEST(VirtualGpuTest, RocminfoShowsOneAgentWithTheProfilesCus) {
  const Outcome outcome = Shell(VirtualGpu() + " run --profile mi308x -- rocminfo");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(Count(outcome.output, "Device Type:             GPU"), 1);
  EXPECT_TRUE(Has(outcome.output, "Compute Unit:            80")) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "Marketing Name:          AMD Instinct MI308X"));
  // Debian 12's ROCr 5.2.3 does not know the part's own name; with that it would not start.
  const std::string isa = Has(outcome.output, " knows it)") ? "gfx942" : "gfx90a";
  EXPECT_TRUE(Has(outcome.output, "Name:                    " + isa)) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "amdgcn-amd-amdhsa--" + isa + ":sramecc+:xnack-"));
  EXPECT_TRUE(Has(outcome.output, "Wavefront Size:          64(0x40)"));
  EXPECT_TRUE(Has(outcome.output, "Size:                    201326592(0xc000000) KB"));  // VRAM
  EXPECT_TRUE(Has(outcome.output, "Segment:                 GROUP"));
  EXPECT_TRUE(Has(outcome.output, "Size:                    64(0x40) KB"));  // LDS
  EXPECT_TRUE(Has(outcome.output, "FLAGS: KERNARG, FINE GRAINED"));
  EXPECT_TRUE(Has(outcome.output, "shown to the runtime as " + isa + " ("));
}

TEST(VirtualGpuTest, RocminfoShowsTwoGpusOfAnotherProfile) {
  const Outcome outcome = Shell(VirtualGpu() + " run --quiet --profile mi210 --gpus 2 -- rocminfo");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(Count(outcome.output, "Device Type:             GPU"), 2);
  EXPECT_EQ(Count(outcome.output, "Compute Unit:            104"), 2);
}

TEST(VirtualGpuTest, BarrierPacketsWaitForTheirDependencies) { RUN_EXERCISE("barriers"); }
TEST(VirtualGpuTest, CopiesAndFillsMoveTheData) { RUN_EXERCISE("copies"); }
TEST(VirtualGpuTest, BothWaitersOfASignalWake) { RUN_EXERCISE("two-waiters"); }
TEST(VirtualGpuTest, WorkKernelsRunOnceAndInOrder) { RUN_EXERCISE("dispatch"); }
TEST(VirtualGpuTest, DataKernelsFillCopyAndAdd) { RUN_EXERCISE("data-kernels"); }
TEST(VirtualGpuTest, VectorAddsHappenOnceAcrossSuspendsAndMasks) { RUN_EXERCISE("data-once"); }
TEST(VirtualGpuTest, SuspendedQueueStopsAndResumesWithoutADoorbell) { RUN_EXERCISE("suspend"); }
TEST(VirtualGpuTest, QueueWithoutARingStopsAndResumes) { RUN_EXERCISE("suspend-null-ring"); }
TEST(VirtualGpuTest, HalfTheCusTakeTwiceAsLong) { RUN_EXERCISE("cu-mask"); }
TEST(VirtualGpuTest, QueueFilesComeAndGoWithTheirQueues) { RUN_EXERCISE("queue-files"); }
TEST(VirtualGpuTest, ProcessFilesCountOfTheMoment) { RUN_EXERCISE("process-counters"); }
TEST(VirtualGpuTest, DebugfsShowsTheQueuesRegisters) { RUN_EXERCISE("debugfs"); }
TEST(VirtualGpuTest, ASecondDescriptorIsTheSameProcess) { RUN_EXERCISE("second-descriptor"); }
TEST(VirtualGpuTest, ACuMaskMovesRunningWorkgroups) { RUN_EXERCISE("mask-moves"); }
TEST(DriverRuleTest, EveryBadArgumentHasTheKernelsErrno) { RUN_EXERCISE("bad-arguments"); }
TEST(DriverRuleTest, QueuesAreRefusedAsInTheKernel) { RUN_EXERCISE("bad-creations"); }
TEST(DebugTrapTest, AProcessSuspendsItsOwnQueues) { RUN_EXERCISE("debug-self"); }
TEST(DebugTrapTest, ADebuggerHearsOfQueuesAndTheRuntime) { RUN_EXERCISE("debug-events"); }
TEST(DebugTrapTest, DestroyWaitsForTheDebugger) { RUN_EXERCISE("debug-destroy"); }
TEST(DebugTrapTest, OnlyATracerDebugsAnotherProcess) { RUN_EXERCISE("debug-other"); }

double KernelMs(const std::string& output, std::size_t from = 0) {
  const std::size_t at = output.find("kernel_ms ", from);
  return at == std::string::npos ? -1 : std::atof(output.c_str() + at + 10);
}

// Ten cycles of 5 ms each, simulated.
TEST(DriverRuleTest, UpdatesThatChangeNothingCostTheNeighbour) {
  const std::string run = VirtualGpu() + " run --quiet --param runlist_cycle_ns=5000000 ";
  const Outcome hws = Shell(run + "-- " + Exercise("noop-updates"));
  if (hws.code == kSkippedCode) GTEST_SKIP() << hws.output;
  ASSERT_EQ(hws.code, 0) << hws.output;
  EXPECT_TRUE(Has(hws.output, "cycles 10\n")) << hws.output;
  const Outcome mes = Shell(run + "--param hardware_scheduler=0 -- " + Exercise("noop-updates"));
  ASSERT_EQ(mes.code, 0) << mes.output;
  EXPECT_GT(KernelMs(hws.output), KernelMs(mes.output) + 45) << hws.output << mes.output;
}

TEST(DriverRuleTest, WithoutCwsrAnUpdateDrains) {
  const Outcome outcome =
      Shell(VirtualGpu() + " run --quiet --param cwsr=0 -- " + Exercise("drain"));
  if (outcome.code == kSkippedCode) GTEST_SKIP() << outcome.output;
  EXPECT_EQ(outcome.code, 0) << outcome.output;
}

TEST(VirtualGpuTest, AgentDispatchStopsItsQueueOnly) { RUN_EXERCISE("bad-packet"); }
TEST(VirtualGpuTest, DispatchWithoutDimensionsStopsItsQueueOnly) { RUN_EXERCISE("bad-dimensions"); }
TEST(VirtualGpuTest, AKernelThatAbortsIsAnException) { RUN_EXERCISE("abort"); }
TEST(VirtualGpuTest, TheRuntimeStartsAgainInOneProcess) { RUN_EXERCISE("init-again"); }

TEST(VirtualGpuTest, BadPointerRaisesTheRuntimesMemoryFault) {
  const Outcome outcome = Shell(VirtualGpu() + " run --quiet -- " + Exercise("fault"));
  EXPECT_EQ(outcome.code, 128 + SIGABRT) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "Memory access fault by GPU node-1")) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "0x123456789000"));
}

TEST(VirtualGpuTest, DataKernelOfABadArrayFaults) {
  const Outcome outcome = Shell(VirtualGpu() + " run --quiet -- " + Exercise("data-fault"));
  if (outcome.code == kSkippedCode) GTEST_SKIP() << outcome.output;
  EXPECT_EQ(outcome.code, 128 + SIGABRT) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "0x123456789000")) << outcome.output;
}

TEST(VirtualGpuTest, AnUnknownKernelIsNamedAndTakesTheAssumedTime) {
  const Outcome outcome = Shell(
      VirtualGpu() + " run --quiet --param interpret=0 --param opaque_workgroup_ns=300000 -- " +
      Exercise("opaque"));
  if (outcome.code == kSkippedCode) GTEST_SKIP() << outcome.output;
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "kernel xsched_work_v64.kd is not modelled")) << outcome.output;
}

TEST(VirtualGpuTest, TwoProcessesShareOneDevice) {
  const std::string run = VirtualGpu() + " run --quiet -- ";
  const Outcome alone = Shell(run + Exercise("contend"));
  if (alone.code == kSkippedCode) GTEST_SKIP() << alone.output;
  ASSERT_EQ(alone.code, 0) << alone.output;
  const Outcome both =
      Shell("export CONTEND_TOGETHER=$(mktemp -d); " + run + "sh -c \"" + Exercise("contend") +
            " & " + Exercise("contend") + "; wait\"; code=$?; rm -r $CONTEND_TOGETHER; exit $code");
  ASSERT_EQ(both.code, 0) << both.output;
  ASSERT_EQ(Count(both.output, "kernel_ms "), 2) << both.output;
  const double alone_ms = KernelMs(alone.output);
  const double shared_ms = KernelMs(both.output);
  EXPECT_GT(shared_ms, 1.4 * alone_ms) << both.output;
  EXPECT_LT(shared_ms, 3.0 * alone_ms) << both.output;
}

TEST(VirtualGpuTest, TimeScaleSlowsTheDevice) {
  const Outcome plain = Shell(VirtualGpu() + " run --quiet -- " + Exercise("contend"));
  if (plain.code == kSkippedCode) GTEST_SKIP() << plain.output;
  const Outcome slow =
      Shell(VirtualGpu() + " run --quiet --time-scale 4 -- " + Exercise("contend"));
  ASSERT_EQ(slow.code, 0) << slow.output;
  const double ratio = KernelMs(slow.output) / KernelMs(plain.output);
  EXPECT_GT(ratio, 3.3);
  EXPECT_LT(ratio, 4.7);
}

TEST(VirtualGpuTest, EveryOutputNamesTheTimeScale) {
  const std::string stats = VirtualGpu() + " stats";
  const Outcome outcome =
      Shell(VirtualGpu() + " run --time-scale 4 -- sh -c \"" + stats + "; " + stats + " --json\"");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(Count(outcome.output, "simulated, time scale 4"), 2) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "\"simulated\": true")) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "\"time_scale\": 4.0")) << outcome.output;
}

// A named device, so that its state can be looked at between the processes' lives.
class NamedDeviceTest : public Test {
 protected:
  void SetUp() override {
    const Outcome started = Shell(VirtualGpu() + " start --quiet --device " + name_);
    ASSERT_EQ(started.code, 0) << started.output;
  }
  void TearDown() override {
    EXPECT_EQ(Shell(VirtualGpu() + " stop --device " + name_).code, 0);
    EXPECT_EQ(Shell(VirtualGpu() + " stats --device " + name_).code, 2);
  }
  Json Stats() const {
    return Json::parse(Shell(VirtualGpu() + " stats --json --device " + name_).output);
  }
  std::string Run(const std::string& command) const {
    return VirtualGpu() + " run --device " + name_ + " -- " + command;
  }

  const std::string name_ = FreshDeviceName();
};

TEST_F(NamedDeviceTest, ASecondStartIsRefused) {
  const Outcome again = Shell(VirtualGpu() + " start --device " + name_);
  EXPECT_EQ(again.code, 2);
  EXPECT_TRUE(Has(again.output, "runs already")) << again.output;
}

TEST_F(NamedDeviceTest, StartsAgainAtOnceAfterAStop) {
  for (int round = 0; round < 8; ++round) {
    const Outcome again = Shell(VirtualGpu() + " stop --device " + name_ + " && " + VirtualGpu() +
                                " start --quiet --device " + name_ + " && " + VirtualGpu() +
                                " stats --device " + name_);
    ASSERT_EQ(again.code, 0) << again.output;
    ASSERT_TRUE(Has(again.output, "0 processes so far")) << again.output;
  }
}

TEST_F(NamedDeviceTest, AnotherProfileIsRefused) {
  const Outcome other = Shell(VirtualGpu() + " run --profile mi210 --device " + name_ + " -- true");
  EXPECT_EQ(other.code, 2);
  EXPECT_TRUE(Has(other.output, "is a mi308x, not a mi210")) << other.output;
}

TEST_F(NamedDeviceTest, KilledProcessGivesTheDeviceBack) {
  // The endless kernel fills the device; kill -9 must free it in its middle.
  const Outcome killed =
      Shell(Run("sh -c \"" + Exercise("endless") +
                " > /dev/null 2>&1 & p=\\$!; sleep 2; kill -9 \\$p; wait \\$p; echo code \\$?\""));
  ASSERT_EQ(killed.code, 0) << killed.output;
  if (Has(killed.output, "code 77")) GTEST_SKIP() << "no work kernels";
  EXPECT_TRUE(Has(killed.output, "code 137")) << killed.output;
  const Outcome next = Shell(Run(Exercise("dispatch")));
  EXPECT_EQ(next.code, 0) << next.output;
  const Json stats = Stats();
  EXPECT_EQ(stats["gpus"][0]["queues"], 0);
  EXPECT_EQ(stats["gpus"][0]["vram_used_bytes"], 0);
  EXPECT_TRUE(stats["processes"].empty());
  EXPECT_GE(stats["processes_seen"].get<int>(), 2);
}

// Twenty rounds of two waits, each with a limit of weeks (the runtime's): none outlives its program.
TEST_F(NamedDeviceTest, AWaitThatIsOverLeavesNoTimer) {
  const Outcome waited = Shell(Run(Exercise("two-waiters")));
  ASSERT_EQ(waited.code, 0) << waited.output;
  EXPECT_EQ(Stats()["timers"], 0);
}

// A busy machine's programs do not stand before a driver call that one of them makes.
TEST_F(NamedDeviceTest, EachOfItsThreadsGoesFirstWhereThatIsAllowed) {
  const int own = getpriority(PRIO_PROCESS, 0);
  const bool allowed = Shell("nice -n -10 true 2>&1").output.empty();
  const int wanted = allowed ? -10 : own;
  const std::string threads = "/proc/" + std::to_string(Stats()["daemon_pid"].get<int>()) + "/task";
  int seen = 0;
  for (const auto& thread : std::filesystem::directory_iterator(threads)) {
    const int id = std::stoi(thread.path().filename());
    EXPECT_EQ(getpriority(PRIO_PROCESS, static_cast<id_t>(id)), wanted) << "thread " << id;
    ++seen;
  }
  EXPECT_GE(seen, 2);
}

TEST_F(NamedDeviceTest, OneProcessesDeathDoesNotDisturbAnother) {
  const Outcome both =
      Shell(Run("sh -c \"" + Exercise("endless") + " > /dev/null 2>&1 & p=\\$!; " +
                Exercise("barriers") + "; code=\\$?; kill -9 \\$p; wait \\$p; exit \\$code\""));
  EXPECT_EQ(both.code, 0) << both.output;
}

TEST(VirtualGpuFailureTest, ProgramEndsWhenTheDeviceProcessDies) {
  // Only the device process of this very run is killed: it says its own pid.
  const std::string daemon_pid =
      VirtualGpu() + R"( stats --json | sed -n 's/.*"daemon_pid": \([0-9]*\).*/\1/p')";
  const std::string script = Exercise("endless") + " & p=$!; sleep 2; kill -9 $(" + daemon_pid +
                             "); wait $p; echo code $?";
  setenv("VIRTUAL_GPU_TEST_SCRIPT", script.c_str(), 1);
  const Outcome outcome =
      Shell(VirtualGpu() + " run --quiet -- sh -c 'eval \"$VIRTUAL_GPU_TEST_SCRIPT\"'");
  if (Has(outcome.output, "code 77")) GTEST_SKIP() << "no work kernels";
  EXPECT_TRUE(Has(outcome.output, "code 134")) << outcome.output;
  EXPECT_EQ(Count(outcome.output, "the device process (virtual-gpud) has gone"), 1)
      << outcome.output;
}

TEST(VirtualGpuFailureTest, ExitCodesPassThrough) {
  const std::string run = VirtualGpu() + " run --quiet -- ";
  EXPECT_EQ(Shell(run + "sh -c 'exit 7'").code, 7);
  EXPECT_EQ(Shell(run + "sh -c 'kill -9 $$'").code, 128 + SIGKILL);
  EXPECT_EQ(Shell(run + "/no/such/program").code, 127);
}

TEST(VirtualGpuFailureTest, ASignalToTheLauncherReachesTheCommand) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "GCC 12's TSan runs a signal's handler only after waitpid has returned";
#endif
  const std::string ready = "/tmp/virtual-gpu-" + FreshDeviceName();
  const Outcome passed =
      Shell(VirtualGpu() + " run --quiet -- sh -c 'trap \"exit 9\" TERM; touch " + ready +
            "; sleep 30 > /dev/null 2>&1 & wait' & p=$!; until [ -e " + ready +
            " ]; do sleep 0.1; done; rm " + ready + "; kill $p; wait $p; echo code $?");
  EXPECT_TRUE(Has(passed.output, "code 9")) << passed.output;
}

TEST(VirtualGpuFailureTest, BadInputIsOneLineAndExitTwo) {
  constexpr const char* kBad[] = {
      "run --profile mi1 -- true",
      "run --isa gfx1 -- true",
      "run --param nonsense=1 -- true",
      "run --param seed -- true",
      "run --gpus 0 -- true",
      "run --time-scale 0 -- true",
      "run",
      "run --frobnicate -- true",
      "stats --device no-such-device",
      "stop --device no-such-device",
      "start --device ../../etc/passwd",
  };
  for (const char* arguments : kBad) {
    const Outcome outcome = Shell(VirtualGpu() + " " + arguments);
    EXPECT_EQ(outcome.code, 2) << arguments << "\n" << outcome.output;
    EXPECT_EQ(Count(outcome.output, "\n"), 1) << arguments << "\n" << outcome.output;
  }
}

// Its programs may change their directory.
TEST(VirtualGpuFailureTest, ARelativeRuntimeDirIsIgnored) {
  const std::string named = " --device " + FreshDeviceName();
  const Outcome outcome =
      Shell("cd /tmp && export XDG_RUNTIME_DIR=. && " + VirtualGpu() + " start --quiet" + named +
            " && " + VirtualGpu() + " run --quiet" + named +
            " -- sh -c 'echo at $VIRTUAL_GPU_SOCKET; cd / && rocminfo'; code=$?; " + VirtualGpu() +
            " stop" + named + "; exit $code");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "at /tmp/virtual-gpu-")) << outcome.output;
}

TEST(VirtualGpuFailureTest, AForkChildHasNoDevice) {
  const Outcome outcome = Shell(VirtualGpu() + " run --quiet -- " + Exercise("fork"));
  EXPECT_EQ(outcome.code, 0) << outcome.output;
}

}  // namespace
}  // namespace virtual_gpu::test

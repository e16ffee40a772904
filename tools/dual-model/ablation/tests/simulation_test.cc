#include "simulation.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <numeric>
#include <stdexcept>
#include <string>

#include "fiber.h"

namespace ablation {
namespace {

// Sixteen workgroups a CU fill the device for `rounds` rounds of `workgroup_ns`.
dual_model::ReplayKernel FullKernel(std::uint32_t rounds, std::uint32_t workgroup_ns) {
  dual_model::ReplayKernel kernel;
  kernel.workgroups = std::uint64_t{80} * 16 * rounds;
  kernel.work_items = 128;
  kernel.vgprs = 32;
  kernel.rounds = rounds;
  kernel.workgroup_ns = workgroup_ns;
  return kernel;
}

// Requests of ten short kernels beside iterations of kernels of 8 ms.
RunSetup LongKernels(const std::string& mechanisms, double cycle_ms = 0.2) {
  RunSetup setup;
  setup.high.emplace();
  setup.high->kernels.assign(10, FullKernel(1, 50'000));
  setup.high->host_bound = true;
  setup.high->host_gap_ns = 100'000;
  setup.lows.resize(1);
  setup.lows[0].plan.kernels.assign(5, FullKernel(20, 400'000));
  setup.rate_per_s = 31;
  setup.jitter = 0.2;  // else the iterations can lock to the requests, which then find nothing
  setup.seconds = 2;
  setup.warm_up_s = 1;
  setup.device.runlist_cycle_ns = static_cast<TimeNs>(cycle_ms * 1e6);
  std::string error;
  EXPECT_TRUE(ParseMechanisms(mechanisms, &setup.mechanisms, &error)) << error;
  return setup;
}

double MeanMs(const RunResult& run) {
  double sum = 0;
  for (const Sample& sample : run.requests) sum += double(sample.took_ns) / 1e6;
  return run.requests.empty() ? 0 : sum / double(run.requests.size());
}
double WorstMs(const RunResult& run) {
  double worst = 0;
  for (const Sample& sample : run.requests) worst = std::max(worst, double(sample.took_ns) / 1e6);
  return worst;
}

double AloneMs() {
  RunSetup setup = LongKernels("native");
  setup.lows.clear();
  return MeanMs(Simulate(setup));
}

TEST(AblationTest, EveryMechanismRunsEachPacketOnceAndInOrder) {
  for (const char* name : {"native", "priority", "reserve:16", "hold", "hold+priority", "squeeze",
                           "squeeze:32", "suspend", "plan"}) {
    const RunResult run = Simulate(LongKernels(name));
    EXPECT_TRUE(run.faults.empty()) << name << ": " << run.faults.front();
    EXPECT_GT(run.packets, 100u) << name;
    EXPECT_GT(run.requests.size(), 20u) << name;
    EXPECT_GT(run.lows[0].per_s, 1) << name;
  }
}

TEST(AblationTest, HoldingLeavesTheRunningKernelAndSuspendingDoesNot) {
  const double alone_ms = AloneMs();
  const RunResult hold = Simulate(LongKernels("hold"));
  const RunResult suspend = Simulate(LongKernels("suspend", 0.05));
  EXPECT_GT(hold.lows[0].layer.holds, 10u);
  EXPECT_EQ(hold.lows[0].layer.suspends, 0u);
  EXPECT_GT(WorstMs(hold), 2 * alone_ms);
  EXPECT_GT(suspend.lows[0].layer.suspends, 10u);
  EXPECT_LT(WorstMs(suspend), 1.4 * alone_ms);
}

TEST(AblationTest, SqueezingLeavesTheLowQueueAShare) {
  const RunResult squeeze = Simulate(LongKernels("squeeze:48"));
  EXPECT_GT(squeeze.lows[0].layer.squeezes, 10u);
  EXPECT_EQ(squeeze.lows[0].layer.suspends, 0u);
  for (const DecisionRecord& record : squeeze.lows[0].layer.decisions) {
    EXPECT_EQ(record.units_left, 48u);
    EXPECT_EQ(record.error, 0u);
  }
}

TEST(AblationTest, DriverCallsTakeWhatTheDeviceTakes) {
  const RunResult cheap = Simulate(LongKernels("suspend", 0.1));
  const RunResult dear = Simulate(LongKernels("suspend", 3));
  ASSERT_FALSE(cheap.lows[0].layer.decisions.empty());
  ASSERT_FALSE(dear.lows[0].layer.decisions.empty());
  // A call returns when all are off the hardware: half a cycle, and the waves' saving.
  EXPECT_GE(dear.lows[0].layer.decisions.back().took_ns, 1'500'000u);
  EXPECT_LT(cheap.lows[0].layer.decisions.back().took_ns, 1'000'000u);
  EXPECT_GT(MeanMs(dear), MeanMs(cheap));
  EXPECT_LT(dear.lows[0].per_s, cheap.lows[0].per_s);
}

TEST(AblationTest, EqualSeedsGiveEqualRunsAndOthersDoNot) {
  RunSetup setup = LongKernels("plan");
  const RunResult a = Simulate(setup), b = Simulate(setup);
  EXPECT_EQ(MeanMs(a), MeanMs(b));
  EXPECT_EQ(a.device_events, b.device_events);
  setup.seed = 2;
  EXPECT_NE(MeanMs(a), MeanMs(Simulate(setup)));
}

TEST(AblationTest, AProgramAloneIsNotTouchedByTheLayer) {
  RunSetup setup = LongKernels("plan");
  setup.lows.clear();
  const RunResult run = Simulate(setup);
  EXPECT_EQ(run.driver_calls, 0u);
  EXPECT_NEAR(MeanMs(run), AloneMs(), 0.02 * AloneMs());
}

TEST(AblationTest, AReserveThatLeavesAShaderEngineWithNothingIsRefused) {
  EXPECT_THROW(Simulate(LongKernels("reserve:72")), std::runtime_error);
}

TEST(RingTest, NoticesAPacketThatIsTakenTwiceOrNotAtAll) {
  virtual_gpu::DeviceParams device;
  World world(device, {}, 1);
  const Work work;
  for (const bool skip : {true, false}) {
    Ring ring(&world, 16, 1);
    for (std::uint64_t i = 0; i < 3; ++i) ring.Write(i, work, false);
    ring.Connect(1);
    ring.Publish(3);
    virtual_gpu::Packet packet;
    ASSERT_TRUE(ring.Next(&packet));
    if (skip) {
      packet.index = 1;
      ring.Consume(packet);
    } else {
      ring.Consume(packet);
      EXPECT_EQ(ring.Faults(), 0u);
      ring.Consume(packet);
    }
    EXPECT_GT(ring.Faults(), 0u);
  }
}

// A gap that is longer than the linger ends a request in its middle, until the queue has learnt to linger.
TEST(AblationTest, RequestsWithLongGapsAreOneHoldEachAfterTheFirst) {
  RunSetup setup = LongKernels("hold");
  setup.high->host_gap_ns = 450'000;
  const RunResult run = Simulate(setup);
  EXPECT_TRUE(run.faults.empty());
  EXPECT_GT(run.requests.size(), 50u);
  EXPECT_LE(run.lows[0].layer.holds, run.requests.size()) << "a request was taken for two";
}

// A target that is far allows what strict-priority does not; one that is near takes it back.
TEST(PolicyUnderLoadTest, LatencyTargetProtectsAsMuchAsItsTargetNeeds) {
  RunSetup setup = LongKernels("plan");
  setup.seconds = 12;
  setup.warm_up_s = 4;
  setup.mechanisms.policy_name = "latency-target";
  setup.mechanisms.policy.latency_samples_min = 20;
  setup.mechanisms.latency_target_us = static_cast<std::uint64_t>(40 * AloneMs() * 1000);
  const RunResult far = Simulate(setup);
  setup.mechanisms.latency_target_us = static_cast<std::uint64_t>(1.1 * AloneMs() * 1000);
  const RunResult near = Simulate(setup);
  EXPECT_TRUE(far.faults.empty() && near.faults.empty());
  EXPECT_EQ(far.lows[0].layer.suspends + far.lows[0].layer.squeezes, 0u) << "holding is enough";
  EXPECT_GT(near.lows[0].layer.suspends + near.lows[0].layer.squeezes, 100u);
  EXPECT_LT(MeanMs(near), MeanMs(far));
  EXPECT_LT(WorstMs(far), 40 * AloneMs());
}

// The three tenants of tools/tenants, in small: turns change between the batch programs, and requests come in each.
TEST(PolicyUnderLoadTest, TwoBatchProgramsShareByWeightBesideRequests) {
  RunSetup setup = LongKernels("plan");
  setup.lows.push_back(setup.lows[0]);
  setup.lows[0].weight = 300;
  setup.seconds = 4;
  setup.mechanisms.policy_name = "weighted-fair";
  const RunResult run = Simulate(setup);
  EXPECT_TRUE(run.faults.empty()) << run.faults.front();
  ASSERT_EQ(run.lows.size(), 2u);
  const double time = run.lows[0].device_ms + run.lows[1].device_ms;
  EXPECT_NEAR(run.lows[0].device_ms / time, 0.75, 0.04);
  const double work = run.lows[0].per_s + run.lows[1].per_s;
  EXPECT_NEAR(run.lows[0].per_s / work, 0.75, 0.04);
  for (const LowResult& low : run.lows) EXPECT_FALSE(low.layer.decisions.empty());
  EXPECT_GT(run.requests.size(), 100u);
  // No request waits for a turn to end, nor for the kernel of 8 ms that runs in it.
  EXPECT_LT(WorstMs(run), 2 * AloneMs());
}

TEST(PolicyUnderLoadTest, PartitionsRunSideBySideEachOnItsUnits) {
  RunSetup setup = LongKernels("plan");
  setup.mechanisms.policy_name = "cu-partition";
  setup.mechanisms.high_share_permille = 400;
  const RunResult parted = Simulate(setup);
  RunSetup alone = LongKernels("native");
  alone.high.reset();
  const double rate_alone = Simulate(alone).lows[0].per_s;
  EXPECT_TRUE(parted.faults.empty());
  EXPECT_EQ(parted.lows[0].layer.holds, 0u);
  EXPECT_NEAR(parted.lows[0].per_s, 0.6 * rate_alone, 0.06 * rate_alone);
  // Its own part is always free: no request waits for a kernel of 8 ms.
  EXPECT_LT(WorstMs(parted), 1.2 / 0.4 * AloneMs());
  EXPECT_LT(WorstMs(parted), WorstMs(Simulate(LongKernels("native"))));
}

TEST(RingTest, NoticesALostWorkgroup) {
  virtual_gpu::DeviceParams device;
  World world(device, {}, 1);
  Work work;
  work.cost.workgroups = 5;
  Ring ring(&world, 16, 1);
  ring.Write(0, work, false);
  ring.Publish(1);
  virtual_gpu::Packet packet;
  ASSERT_TRUE(ring.Next(&packet));
  ring.WorkgroupsDone(packet, 4, true);
  ring.Consume(packet);
  ring.Complete(packet, 0, 1);
  EXPECT_EQ(ring.Faults(), 1u);
}

TEST(FiberTest, EndsInTheMiddleOfARoundWithoutGoingOn) {
  bool went_on = false;
  {
    Fiber fiber([&] { went_on = went_on || fiber.Pause(); });
    fiber.Resume();
    EXPECT_TRUE(fiber.InRound());
  }
  EXPECT_FALSE(went_on);
}

TEST(MechanismsTest, UnknownOnesAreRefusedWithThoseThereAre) {
  Mechanisms mechanisms;
  std::string error;
  for (const char* text :
       {"", "magic", "suspend:3", "reserve", "reserve:x", "squeeze:0", "native+priority"}) {
    EXPECT_FALSE(ParseMechanisms(text, &mechanisms, &error)) << text;
    EXPECT_NE(error.find("known are native"), std::string::npos) << error;
  }
}

int ExitCodeOf(const std::string& arguments) {
  const std::string command =
      std::string(XSCHED_HSA_BIN_DIR) + "/dual-model-sim " + arguments + " >/dev/null 2>&1";
  return WEXITSTATUS(std::system(command.c_str()));
}

TEST(DualModelSimTest, BadInputIsExitCode2) {
  EXPECT_EQ(ExitCodeOf(""), 2);
  EXPECT_EQ(ExitCodeOf("--low nothing.b1"), 2);
  EXPECT_EQ(ExitCodeOf("--low resnet50.b8 --mechanisms magic"), 2);
  EXPECT_EQ(ExitCodeOf("--low resnet50.b8 --cycle-ms 0"), 2);
  EXPECT_EQ(ExitCodeOf("--low resnet50.b8 --policy magic"), 2);
  EXPECT_EQ(ExitCodeOf("--low resnet50.b8 --weight 1 --weight 2"), 2);
  EXPECT_EQ(ExitCodeOf("--low resnet50.b8 --weight 0"), 2);
  EXPECT_EQ(ExitCodeOf("--low resnet50.b8 --slice-ms 0"), 2);
  EXPECT_EQ(
      ExitCodeOf("--low resnet50.b8 --mechanisms hold --policy cu-partition --high-share 100"), 2);
  EXPECT_EQ(ExitCodeOf("--low resnet50.b8 --mechanisms native --policy cu-partition"), 2);
  EXPECT_EQ(ExitCodeOf("--low resnet50.b8 --mechanisms native --seconds 0.1 --warm-up 0"), 0);
}

}  // namespace
}  // namespace ablation

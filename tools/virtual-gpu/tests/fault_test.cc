// fault_test.cc: faults on request, and the end of the device process.

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>

#include "shell.h"

namespace virtual_gpu::test {
namespace {

constexpr int kSkippedCode = 77;

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

#define RUN_FAULT(flags, name)                                                   \
  const Outcome outcome =                                                        \
      Shell(VirtualGpu() + " run --quiet " + (flags) + " -- " + Exercise(name)); \
  if (outcome.code == kSkippedCode) GTEST_SKIP() << outcome.output;              \
  EXPECT_EQ(outcome.code, 0) << outcome.output

TEST(FaultTest, APreemptionTimeOutEndsInAReset) {
  RUN_FAULT("--param preempt_timeout_ns=200000000", "preempt-timeout");
}
TEST(FaultTest, ADrainBeyondTheTimeOutEndsInAReset) {
  RUN_FAULT("--param cwsr=0 --param preempt_timeout_ns=50000000", "drain-timeout");
}
TEST(FaultTest, ADrainBeyondTheTimeOutLeavesNothingOfADestroyedQueue) {
  RUN_FAULT("--param cwsr=0 --param preempt_timeout_ns=50000000", "drain-timeout-of-a-destruction");
}
TEST(FaultTest, IoErrorsAreCounted) { RUN_FAULT("", "io-error"); }
TEST(FaultTest, QueueCreationFailsAsAsked) { RUN_FAULT("", "create-fails"); }
TEST(FaultTest, ChangesToQueuesFailAsAsked) { RUN_FAULT("", "update-fails"); }
TEST(FaultTest, AHungWaveCanBeTakenOffTheDevice) { RUN_FAULT("", "hung-wave"); }
TEST(FaultTest, AnEventIsLost) { RUN_FAULT("", "lost-event"); }
TEST(FaultTest, AnEvictedProcessStaysOffUntilItIsRestored) { RUN_FAULT("", "evict"); }

TEST(ConnectionTest, WithoutDescriptorsEveryIoctlIsAnswered) { RUN_FAULT("", "no-descriptors"); }

TEST(FaultTest, IsArmedBeforeTheCommandRuns) {
  const Outcome outcome = Shell(VirtualGpu() + " run --quiet --fault create-fails:EPERM,1000 -- " +
                                Exercise("barriers"));
  EXPECT_EQ(outcome.code, 1) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "hsa_queue_create")) << outcome.output;
}

TEST(FaultTest, BadNamesAreOneLineAndExitTwo) {
  for (const char* fault : {"nonsense", "create-fails", "create-fails:EWHAT", "update-fails:EIO,x",
                            "eio:x", "evict", "eio@7", "evict:1"}) {
    const Outcome outcome = Shell(VirtualGpu() + " run --quiet --fault " + fault + " -- true");
    EXPECT_EQ(outcome.code, 2) << fault;
    EXPECT_TRUE(Has(outcome.output, "virtual-gpu: ")) << fault << "\n" << outcome.output;
  }
  EXPECT_EQ(Shell(VirtualGpu() + " fault no-such-device eio").code, 2);
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) {
    ++count;
  }
  return count;
}

TEST(UnknownTest, AnIoctlIsNamedOnceAndFailsAsInTheKernel) {
  const Outcome outcome = Shell(VirtualGpu() + " run --quiet -- " + Exercise("unknown-ioctl"));
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(Count(outcome.output, "KFD ioctl 0x7e"), 1) << outcome.output;
  EXPECT_EQ(Count(outcome.output, "file /sys/class/kfd/kfd/no-such-file is not modelled"), 1);
}

TEST(UnknownTest, AnArgumentThatIsMissingOrShortIsTheCallersMistakeOnly) {
  const Outcome outcome = Shell(VirtualGpu() + " run --quiet -- " + Exercise("short-ioctl"));
  EXPECT_EQ(outcome.code, 0) << outcome.output;
}

TEST(UnknownTest, StrictEndsTheDeviceAtAnIoctlAPacketAKernelAndAFile) {
  for (const char* name : {"unknown-ioctl", "bad-packet", "opaque"}) {
    const Outcome outcome =
        Shell(VirtualGpu() + " run --quiet --strict --param interpret=0 -- " + Exercise(name));
    if (outcome.code == kSkippedCode) continue;
    EXPECT_NE(outcome.code, 0) << name << "\n" << outcome.output;
    EXPECT_EQ(Count(outcome.output, "because of --strict"), 1) << name << "\n" << outcome.output;
  }
  const Outcome file =
      Shell(VirtualGpu() + " run --quiet --strict -- cat /sys/class/kfd/kfd/no-such-file");
  EXPECT_EQ(Count(file.output, "because of --strict"), 1) << file.output;
}

class SeveralGpusTest : public ::testing::TestWithParam<int> {};

TEST_P(SeveralGpusTest, EachHasItsOwnQueuesAndLinksToItsPeers) {
  const std::string gpus = std::to_string(GetParam());
  const std::string run = VirtualGpu() + " run --quiet --gpus " + gpus + " -- ";
  const Outcome all = Shell(run + Exercise("every-gpu"));
  EXPECT_EQ(all.code, 0) << all.output;
  EXPECT_TRUE(Has(all.output, "gpus " + gpus + "\n")) << all.output;
  const Outcome links =
      Shell(run +
            "sh -c 'cat /sys/class/kfd/kfd/topology/nodes/1/io_links/*/properties | grep -c "
            "\"^type 11\"'");
  EXPECT_TRUE(Has(links.output, std::to_string(GetParam() - 1) + "\n")) << links.output;
  const Outcome one = Shell(VirtualGpu() + " run --quiet --gpus " + gpus +
                            " -- env ROCR_VISIBLE_DEVICES=1 " + Exercise("every-gpu"));
  EXPECT_EQ(one.code, 0) << one.output;
  EXPECT_TRUE(Has(one.output, "gpus 1\n")) << one.output;
}
INSTANTIATE_TEST_SUITE_P(TwoAndEight, SeveralGpusTest, ::testing::Values(2, 8));

TEST(ContainerTest, AnotherPidNamespaceIsKnownByTheHostsPid) {
  if (Shell("unshare --pid --fork --mount-proc true").code != 0) {
    GTEST_SKIP() << "unshare --pid is not permitted here";
  }
  const Outcome outcome = Shell(
      VirtualGpu() + " run --quiet -- unshare --pid --fork --mount-proc " + Exercise("container"));
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "own pid 1\n")) << outcome.output;
  EXPECT_FALSE(Has(outcome.output, "seen as 1\n")) << outcome.output;
}

// Whatever it waits in, a program ends soon after its device, with a message.
TEST(FaultTest, AProgramThatSleepsEndsWithTheDevice) {
  const Outcome outcome = Shell(VirtualGpu() + " run --quiet -- " + Exercise("device-dies"), 30);
  if (outcome.code == kSkippedCode) GTEST_SKIP() << outcome.output;
  EXPECT_EQ(outcome.code, 128 + SIGABRT) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "the device process (virtual-gpud) has gone")) << outcome.output;
}

TEST(FaultTest, AProgramThatSpinsEndsWithTheDevice) {
  const Outcome outcome = Shell(
      "HSA_ENABLE_INTERRUPT=0 " + VirtualGpu() + " run --quiet -- " + Exercise("device-dies"), 30);
  if (outcome.code == kSkippedCode) GTEST_SKIP() << outcome.output;
  EXPECT_EQ(outcome.code, 128 + SIGABRT) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "the device process (virtual-gpud) has gone")) << outcome.output;
  EXPECT_TRUE(Has(outcome.output, "HSA_ENABLE_INTERRUPT=0")) << outcome.output;
}

}  // namespace
}  // namespace virtual_gpu::test

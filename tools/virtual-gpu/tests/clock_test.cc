// The clock of programs that measure in the device's time (interposer/clock.cc), on a page of the test's
// own: no device runs.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdio>
#include <fstream>

#include "shell.h"
#include "virtual-gpu/clock_page.h"

namespace virtual_gpu::test {
namespace {

class DeviceClockTest : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/virtual-gpu-clock-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override { Shell("rm -r " + folder_); }
  void Write(const ClockPage& page) {
    std::ofstream file(folder_ + "/" + kClockFileName, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&page), sizeof(page));
  }
  Outcome Run(const std::string& program, const std::string& objects) {
    return Shell("env LD_PRELOAD=" XSCHED_HSA_LIB_DIR "/libvirtual-gpu.so VIRTUAL_GPU_SOCKET=" +
                 folder_ + "/socket VIRTUAL_GPU_CLOCK_FOR=" + objects + " " + Exercise(program));
  }
  // Read within the last minute.
  static bool IsTheHosts(const Outcome& outcome) {
    long long us = -1;
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::sscanf(outcome.output.c_str(), "now %lld us", &us) == 1 &&
           us <= now.tv_sec * 1000000 + 1000000 && us > (now.tv_sec - 60) * 1000000;
  }
  static std::string Stood() { return "now 1005000000 us\nok\n"; }

  std::string folder_;
};

TEST_F(DeviceClockTest, StandsForTheObjectsThatAskForIt) {
  ClockPage page;
  page.start_raw_ns = RawClockNs() - 3600'000'000'000;
  page.limit_ns = 5'000'000'000;
  Write(page);
  EXPECT_EQ(Run("clock", "virtual-gpu-exercise").output, Stood());
  EXPECT_EQ(Run("clock", "libother.so:virtual-gpu-exercise").output, Stood());
  for (const char* others :
       {"", "libother.so", "virtual-gpu", "gpu-exercise", "virtual-gpu-exercises"}) {
    EXPECT_TRUE(IsTheHosts(Run("clock", others))) << others;
  }
}

TEST_F(DeviceClockTest, IsTheHostsWhereThereIsNoPageOrAnotherBuilds) {
  EXPECT_TRUE(IsTheHosts(Run("clock", "virtual-gpu-exercise")));
  ClockPage page;
  page.limit_ns = 5'000'000'000;
  page.magic = 1;
  Write(page);
  EXPECT_TRUE(IsTheHosts(Run("clock", "virtual-gpu-exercise")));
}

TEST_F(DeviceClockTest, TooManyNamesAreOneLineAndTheHostsClock) {
  ClockPage page;
  page.limit_ns = 5'000'000'000;
  Write(page);
  const Outcome outcome = Run("clock", "virtual-gpu-exercise:" + std::string(300, 'x'));
  EXPECT_EQ(outcome.output.rfind("virtual-gpu: VIRTUAL_GPU_CLOCK_FOR has more than 255", 0), 0u)
      << outcome.output;
  EXPECT_NE(outcome.output.find("\nnow "), std::string::npos) << outcome.output;
  EXPECT_EQ(outcome.output.find("now 1005"), std::string::npos) << outcome.output;
}

TEST_F(DeviceClockTest, AbsoluteTimersAreOfTheSameClock) {
  ClockPage page;
  page.start_raw_ns = RawClockNs();
  Write(page);
  const Outcome outcome = Run("clock-timer", "virtual-gpu-exercise");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
}

}  // namespace
}  // namespace virtual_gpu::test

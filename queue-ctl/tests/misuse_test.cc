// misuse_test.cc: a machine that has no room for the controller: one clear line, and what serves goes on.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "controller_test.h"

namespace xsched_hsa {
namespace {

using testing::Daemon;
using testing::Finished;
using testing::LayerClient;
using testing::MakeHello;
using testing::RunProgram;

constexpr char kController[] = XSCHED_HSA_BIN_DIR "/xsched-hsad";

class ControllerMisuseTest : public testing::ControllerTest {
 protected:
  // A controller under /run, on which `mount` was done, in a mount namespace of its own. Says why it
  // is skipped where that is not permitted.
  static Finished InRunOf(const std::string& mount, const std::vector<std::string>& more = {}) {
    std::vector<std::string> command = {"unshare", "-m",       "sh", "-c", mount + "; exec \"$@\"",
                                        "sh",      kController};
    command.insert(command.end(), more.begin(), more.end());
    return RunProgram(command);
  }
  static bool MayMount() {
    return geteuid() == 0 &&
           RunProgram({"unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/run"}).code == 0;
  }
  static void ExpectOneLine(const Finished& finished, const std::string& what) {
    EXPECT_EQ(finished.code, 2) << finished.err;
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
    EXPECT_NE(finished.err.find(what), std::string::npos) << finished.err;
    EXPECT_NE(finished.err.find("give another --socket"), std::string::npos) << finished.err;
  }
};

TEST_F(ControllerMisuseTest, AReadOnlyRunIsOneLine) {
  if (!MayMount()) GTEST_SKIP() << "mounting in a namespace of one's own is not permitted here";
  ExpectOneLine(InRunOf("mount -t tmpfs -o ro tmpfs /run"), "Read-only file system");
}

TEST_F(ControllerMisuseTest, ARunWithoutRoomIsOneLineAndLeavesNothingThere) {
  if (!MayMount()) GTEST_SKIP() << "mounting in a namespace of one's own is not permitted here";
  // Room for the folder and the lock's name, but not for its content.
  const std::string full =
      "mount -t tmpfs -o size=4k tmpfs /run; dd if=/dev/zero of=/run/full bs=4k count=1 "
      "2>/dev/null";
  ExpectOneLine(InRunOf(full), "No space left on device");
  // No name left, for the folder or for what goes into it.
  for (const char* names : {"2", "3", "4"}) {
    ExpectOneLine(InRunOf(std::string("mount -t tmpfs -o nr_inodes=") + names +
                          " tmpfs /run; touch /run/one"),
                  "No space left on device");
  }
  const Finished left =
      RunProgram({"unshare", "-m", "sh", "-c",
                  full + "; " + kController + " 2>/dev/null; find /run -type f ! -name full"});
  EXPECT_EQ(left.out, "");
}

TEST_F(ControllerMisuseTest, WithoutDescriptorsItRefusesNewProgramsAndKeepsTheOldOnes) {
  Daemon daemon(socket_);
  ASSERT_TRUE(daemon.IsUp());
  auto low = JoinWithQueue(kPriorityLow);
  const auto all =
      std::filesystem::directory_iterator("/proc/" + std::to_string(daemon.pid()) + "/fd");
  const auto open = std::distance(begin(all), end(all));
  // Room for the connections and the eventfds of a few more.
  ASSERT_EQ(RunProgram({"prlimit", "--pid", std::to_string(daemon.pid()),
                        "--nofile=" + std::to_string(open + 7)})
                .code,
            0);
  std::vector<std::unique_ptr<LayerClient>> more;
  std::string refusal;
  while (more.size() < 20) {
    auto client = LayerClient::Join(socket_, MakeHello(kPriorityLow), &refusal);
    if (client == nullptr) break;
    more.push_back(std::move(client));
  }
  EXPECT_GT(more.size(), 0u);
  EXPECT_LT(more.size(), 8u);
  EXPECT_NE(refusal.find("Too many open files"), std::string::npos) << refusal;
  EXPECT_NE(refusal.find("raise its limits (ulimit -n)"), std::string::npos) << refusal;
  // Who was there is served.
  auto high = std::move(more.front());
  more.clear();
  high->layer().MakeQueue(0, 1, kPriorityHigh);
  high->TellController();
  EXPECT_TRUE(HasMode(*low, kModeArmed));
  EXPECT_TRUE(HasMode(*high, kModeRaise));
  // And there is room again.
  EXPECT_NE(Join(kPriorityLow), nullptr);
}

TEST_F(ControllerMisuseTest, AnOlderAndANewerLayerAreRefusedInOneLineEach) {
  Daemon daemon(socket_);
  for (const std::uint32_t version : {kAbiVersion - 1, kAbiVersion + 1}) {
    HelloMessage hello = MakeHello(kPriorityLow);
    hello.header.abi_version = version;
    std::string refusal;
    EXPECT_EQ(LayerClient::Join(socket_, hello, &refusal), nullptr);
    EXPECT_NE(refusal.find(std::to_string(version)), std::string::npos) << refusal;
    EXPECT_NE(refusal.find(std::to_string(kAbiVersion)), std::string::npos) << refusal;
    EXPECT_NE(refusal.find("install"), std::string::npos) << refusal;
  }
  EXPECT_NE(Join(kPriorityLow), nullptr);
}

}  // namespace
}  // namespace xsched_hsa

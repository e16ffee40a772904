// misuse_test.cc: a machine that has no room for the controller: one clear line, and what serves goes on.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

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
  // A controller that is not told where to listen asks this.
  ControllerMisuseTest() { unsetenv("XSCHED_HSA_SOCKET"); }
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

// A stderr that takes nothing more: a full pipe, a full socket, or one whose reader has gone.
class ControllerStderrTest : public ControllerMisuseTest,
                             public ::testing::WithParamInterface<const char*> {
 protected:
  ControllerStderrTest() {
    const bool is_socket = GetParam() == std::string("FullSocket");
    EXPECT_EQ(is_socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_)
                        : pipe2(ends_, O_CLOEXEC),
              0);
    fcntl(ends_[1], F_SETFL, O_NONBLOCK);
    const std::string block(512, 'x');
    while (write(ends_[1], block.data(), block.size()) > 0) {
    }
    fcntl(ends_[1], F_SETFL, 0);
    std::ofstream(config_) << "[policy]\nname = 'weighted-fair'\n";
  }
  ~ControllerStderrTest() override {
    for (const int end : ends_) close(end);
  }
  // Two lines to tell. A signal is there before a question that is asked afterwards, and answered before the second.
  nlohmann::json ReloadAMistake(const Daemon& daemon) {
    std::ofstream(config_) << "[policy]\nname = 'nonsense'\n";
    kill(daemon.pid(), SIGHUP);
    Ask({{"op", "policy"}});
    return Ask({{"op", "policy"}});
  }

  const std::string config_ = directory_.path() + "/config.toml";
  int ends_[2] = {-1, -1};
};

TEST_P(ControllerStderrTest, NobodyReadsItAndProgramsAreServed) {
  Daemon daemon(socket_, {"--config", config_}, ends_[1]);
  ASSERT_TRUE(daemon.IsUp());
  const bool reader_goes = GetParam() == std::string("ClosedPipe");
  if (reader_goes) close(std::exchange(ends_[0], -1));
  auto low = JoinWithQueue(kPriorityLow);
  for (int i = 0; i < 3; ++i) ReloadAMistake(daemon);
  const nlohmann::json policies = ReloadAMistake(daemon);
  ASSERT_TRUE(policies.contains("policies")) << policies;
  EXPECT_EQ(policies["policies"][0]["policy"], "weighted-fair");
  EXPECT_NE(Join(kPriorityLow), nullptr);
  if (reader_goes) return;
  // When somebody reads again, the next line arrives, whole.
  fcntl(ends_[0], F_SETFL, O_NONBLOCK);
  std::string text(1 << 16, ' ');
  while (read(ends_[0], text.data(), text.size()) > 0) {
  }
  ReloadAMistake(daemon);
  const ssize_t size = read(ends_[0], text.data(), text.size());
  ASSERT_GT(size, 0);
  text.resize(static_cast<std::size_t>(size));
  EXPECT_EQ(text.rfind("xsched-hsad: ", 0), 0u) << text;
  EXPECT_NE(text.find("nonsense"), std::string::npos) << text;
  EXPECT_EQ(text.back(), '\n');
}

INSTANTIATE_TEST_SUITE_P(Ends, ControllerStderrTest,
                         ::testing::Values("FullPipe", "FullSocket", "ClosedPipe"),
                         [](const auto& one) { return one.param; });

}  // namespace
}  // namespace xsched_hsa

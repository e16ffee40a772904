// daemon_test.cc: the real xsched-hsad with layers and tools at its socket.
#include "daemon.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include "controller_test.h"
#include "layer_client.h"
#include "queue-ctl/client.h"
#include "socket_path.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;
using testing::Daemon;
using testing::Finished;
using testing::LayerClient;
using testing::MakeHello;
using testing::RunProgram;
using testing::TemporaryDirectory;

constexpr char kController[] = XSCHED_HSA_BIN_DIR "/xsched-hsad";

class DaemonTest : public testing::ControllerTest {
 protected:
  int RawConnect() {
    sockaddr_un address;
    FillAddress(socket_, &address);
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
};

TEST_F(DaemonTest, LayerGetsSealedPagesThatAreRight) {
  Daemon daemon(socket_);
  ASSERT_TRUE(daemon.IsUp());
  const auto client = Join(kPriorityLow);
  ASSERT_NE(client, nullptr);
  EXPECT_EQ(client->seals() & (F_SEAL_SHRINK | F_SEAL_GROW), F_SEAL_SHRINK | F_SEAL_GROW);
  EXPECT_EQ(client->layer().process()->magic, kPageMagic);
  EXPECT_EQ(client->layer().process()->session_id, client->session());
  EXPECT_EQ(client->layer().process()->size_bytes, sizeof(ProcessPage));
  EXPECT_EQ(client->layer().user()->uid, geteuid());
  EXPECT_EQ(client->layer().Slot(7).priority.load(), -1);
}

TEST_F(DaemonTest, HighClosesLowUntilItIsDoneAcrossTwoSessions) {
  Daemon daemon(socket_);
  auto low = JoinWithQueue(kPriorityLow);
  auto high = JoinWithQueue(kPriorityHigh);
  ASSERT_TRUE(HasMode(*low, kModeArmed));
  ASSERT_TRUE(HasMode(*high, kModeRaise));
  for (int turn = 0; turn < 20; ++turn) {
    high->layer().BecomeActive(0);
    EXPECT_TRUE(low->layer().GateClosed(0)) << "a store, not a message";
    high->TellController();
    high->layer().BecomeIdle(0);
    high->TellController();
    ASSERT_TRUE(low->SleepUntil([&] { return !low->layer().GateClosed(0); }));
  }
}

TEST_F(DaemonTest, GateStaysClosedLongerThanALeaseWhileTheControllerRenews) {
  Daemon daemon(socket_);
  auto low = JoinWithQueue(kPriorityLow);
  auto high = JoinWithQueue(kPriorityHigh);
  ASSERT_TRUE(HasMode(*low, kModeArmed));
  ASSERT_TRUE(HasMode(*high, kModeRaise));
  high->layer().BecomeActive(0);
  high->TellController();
  GpuUrgency* gpu = low->layer().Gpu(testing::kGpuA);
  const std::uint64_t first = gpu->lease_until_us.load();
  EXPECT_TRUE(low->SleepUntil([&] { return gpu->lease_until_us.load() > first + 3 * kLeaseUs; }));
  // A SIGKILLed controller: nothing says goodbye, and the lease runs out.
  daemon.Stop(SIGKILL);
  EXPECT_TRUE(low->SleepUntil([&] { return !low->layer().GateClosed(0); }));
}

TEST_F(DaemonTest, DeathOfAnActiveProgramOpensTheGate) {
  Daemon daemon(socket_);
  auto low = JoinWithQueue(kPriorityLow);
  auto high = JoinWithQueue(kPriorityHigh);
  ASSERT_TRUE(HasMode(*low, kModeArmed));
  ASSERT_TRUE(HasMode(*high, kModeRaise));
  high->layer().BecomeActive(0);
  high->TellController();
  high.reset();
  EXPECT_TRUE(HasMode(*low, 0));
  EXPECT_TRUE(low->SleepUntil([&] { return !low->layer().GateClosed(0); }));
}

TEST_F(DaemonTest, SigtermOpensEverythingAndRemovesTheSocket) {
  Daemon daemon(socket_);
  auto low = JoinWithQueue(kPriorityLow);
  auto high = JoinWithQueue(kPriorityHigh);
  ASSERT_TRUE(HasMode(*low, kModeArmed));
  ASSERT_TRUE(HasMode(*high, kModeRaise));
  high->layer().BecomeActive(0);
  EXPECT_EQ(daemon.Stop(SIGTERM), 0);
  EXPECT_FALSE(low->layer().GateClosed(0));
  EXPECT_EQ(low->layer().Slot(0).mode.load(), 0u);
  EXPECT_EQ(low->layer().process()->detached.load(), 1u);
  EXPECT_FALSE(std::filesystem::exists(socket_));
  EXPECT_FALSE(std::filesystem::exists(socket_ + ".lock"));
}

TEST_F(DaemonTest, SecondControllerIsRefusedInOneLine) {
  Daemon daemon(socket_);
  const Finished second = RunProgram({kController, "--socket", socket_});
  EXPECT_EQ(second.code, 2);
  EXPECT_NE(second.err.find("another controller (pid " + std::to_string(daemon.pid())),
            std::string::npos)
      << second.err;
  EXPECT_EQ(std::count(second.err.begin(), second.err.end(), '\n'), 1) << second.err;
  EXPECT_TRUE(Ask({{"op", "info"}}).value("ok", false)) << "the first one is still there";
}

TEST_F(DaemonTest, StaleSocketIsReplaced) {
  {
    Daemon killed(socket_);
    killed.Stop(SIGKILL);
  }
  ASSERT_TRUE(std::filesystem::exists(socket_));
  Daemon daemon(socket_);
  EXPECT_TRUE(daemon.IsUp());
  EXPECT_TRUE(Ask({{"op", "info"}}).value("ok", false));
}

TEST_F(DaemonTest, BadArgumentsAreOneLineAndTwo) {
  std::ofstream(directory_.path() + "/file") << "not a socket";
  std::filesystem::create_directory(directory_.path() + "/open");
  std::filesystem::permissions(directory_.path() + "/open", std::filesystem::perms::all);
  const std::vector<std::vector<std::string>> commands = {
      {kController, "--policy", "fair"},
      {kController, "--fly"},
      {kController, "--window-us", "0"},
      {kController, "--log-level", "loud"},
      {kController, "--socket", directory_.path() + "/file"},
      {kController, "--socket", directory_.path() + "/open/s"},
      {kController, "--socket", "/nowhere/at/all/s"},
      {kController, "--socket", directory_.path() + "/" + std::string(150, 'x')}};
  for (const auto& command : commands) {
    const Finished finished = RunProgram(command);
    EXPECT_EQ(finished.code, 2) << command[1] << " " << finished.err;
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
  }
}

TEST_F(DaemonTest, OtherVersionsAreRefusedWithAText) {
  Daemon daemon(socket_);
  HelloMessage hello = MakeHello(0);
  hello.header.abi_version = kAbiVersion + 1;
  std::string refusal;
  EXPECT_EQ(LayerClient::Join(socket_, hello, &refusal), nullptr);
  EXPECT_NE(refusal.find("version"), std::string::npos) << refusal;
  hello = MakeHello(0);
  hello.header.size_bytes = 3;
  EXPECT_EQ(LayerClient::Join(socket_, hello, &refusal), nullptr);
  EXPECT_NE(refusal.find("bytes"), std::string::npos) << refusal;
}

TEST_F(DaemonTest, RandomMessagesDoNotDisturbOthers) {
  constexpr unsigned kSeed = 3;
  Daemon daemon(socket_);
  auto low = JoinWithQueue(kPriorityLow);
  std::mt19937 random(kSeed);
  const HelloMessage hello = MakeHello(0);
  for (int i = 0; i < 300; ++i) {
    const int fd = RawConnect();
    for (unsigned n = random() % 4; n > 0; --n) {
      std::string bytes(random() % (i % 50 == 0 ? 60'000 : 600), '\0');
      for (char& c : bytes) c = static_cast<char>(random());
      if (random() % 3 == 0) bytes.insert(0, "{\"op\":\"list\"}");
      if (random() % 3 == 0) {
        bytes.assign(reinterpret_cast<const char*>(&hello), sizeof hello - random() % 2);
      }
      if (random() % 3 == 0) bytes.insert(0, "XXAL");
      if (send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
    }
    close(fd);
  }
  auto high = JoinWithQueue(kPriorityHigh);
  EXPECT_TRUE(HasMode(*low, kModeArmed)) << "seed " << kSeed;
  EXPECT_TRUE(HasMode(*high, kModeRaise));
  // Some of the random messages were greetings; their hang-ups may still be on the way.
  int with_queues = 0;
  const json reply = Ask({{"op", "list"}});
  for (const json& process : reply.at("processes")) {
    with_queues += !process.at("queues").empty();
  }
  EXPECT_EQ(with_queues, 2);
}

TEST_F(DaemonTest, BlockingEventfdOfAProgramDoesNotStopTheController) {
  Daemon daemon(socket_);
  auto hostile = Join(kPriorityLow);
  fcntl(hostile->event_fd(), F_SETFL, 0);  // the description is shared with the controller
  hostile->TellController();
  std::uint64_t drained = 0;
  ASSERT_EQ(read(hostile->event_fd(), &drained, sizeof drained), 8);
  hostile->TellController();
  EXPECT_TRUE(Ask({{"op", "info"}}).value("ok", false));
}

TEST_F(DaemonTest, ListWaitsForFreshMirrorsWithoutWaitingForSleepers) {
  Daemon daemon(socket_);
  auto client = JoinWithQueue(kPriorityLow);
  client->layer().Slot(0).submitted_index.store(41);
  const json stale = Ask({{"op", "list"}});
  ASSERT_EQ(stale.at("processes").size(), 1u) << stale;
  EXPECT_FALSE(stale["processes"][0].at("refreshed").get<bool>());

  const pid_t asker = fork();
  if (asker == 0) {
    const json fresh = Ask({{"op", "list"}});
    const json& process = fresh["processes"][0];
    const bool good =
        process.at("refreshed").get<bool>() && process["queues"][0]["submitted"] == 42;
    _exit(good ? 0 : 1);
  }
  ProcessPage* page = client->layer().process();
  // The first list has asked once, in vain.
  EXPECT_TRUE(client->SleepUntil([&] { return page->refresh.load() == 2; }));
  client->layer().Slot(0).submitted_index.store(42);
  page->refreshed.store(page->refresh.load());
  int status = 0;
  waitpid(asker, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(DaemonTest, BigListsArriveWhole) {
  Daemon daemon(socket_);
  auto client = Join(kPriorityLow);
  for (std::uint32_t i = 0; i < kQueuesMax; ++i) client->layer().MakeQueue(i, i, 3);
  client->TellController();
  const json reply = Ask({{"op", "list"}});
  ASSERT_EQ(reply.at("processes").size(), 1u);
  EXPECT_EQ(reply["processes"][0]["queues"].size(), kQueuesMax);
  EXPECT_GT(reply.dump().size(), kWireMessageMax);
}

TEST_F(DaemonTest, EndedSessionsStayInTheListOnRequest) {
  Daemon daemon(socket_);
  auto client = JoinWithQueue(kPriorityLow);
  client->layer().Slot(0).packets_held.store(5);
  client->layer().Slot(0).holds.store(2);
  client.reset();
  json reply;
  // The hang-up is handled in the controller's own time.
  for (int i = 0; i < 500; ++i) {
    reply = Ask({{"op", "list"}, {"all", true}});
    if (!reply["processes"][0].at("alive").get<bool>()) break;
  }
  EXPECT_FALSE(reply["processes"][0].at("alive").get<bool>());
  EXPECT_EQ(reply["processes"][0]["queues"][0]["state"], "destroyed");
  EXPECT_EQ(reply["totals"]["packets_held"], 5);
  EXPECT_EQ(reply["totals"]["preemptions"], 2);
  EXPECT_TRUE(Ask({{"op", "list"}})["processes"].empty());
}

TEST_F(DaemonTest, PrivateControllerLeavesWhenIdleAndTakesItsDirectoryAlong) {
  const std::string directory = directory_.path() + "/private";
  std::filesystem::create_directory(directory);
  Daemon daemon(directory + "/s", {"--private", "--exit-when-idle", "0.05"});
  std::string error;
  {
    auto client = Client::Connect(directory + "/s", &error);
    ASSERT_TRUE(client) << error;
    EXPECT_EQ(daemon.WaitForExit(200), -1) << "somebody is there";
  }
  EXPECT_EQ(daemon.WaitForExit(5000), 0);
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST_F(DaemonTest, SocketModeFollowsTheAudience) {
  struct stat status;
  {
    Daemon daemon(socket_, {"--private"});
    ASSERT_EQ(stat(socket_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    daemon.Stop(SIGTERM);
  }
  std::filesystem::create_directory(directory_.path());
  Daemon daemon(socket_);
  ASSERT_EQ(stat(socket_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, geteuid() == 0 ? 0666u : 0600u);
}

TEST_F(DaemonTest, SleepsWhenNothingIsToDo) {
  Daemon daemon(socket_);
  auto low = JoinWithQueue(kPriorityLow);
  auto high = JoinWithQueue(kPriorityHigh);
  ASSERT_TRUE(HasMode(*high, kModeRaise));
  ASSERT_TRUE(HasMode(*low, kModeArmed));
  const auto switches = [&] {
    std::ifstream file("/proc/" + std::to_string(daemon.pid()) + "/status");
    std::string word;
    long count = -1;
    while (file >> word) {
      if (word == "voluntary_ctxt_switches:") file >> count;
    }
    return count;
  };
  const long before = switches();
  poll(nullptr, 0, 300);  // the time is the measurement
  EXPECT_LE(switches() - before, 1);
}

}  // namespace
}  // namespace xsched_hsa

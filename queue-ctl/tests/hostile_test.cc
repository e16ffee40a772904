// hostile_test.cc: programs that want to harm others through the controller's socket, each attack of
// docs/security-model.md by its name. What they write into pages is in hostile_page_test.cc.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "controller_test.h"
#include "log_budget.h"
#include "server.h"
#include "socket_path.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;
using testing::Daemon;
using testing::LayerClient;
using testing::MakeHello;

constexpr uid_t kNobody = 65534;

class HostileTest : public testing::ControllerTest {
 protected:
  int RawConnect() {
    sockaddr_un address;
    FillAddress(socket_, &address);
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
    close(fd);
    return -1;
  }
  static std::size_t Descriptors(pid_t pid) {
    const auto all = std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }
  static std::size_t ResidentKb(pid_t pid) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    std::string line;
    while (std::getline(status, line)) {
      if (line.rfind("VmRSS:", 0) == 0) return std::stoul(line.substr(6));
    }
    return 0;
  }
  // Until the controller has closed what was closed at the other end.
  static bool FallsTo(const std::function<bool()>& done) {
    // Once is enough: what has fallen may rise again for a moment.
    for (int i = 0; i < 3000; ++i, usleep(10'000)) {
      if (done()) return true;
    }
    return false;
  }
  // A controller that writes its lines into a file.
  pid_t StartLogging(const std::string& log, const std::string& config) {
    const pid_t pid = fork();
    if (pid == 0) {
      const int fd = open(log.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
      dup2(fd, STDOUT_FILENO);
      dup2(fd, STDERR_FILENO);
      execl(XSCHED_HSA_BIN_DIR "/xsched-hsad", "xsched-hsad", "--socket", socket_.c_str(),
            "--config", config.c_str(), "--log-level", "info", nullptr);
      _exit(127);
    }
    EXPECT_TRUE(FallsTo([&] { return Ask({{"op", "info"}}).value("ok", false); }));
    return pid;
  }
  // Runs `attack` as another user, who has no rights here; its result is its exit code.
  int AsNobody(const std::function<int()>& attack) {
    chmod(directory_.path().c_str(), 0755);
    const pid_t pid = fork();
    if (pid == 0) {
      const bool is_nobody = setgroups(0, nullptr) == 0 &&
                             setresgid(kNobody, kNobody, kNobody) == 0 &&
                             setresuid(kNobody, kNobody, kNobody) == 0;
      _exit(is_nobody ? attack() : 125);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
};

TEST_F(HostileTest, AnotherUserChangesNothing) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  Daemon daemon(socket_);
  auto victim = JoinWithQueue(kPriorityLow);
  ASSERT_EQ(Ask({{"op", "list"}})["processes"].size(), 1u);
  const json orders[] = {{{"op", "hold"}},
                         {{"op", "suspend"}},
                         {{"op", "release"}},
                         {{"op", "resume"}},
                         {{"op", "cu-mask"}, {"units", 16}},
                         {{"op", "set-priority"}, {"priority", 0}},
                         {{"op", "set-weight"}, {"weight", 1}},
                         {{"op", "set-cap"}, {"cap_percent", 1}},
                         {{"op", "set-share"}, {"share_percent", 1}},
                         {{"op", "set-deadline"}, {"deadline_ms", 1}},
                         {{"op", "set-latency-target"}, {"latency_target_ms", 1}},
                         {{"op", "policy"}, {"set", "round-robin"}},
                         {{"op", "reload"}}};
  const pid_t pid = getpid();
  const int refused = AsNobody([&] {
    int count = 0;
    for (json order : orders) {
      order["pid"] = pid;
      const json reply = Ask(order);
      count += !reply.value("ok", true) && reply.value("code", "") == "permission";
    }
    return count;
  });
  EXPECT_EQ(refused, static_cast<int>(std::size(orders)));
  EXPECT_EQ(victim->layer().Slot(0).hold.load(), 0u);
  EXPECT_EQ(victim->layer().Slot(0).mode.load(), 0u);
  EXPECT_EQ(Ask({{"op", "info"}})["controller"]["policy"], "strict-priority");
}

TEST_F(HostileTest, AnotherUserSeesNoNamesAndNoTimings) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  Daemon daemon(socket_);
  auto low = JoinWithQueue(kPriorityLow);
  auto high = JoinWithQueue(kPriorityHigh);
  ASSERT_TRUE(HasMode(*low, kModeArmed));
  int ready[2], go[2];
  ASSERT_EQ(pipe(ready) + pipe(go), 0);
  std::thread parent([&] {
    char byte;
    if (read(ready[0], &byte, 1) != 1) return;
    // What a follower might hear of: a queue, a preemption, a session that ends.
    low->layer().MakeQueue(1, 2, kPriorityLow);
    low->TellController();
    high->layer().BecomeActive(0);
    high->TellController();
    Ask({{"op", "info"}});
    high->layer().BecomeIdle(0);
    high->TellController();
    Ask({{"op", "info"}});
    if (write(go[1], "g", 1) != 1) std::abort();
  });
  const int seen = AsNobody([&] {
    std::string error;
    auto follower = Client::Connect(socket_, &error);
    if (!follower || !follower->Call({{"op", "events"}}, &error)) return 100;
    if (write(ready[1], "r", 1) != 1) return 101;
    char byte;
    if (read(go[0], &byte, 1) != 1) return 102;
    int heard = follower->Next(&error, 200) ? 1 : 0;
    const json list = Ask({{"op", "list"}, {"all", true}, {"decisions", true}});
    if (!list.value("ok", false)) return 103;
    heard += static_cast<int>(list["processes"].size()) * 2;
    heard += list["totals"].value("raises", 1) != 0 ? 4 : 0;
    const json stats = Ask({{"op", "stats"}});
    heard += stats["totals"].value("processes", 1) != 0 ? 8 : 0;
    return heard;
  });
  if (seen >= 100) close(ready[1]);
  parent.join();
  EXPECT_EQ(seen, 0) << "1: an event, 2: a program in the list, 4, 8: somebody's totals";
}

TEST_F(HostileTest, AnotherUserNeitherReadsNorStopsARecording) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  Daemon daemon(socket_);
  auto victim = JoinWithQueue(kPriorityLow);
  ASSERT_TRUE(Ask({{"op", "trace-start"}})["ok"]);
  const int refused = AsNobody([&] {
    int count = 0;
    for (const char* op : {"trace-read", "trace-stop", "trace-start"}) {
      count += !Ask({{"op", op}}).value("ok", true);
    }
    return count;
  });
  EXPECT_EQ(refused, 3);
  EXPECT_TRUE(Ask({{"op", "trace-stop"}})["ok"]);
}

TEST_F(HostileTest, AUsersConnectionsEndAndTheOthersGoOn) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  Daemon daemon(socket_);
  const std::size_t before = Descriptors(daemon.pid());
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  int gone[2];
  ASSERT_EQ(pipe(gone), 0);
  const int code = AsNobody([&] {
    std::vector<int> open;
    const HelloMessage hello = MakeHello(kPriorityHigh);
    for (int i = 0; i < 700; ++i) {
      const int fd = RawConnect();
      if (fd < 0) break;
      send(fd, &hello, sizeof hello, MSG_NOSIGNAL);
      open.push_back(fd);
    }
    // The last ones were refused: they read as ended.
    char byte[512];
    usleep(200'000);
    int ended = 0;
    for (const int fd : open) {
      const ssize_t size = recv(fd, byte, sizeof byte, MSG_DONTWAIT);
      const bool welcome =
          size == sizeof(WelcomeMessage) &&
          reinterpret_cast<WelcomeMessage*>(byte)->header.type == WireType::kWelcome;
      ended += !welcome;
    }
    return ended >= 150 && !open.empty() ? 0 : 1;
  });
  EXPECT_EQ(code, 0) << "nobody limits the sessions of a user";
  auto other = Join(kPriorityLow);
  EXPECT_NE(other, nullptr);
  other.reset();
  EXPECT_TRUE(FallsTo([&] { return Descriptors(daemon.pid()) <= before; }));
}

TEST_F(HostileTest, TenThousandConnectsLeaveNothingBehind) {
  Daemon daemon(socket_);
  Ask({{"op", "info"}});
  const std::size_t fds = Descriptors(daemon.pid()), kb = ResidentKb(daemon.pid());
  const HelloMessage hello = MakeHello(kPriorityLow);
  for (int i = 0; i < 10'000; ++i) {
    const int fd = RawConnect();
    ASSERT_GE(fd, 0);
    if (i % 8 == 0)
      send(fd, &hello, sizeof hello - static_cast<std::size_t>(i % 16 == 0), MSG_NOSIGNAL);
    close(fd);
  }
  EXPECT_TRUE(FallsTo([&] { return Descriptors(daemon.pid()) <= fds; }));
#ifdef __SANITIZE_ADDRESS__
  constexpr std::size_t kMoreKb = 256 * 1024;  // freed memory stays in its quarantine
#else
  constexpr std::size_t kMoreKb = 16'384;
#endif
  EXPECT_LT(ResidentKb(daemon.pid()), kb + kMoreKb);
  EXPECT_NE(Join(kPriorityLow), nullptr);
}

TEST_F(HostileTest, RepliesThatNobodyReadsAreBounded) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the bound is the controller's memory, not a sanitizer's quarantine or shadow";
#endif
  Daemon daemon(socket_);
  // Long lists: many queues, each some hundred bytes.
  std::vector<std::unique_ptr<LayerClient>> layers;
  for (int i = 0; i < 8; ++i) {
    layers.push_back(Join(kPriorityLow));
    for (std::uint32_t q = 0; q < kQueuesMax; ++q) layers.back()->layer().MakeQueue(q, q + 1, 0);
    layers.back()->TellController();
  }
  const std::string request = R"({"op": "list"})";
  std::vector<int> readers;
  for (int i = 0; i < 40; ++i) {
    readers.push_back(RawConnect());
    send(readers.back(), request.data(), request.size(), MSG_NOSIGNAL);
  }
  auto ended = [&] {
    int count = 0;
    for (const int fd : readers) {
      char peek;
      // Ended and with nothing to read: given up before its reply.
      count += recv(fd, &peek, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
    }
    return count;
  };
  EXPECT_TRUE(FallsTo([&] { return ended() > 0; }))
      << "all replies are kept for readers that never read";
  EXPECT_LT(ResidentKb(daemon.pid()), (2 * kUnreadPerUserMax >> 10) + 65'536);
  for (const int fd : readers) close(fd);
  EXPECT_TRUE(Ask({{"op", "info"}})["ok"]);
}

TEST_F(HostileTest, DescriptorsThatAreSentAlongAreDropped) {
  Daemon daemon(socket_);
  Ask({{"op", "info"}});
  const std::size_t before = Descriptors(daemon.pid());
  std::vector<int> held;
  for (int i = 0; i < 20; ++i) {
    const int fd = RawConnect();
    HelloMessage hello = MakeHello(kPriorityLow);
    iovec data{&hello, sizeof hello};
    std::vector<int> fds(200, 0);
    std::vector<std::byte> control(CMSG_SPACE(fds.size() * sizeof(int)));
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
    EXPECT_EQ(sendmsg(fd, &message, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof hello));
    held.push_back(fd);
  }
  EXPECT_TRUE(Ask({{"op", "info"}})["ok"]);
  EXPECT_LT(Descriptors(daemon.pid()), before + 100u) << "they are kept";
  for (const int fd : held) close(fd);
  EXPECT_TRUE(FallsTo([&] { return Descriptors(daemon.pid()) <= before; }));
}

TEST_F(HostileTest, AFloodOfListsDoesNotEndAnotherProgramsHold) {
  Daemon daemon(socket_);
  auto low = JoinWithQueue(kPriorityLow);
  ASSERT_TRUE(Ask({{"op", "hold"}, {"pid", getpid()}})["ok"]);
  std::vector<int> readers;
  const std::string request = R"({"op": "list", "all": true})";
  for (int i = 0; i < 100; ++i) {
    readers.push_back(RawConnect());
    send(readers.back(), request.data(), request.size(), MSG_NOSIGNAL);
  }
  EXPECT_TRUE(Ask({{"op", "info"}})["ok"]);
  EXPECT_TRUE(low->layer().GateClosed(0)) << "the controller has no time to renew";
  for (const int fd : readers) close(fd);
}

TEST(LogBudgetTest, BoundsLinesASecondAndSaysHowManyAreMissing) {
  LogBudget budget;
  std::uint64_t left_out = 0;
  int written = 0;
  for (int i = 0; i < 10'000; ++i) written += budget.Take(5'000'000 + i, &left_out);
  EXPECT_EQ(written, static_cast<int>(kLogLinesPerSecond));
  EXPECT_EQ(left_out, 0u);
  EXPECT_TRUE(budget.Take(6'100'000, &left_out));
  EXPECT_EQ(left_out, 10'000 - kLogLinesPerSecond);
  EXPECT_TRUE(budget.Take(6'100'001, &left_out));
  EXPECT_EQ(left_out, 0u);
}

// A program makes queues without end: its lines in the log are bounded like any others.
TEST_F(HostileTest, TheLogIsBounded) {
  const std::string log = directory_.path() + "/log";
  const pid_t pid = StartLogging(log, "/dev/null");
  const HelloMessage hello = MakeHello(kPriorityLow);
  for (int i = 0; i < 2'000; ++i) {
    const int fd = RawConnect();
    send(fd, &hello, sizeof hello - static_cast<std::size_t>(i % 2), MSG_NOSIGNAL);
    close(fd);
  }
  EXPECT_TRUE(Ask({{"op", "info"}})["ok"]);
  kill(pid, SIGTERM);
  int status = 0;
  waitpid(pid, &status, 0);
  std::ifstream file(log);
  const auto lines = std::count(std::istreambuf_iterator<char>(file), {}, '\n');
  EXPECT_GT(lines, 0);
  EXPECT_LT(lines, 1'500);
}

// Also those that a rule's match and a program's own notes cause.
TEST_F(HostileTest, TheLogIsBoundedWhateverAProgramCauses) {
  const std::string log = directory_.path() + "/log", config = directory_.path() + "/config.toml";
  std::ofstream(config) << "[[rule]]\nname = 'everybody'\nweight = 200\n";
  const pid_t pid = StartLogging(log, config);
  const auto began = std::chrono::steady_clock::now();
  const HelloMessage hello = MakeHello(kPriorityLow);
  NoteMessage note{{kWireMagic, kAbiVersion, WireType::kNote, sizeof note}, "as I said"};
  constexpr int kPrograms = 1'000;
  for (int i = 0; i < kPrograms; ++i) {
    const int fd = RawConnect();
    send(fd, &hello, sizeof hello, MSG_NOSIGNAL);
    char welcome[sizeof(WelcomeMessage)];  // notes before it are not read
    recv(fd, welcome, sizeof welcome, 0);
    for (int notes = 0; notes < 40; ++notes) send(fd, &note, sizeof note, MSG_NOSIGNAL);
    close(fd);
  }
  EXPECT_TRUE(Ask({{"op", "info"}})["ok"]);
  const std::chrono::duration<double> lasted = std::chrono::steady_clock::now() - began;
  kill(pid, SIGTERM);
  int status = 0;
  waitpid(pid, &status, 0);
  std::ifstream file(log);
  const auto lines = std::count(std::istreambuf_iterator<char>(file), {}, '\n');
  // And one a second that says how many are missing.
  EXPECT_LE(static_cast<double>(lines), (lasted.count() + 2) * (kLogLinesPerSecond + 1) + 10)
      << "in " << lasted.count() << " s";
}

}  // namespace
}  // namespace xsched_hsa

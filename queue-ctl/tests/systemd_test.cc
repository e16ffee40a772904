// Socket activation, readiness and the journal, as systemd does them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <string>

#include "controller_test.h"
#include "daemon.h"
#include "queue-ctl/client.h"

namespace xsched_hsa {
namespace {

int Bound(const std::string& path, int type) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::strcpy(name.sun_path, path.c_str());
  const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  return fd;
}

class ActivationTest : public ::testing::Test {
 protected:
  // Starts xsched-hsad with `listener` as descriptor 3, the way systemd does.
  pid_t Start(int listener, const std::string& socket) {
    const pid_t pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(20);  // a controller that starts although it should not
    dup2(listener, 3);
    fcntl(3, F_SETFD, 0);  // it may have been 3 already
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("NOTIFY_SOCKET", notify_.c_str(), 1);
    execl(XSCHED_HSA_BIN_DIR "/xsched-hsad", "xsched-hsad", "--socket", socket.c_str(),
          "--log-level", "error", static_cast<char*>(nullptr));
    _exit(127);
  }
  std::string Note(int fd) {
    const timeval patience{10, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char text[256];
    const ssize_t size = recv(fd, text, sizeof text, 0);
    return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : "nothing";
  }
  static int CodeOf(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  testing::TemporaryDirectory directory_;
  const std::string socket_ = directory_.path() + "/control.sock";
  const std::string notify_ = directory_.path() + "/notify";
};

TEST_F(ActivationTest, TakesTheSocketSaysReadyAndLeavesItBehind) {
  const int notes = Bound(notify_, SOCK_DGRAM);
  const int listener = Bound(socket_, SOCK_SEQPACKET);
  ASSERT_EQ(listen(listener, 16), 0);
  // A program may connect before the controller runs: the backlog keeps it.
  std::string error;
  auto early = Client::Connect(socket_, &error);
  ASSERT_TRUE(early) << error;
  const pid_t pid = Start(listener, socket_);
  EXPECT_EQ(Note(notes).rfind("READY=1", 0), 0u);
  const auto reply = early->Call({{"op", "info"}}, &error);
  ASSERT_TRUE(reply) << error;
  EXPECT_EQ((*reply)["controller"]["pid"], pid);
  kill(pid, SIGTERM);
  EXPECT_EQ(Note(notes), "STOPPING=1");
  EXPECT_EQ(CodeOf(pid), 0);
  EXPECT_EQ(access(socket_.c_str(), F_OK), 0) << "the socket is the manager's";
  close(listener);
  close(notes);
}

TEST_F(ActivationTest, RefusesASocketThatIsNotItsOwn) {
  const int stream = Bound(socket_, SOCK_STREAM);
  ASSERT_EQ(listen(stream, 16), 0);
  EXPECT_EQ(CodeOf(Start(stream, socket_)), 2);
  close(stream);
}

// The journal files a line under the priority that it begins with; without one an error would be an
// info like any other, and `journalctl -p err` silent.
TEST(JournalTest, AMistakeInTheConfigurationIsAnErrorThere) {
  const testing::TemporaryDirectory directory;
  const std::string config = directory.path() + "/config.toml", err = directory.path() + "/err";
  std::ofstream(config) << "[policy]\nname = \"rund-robin\"\n[controller]\nlog_level = \"loud\"\n";
  for (const bool journal : {true, false}) {
    const pid_t pid = fork();
    if (pid == 0) {
      dup2(open(err.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), STDERR_FILENO);
      struct stat status;
      fstat(STDERR_FILENO, &status);
      const std::string stream =
          std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino + (journal ? 0 : 1));
      setenv("JOURNAL_STREAM", stream.c_str(), 1);
      execl(XSCHED_HSA_BIN_DIR "/xsched-hsad", "xsched-hsad", "--config", config.c_str(),
            static_cast<char*>(nullptr));
      _exit(127);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), 2);
    std::ifstream file(err);
    int lines = 0;
    for (std::string line; std::getline(file, line); ++lines) {
      EXPECT_EQ(line.rfind(journal ? "<3>xsched-hsad: " : "xsched-hsad: ", 0), 0u) << line;
    }
    EXPECT_EQ(lines, 2) << "each mistake, not only the first";
  }
}

// A journal of the test's own, where the real one would be, in a mount namespace.
class FakeJournalTest : public testing::ControllerTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0 ||
        testing::RunProgram({"unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/run"}).code != 0) {
      GTEST_SKIP() << "mounting in a namespace of one's own is not permitted here";
    }
    journal_ = Bound(directory_.path() + "/journal", SOCK_DGRAM);
    std::ofstream(config_) << "[[rule]]\nname = \"two\\nlines\"\nweight = 300\n";
    pid_ = fork();
    if (pid_ == 0) StartThere();
    // It answers when it has said that it serves.
    while (Next().find("MESSAGE=xsched-hsad ") != 0) {
      if (HasFailure()) return;
    }
  }
  ~FakeJournalTest() override {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    if (journal_ >= 0) close(journal_);
  }
  [[noreturn]] void StartThere() {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(open((directory_.path() + "/err").c_str(), O_CREAT | O_WRONLY, 0600), STDERR_FILENO);
    struct stat status;
    fstat(STDERR_FILENO, &status);
    setenv("JOURNAL_STREAM",
           (std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino)).c_str(), 1);
    const std::string mounts =
        "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal; : > "
        "/run/systemd/journal/socket; "
        "mount --bind " +
        directory_.path() + "/journal /run/systemd/journal/socket; exec \"$@\"";
    execlp("unshare", "unshare", "-m", "sh", "-c", mounts.c_str(), "sh",
           XSCHED_HSA_BIN_DIR "/xsched-hsad", "--socket", socket_.c_str(), "--config",
           config_.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  // What the journal gets next; a failure if there is nothing.
  std::string Next() {
    const timeval patience{20, 0};
    setsockopt(journal_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char entry[8192];
    const ssize_t size = recv(journal_, entry, sizeof entry, 0);
    EXPECT_GT(size, 0) << "nothing came";
    return size > 0 ? std::string(entry, static_cast<std::size_t>(size)) : "";
  }
  static bool Has(const std::string& entry, const std::string& line) {
    return ("\n" + entry).find("\n" + line) != std::string::npos;
  }

  const std::string config_ = directory_.path() + "/config.toml";
  int journal_ = -1;
  pid_t pid_ = -1;
};

TEST_F(FakeJournalTest, EventsHaveTheirFieldsAndMistakesTheirPriority) {
  const auto client = Join(kPriorityLow);
  ASSERT_NE(client, nullptr);
  std::string session, rule;
  for (std::string entry; session.empty() || rule.empty();) {
    entry = Next();
    if (HasFailure()) return;
    if (Has(entry, "XSCHED_HSA_EVENT=session\n")) session = entry;
    if (Has(entry, "XSCHED_HSA_EVENT=rule\n")) rule = entry;
  }
  for (const char* line : {"SYSLOG_IDENTIFIER=xsched-hsad\n", "PRIORITY=6\n",
                           "MESSAGE=event=session ", "XSCHED_HSA_STATE=up\n"}) {
    EXPECT_TRUE(Has(session, line)) << line << session;
  }
  EXPECT_TRUE(Has(session, "XSCHED_HSA_PID=" + std::to_string(getpid()) + "\n")) << session;
  const std::string two_lines("XSCHED_HSA_RULE\n\x09\0\0\0\0\0\0\0two\nlines\n", 34);
  EXPECT_TRUE(Has(rule, two_lines)) << rule;
  std::ofstream(config_) << "[polcy]\n";
  kill(pid_, SIGHUP);
  std::string mistake;
  while (mistake.find("polcy") == std::string::npos && !HasFailure()) mistake = Next();
  EXPECT_TRUE(Has(mistake, "PRIORITY=3\n")) << mistake;
}

TEST_F(FakeJournalTest, AJournalThatHangsKeepsNobodyUp) {
  // As full as it gets.
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::strcpy(name.sun_path, (directory_.path() + "/journal").c_str());
  const int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  while (sendto(sender, "x", 1, 0, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 1) {
  }
  close(sender);
  for (int i = 0; i < 3; ++i) {
    kill(pid_, SIGHUP);
    EXPECT_TRUE(Ask({{"op", "policy"}}).contains("policies"));
  }
  EXPECT_NE(Join(kPriorityLow), nullptr);
  // Once it reads again, what is new is there.
  char entry[8192];
  while (recv(journal_, entry, sizeof entry, MSG_DONTWAIT) > 0) {
  }
  kill(pid_, SIGHUP);
  EXPECT_NE(Next().find("MESSAGE="), std::string::npos);
}

}  // namespace
}  // namespace xsched_hsa

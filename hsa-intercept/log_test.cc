#include "log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <utility>

namespace xsched_hsa {
namespace {

// What a child with that stderr ends with, having logged a line; one that waits is ended by a signal.
int StatusOfALine(const std::function<void()>& prepare) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGPIPE, SIG_DFL);
    alarm(20);
    prepare();
    SetLogLevel(LogLevel::kWarn);  // whatever another test has left
    Log(LogLevel::kError, "a line");
    _exit(7);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

void Fill(int end) {
  const int flags = fcntl(end, F_GETFL);
  fcntl(end, F_SETFL, flags | O_NONBLOCK);
  const std::string block(512, 'x');
  while (write(end, block.data(), block.size()) > 0) {
  }
  fcntl(end, F_SETFL, flags);
}

class LogTest : public testing::TestWithParam<bool> {
 protected:
  LogTest() {
    const int made = GetParam() ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends_) : pipe(ends_);
    EXPECT_EQ(made, 0);
  }
  ~LogTest() override {
    close(ends_[0]);
    close(ends_[1]);
  }
  int ends_[2];
};

TEST_P(LogTest, ALineArrivesWhole) {
  const int status = StatusOfALine([this] { dup2(ends_[1], STDERR_FILENO); });
  EXPECT_EQ(WEXITSTATUS(status), 7);
  char line[100] = {};
  EXPECT_GT(read(ends_[0], line, sizeof(line) - 1), 0);
  const std::string end = std::string(" ") + program_invocation_short_name + "]: error: a line\n";
  EXPECT_NE(std::string(line).find(end), std::string::npos) << line;
}

TEST_P(LogTest, NobodyWaitsWhereTheLineDoesNotFit) {
  Fill(ends_[1]);
  const int status = StatusOfALine([this] { dup2(ends_[1], STDERR_FILENO); });
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
}

TEST_P(LogTest, AReaderThatHasGoneIsNoSignal) {
  close(std::exchange(ends_[0], -1));
  const int status = StatusOfALine([this] { dup2(ends_[1], STDERR_FILENO); });
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
}

TEST(LogWithoutStderrTest, AProgramWithoutOneRuns) {
  EXPECT_TRUE(WIFEXITED(StatusOfALine([] { close(STDERR_FILENO); })));
}

INSTANTIATE_TEST_SUITE_P(Ends, LogTest, testing::Bool(),
                         [](const auto& one) { return one.param ? "Socket" : "Pipe"; });

}  // namespace
}  // namespace xsched_hsa

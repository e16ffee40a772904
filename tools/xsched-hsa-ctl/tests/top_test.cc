// top: its rows from two answers, and its screen in a pseudo-terminal.
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>

#include "daemon.h"
#include "layer_client.h"
#include "top_model.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

json Queue(int serial, double device_ms, int submitted, int published, int read) {
  return {{"serial", serial},       {"gpu", "0000:03:00.0"},
          {"priority", 7},          {"state", "running"},
          {"submitted", submitted}, {"published", published},
          {"read", read},           {"pending", submitted - read},
          {"holds", serial},        {"held_ms", 10.0 / (serial + 1)},
          {"restricted_ms", 0.0},   {"device_ms", device_ms}};
}

json Reply(double device_ms) {
  json process = {
      {"session", 1},
      {"pid", 42},
      {"comm", "serve"},
      {"rule", "online"},
      {"priority", 7},
      {"queues", json::array({Queue(0, device_ms, 9, 7, 4), Queue(1, 0, 5, 5, 5)})},
      {"requests",
       {{"latency", {{"count", 3}, {"p50_ms", 1.5}, {"p95_ms", 2}, {"p99_ms", 2.25}}}}}};
  return {{"controller", {{"policy", "p"}, {"uptime_s", 3.0}}},
          {"processes", json::array({process})}};
}

TEST(TopModelTest, RowsHavePacketsSharesAndPercentiles) {
  TopModel model;
  model.Update(Reply(100), 10);
  EXPECT_FALSE(model.Rows("held", false)[0].device_percent) << "one answer is no rate";
  model.Update(Reply(600), 11);
  const auto rows = model.Rows("held", false);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].queue, "0");
  EXPECT_EQ(rows[0].pending, 5u);
  EXPECT_EQ(rows[0].exposed, 3u);
  EXPECT_EQ(rows[0].held, 2u);
  EXPECT_DOUBLE_EQ(*rows[0].device_percent, 50);
  EXPECT_DOUBLE_EQ(*rows[0].p99_ms, 2.25);
  EXPECT_EQ(rows[0].rule, "online");
}

TEST(TopModelTest, SortsByEachKeyAndBack) {
  TopModel model;
  model.Update(Reply(0), 1);
  model.Update(Reply(5), 2);
  EXPECT_EQ(model.Rows("preemptions", false)[0].queue, "1");
  EXPECT_EQ(model.Rows("preemptions", true)[0].queue, "0");
  EXPECT_EQ(model.Rows("device", false)[0].queue, "0");
  EXPECT_EQ(model.Rows("pending", true)[0].queue, "1");
}

TEST(TopModelTest, MissingFieldsAreDashesAndLinesAreCut) {
  TopModel model;
  json reply = Reply(1);
  reply["processes"][0]["queues"] = json::array();
  reply["processes"][0].erase("requests");
  model.Update(reply, 1);
  const auto lines = TopLines(model.Rows("held", false), 20);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_LE(lines[1].size(), 20u);
  EXPECT_NE(TopLines(model.Rows("held", false), 0)[1].find("no queue"), std::string::npos);
}

TEST(TopModelTest, ANarrowTerminalDoesWithoutTheLeastTellingColumns) {
  TopModel model;
  model.Update(Reply(100), 10);
  model.Update(Reply(600), 11);
  const auto rows = model.Rows("held", false);
  const auto whole = TopLines(rows, 0);
  std::size_t wide = 0;
  for (const std::string& line : whole) wide = std::max(wide, line.size());
  EXPECT_EQ(TopLines(rows, wide), whole) << "nothing is left out where all fits";
  const auto narrow = TopLines(rows, 80);
  for (const std::string& line : narrow) EXPECT_LE(line.size(), 80u);
  for (const char* name : {"PID", "PROGRAM", "STATE", "HELD-MS", "P99-MS"}) {
    EXPECT_NE(narrow[0].find(name), std::string::npos) << narrow[0];
  }
  EXPECT_NE(narrow[1].find("2.25"), std::string::npos) << narrow[1];
  EXPECT_EQ(narrow[0].find("P50-MS"), std::string::npos) << narrow[0];
  // One by one, not all at once.
  EXPECT_NE(TopLines(rows, wide - 1)[0].find("P95-MS"), std::string::npos);
}

// A program in a terminal of its own.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& words) {
    winsize size{24, 150, 0, 0};
    pid_ = forkpty(&fd_, nullptr, nullptr, &size);
    if (pid_ != 0) return;
    setenv("TERM", "xterm", 1);
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  ~Terminal() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(fd_);
  }
  bool WaitFor(const std::string& text) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (seen_.find(text) == std::string::npos) {
      pollfd ready{fd_, POLLIN, 0};
      if (std::chrono::steady_clock::now() > deadline) return false;
      if (poll(&ready, 1, 100) <= 0) continue;
      char buffer[4096];
      const ssize_t size = read(fd_, buffer, sizeof buffer);
      if (size <= 0) return seen_.find(text) != std::string::npos;
      seen_.append(buffer, static_cast<std::size_t>(size));
    }
    return true;
  }
  void Forget() { seen_.clear(); }
  void Type(const char* keys) { EXPECT_GT(write(fd_, keys, std::strlen(keys)), 0); }
  void Resize(unsigned short rows, unsigned short columns) {
    winsize size{rows, columns, 0, 0};
    ioctl(fd_, TIOCSWINSZ, &size);
  }
  int Wait() {
    // What it still writes has to be read, or it could not end.
    WaitFor("\x1b[no such text");
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  const std::string& seen() const { return seen_; }

 private:
  int fd_ = -1;
  pid_t pid_ = -1;
  std::string seen_;
};

class TopScreenTest : public ::testing::Test {
 protected:
  std::vector<std::string> Top() {
    return {XSCHED_HSA_BIN_DIR "/xsched-hsa-ctl", "top", "--interval", "0.1", "--socket", socket_};
  }
  testing::TemporaryDirectory directory_;
  const std::string socket_ = directory_.path() + "/control.sock";
};

TEST_F(TopScreenTest, ShowsQueuesTakesKeysAndSizesAndQuits) {
  testing::Daemon daemon(socket_);
  std::string refusal;
  auto client = testing::LayerClient::Join(socket_, testing::MakeHello(15), &refusal);
  ASSERT_NE(client, nullptr) << refusal;
  client->layer().MakeQueue(0, 1, 15);
  client->TellController();
  Terminal terminal(Top());
  EXPECT_TRUE(terminal.WaitFor("fake-layer")) << terminal.seen();
  EXPECT_TRUE(terminal.WaitFor("sorted by held"));
  terminal.Type("p");
  EXPECT_TRUE(terminal.WaitFor("preemptions")) << terminal.seen();
  for (const auto& [rows, columns] :
       {std::pair<unsigned short, unsigned short>{3, 10}, {1, 1}, {50, 200}}) {
    terminal.Forget();
    terminal.Resize(rows, columns);
    terminal.Type("r");
    // Something is drawn again, however small.
    EXPECT_TRUE(terminal.WaitFor("\x1b[")) << rows;
  }
  terminal.Forget();
  terminal.Type("q");
  // It gives the terminal back: the cursor, the other screen.
  EXPECT_TRUE(terminal.WaitFor("\x1b[?1049l")) << terminal.seen();
  EXPECT_EQ(terminal.Wait(), 0);
}

TEST_F(TopScreenTest, StaysWhenTheControllerGoesAndSaysSo) {
  testing::Daemon daemon(socket_);
  Terminal terminal(Top());
  EXPECT_TRUE(terminal.WaitFor("0 programs"));
  daemon.Stop(SIGKILL);
  EXPECT_TRUE(terminal.WaitFor("no controller answers")) << terminal.seen();
  terminal.Type("q");
  EXPECT_EQ(terminal.Wait(), 0);
}

TEST_F(TopScreenTest, BatchPrintsSoManyTimesAndNeedsNoTerminal) {
  testing::Daemon daemon(socket_);
  auto words = Top();
  words.insert(words.end(), {"--batch", "3"});
  const testing::Finished finished = testing::RunProgram(words);
  EXPECT_EQ(finished.code, 0) << finished.err;
  std::size_t headings = 0;
  for (std::size_t at = 0; (at = finished.out.find("PID", at)) != std::string::npos; ++at)
    ++headings;
  EXPECT_EQ(headings, 3u) << finished.out;
  const testing::Finished without = testing::RunProgram(Top());
  EXPECT_EQ(without.code, 2);
  EXPECT_NE(without.err.find("--batch"), std::string::npos) << without.err;
}

}  // namespace
}  // namespace xsched_hsa

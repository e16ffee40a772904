// ctl_test.cc: xsched-hsa-ctl as a user meets it: words, exit codes, and the proof that `run` asks
// for.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "daemon.h"
#include "layer_client.h"
#include "run.h"
#include "table.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;
using testing::Daemon;
using testing::Finished;
using testing::LayerClient;
using testing::MakeHello;
using testing::RunProgram;
using testing::TemporaryDirectory;

constexpr char kCtl[] = XSCHED_HSA_BIN_DIR "/xsched-hsa-ctl";

TEST(ArgumentsTest, PrioritiesAreNamesOrNumbers) {
  std::string error;
  EXPECT_EQ(ParsePriority("low", &error), 0);
  EXPECT_EQ(ParsePriority("normal", &error), 7);
  EXPECT_EQ(ParsePriority("high", &error), 15);
  EXPECT_EQ(ParsePriority("3", &error), 3);
  for (const char* bad : {"", "16", "-1", "3x", "High", "1e1", " 3"}) {
    EXPECT_FALSE(ParsePriority(bad, &error)) << bad;
    EXPECT_NE(error.find("use low"), std::string::npos);
  }
}

TEST(ArgumentsTest, QueuesAreAPidAndPerhapsASerial) {
  std::string error;
  EXPECT_EQ(ParseQueueName("12", &error)->pid, 12);
  EXPECT_FALSE(ParseQueueName("12", &error)->serial);
  EXPECT_EQ(ParseQueueName("12:0", &error)->serial, 0u);
  for (const char* bad : {"", "x", "0", "-3", "12:", "12:x", ":4", "12:-1", "99999999999"}) {
    EXPECT_FALSE(ParseQueueName(bad, &error)) << bad;
  }
}

TEST(ToolsLibTest, LayerIsAppendedOnceAndQuoted) {
  EXPECT_EQ(AppendToolsLib("", "/l/x.so"), "/l/x.so");
  EXPECT_EQ(AppendToolsLib("a.so", "/l/x.so"), "a.so /l/x.so");
  EXPECT_EQ(AppendToolsLib("/l/x.so", "/l/x.so"), "/l/x.so");
  EXPECT_EQ(AppendToolsLib("/l/x.so b.so", "/l/x.so"), "/l/x.so b.so");
  EXPECT_EQ(AppendToolsLib("", "/a b/\"x\\.so"), "\"/a b/\\\"x\\\\.so\"");
}

TEST(TableTest, NumbersAreRightAndNothingTrails) {
  EXPECT_EQ(FormatTable({{"N", "NAME"}, {"10", "a"}, {"7", "bcdef"}}),
            " N  NAME\n10  a\n 7  bcdef\n");
}

class CtlTest : public ::testing::Test {
 protected:
  CtlTest() {
    setenv("XSCHED_HSA_SOCKET", socket_.c_str(), 1);
    unsetenv("HSA_TOOLS_LIB");
    // Any readable file will do: the fake program needs no runtime.
    std::ofstream(layer_) << "layer";
  }
  ~CtlTest() override { unsetenv("XSCHED_HSA_SOCKET"); }

  static Finished Ctl(std::vector<std::string> words) {
    words.insert(words.begin(), kCtl);
    return RunProgram(words);
  }
  Finished RunFake(std::vector<std::string> what, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"run", "--priority", "high", "--layer", layer_};
    words.insert(words.end(), more.begin(), more.end());
    words.insert(words.end(), {"--", XSCHED_HSA_FAKE_PROGRAM});
    words.insert(words.end(), what.begin(), what.end());
    return Ctl(words);
  }
  static void ExpectOneLine(const Finished& finished, int code, const std::string& part) {
    EXPECT_EQ(finished.code, code) << finished.err;
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
    EXPECT_NE(finished.err.find(part), std::string::npos) << finished.err;
  }

  TemporaryDirectory directory_;
  const std::string socket_ = directory_.path() + "/control.sock";
  const std::string layer_ = directory_.path() + "/libxsched-hsa.so";
};

TEST_F(CtlTest, BadWordsAreOneLineAndTwo) {
  Daemon daemon(socket_);
  ExpectOneLine(Ctl({"run", "--priority", "urgent", "--", "true"}), 2, "use low, normal, high");
  ExpectOneLine(Ctl({"run", "--priority", "high", "true"}), 2, "");
  ExpectOneLine(Ctl({"run", "--priority", "high", "--"}), 2, "after '--'");
  ExpectOneLine(Ctl({"run", "--priority", "high", "--layer", "/none", "--", "true"}), 2, "/none");
  ExpectOneLine(Ctl({"set-priority", "7", "16"}), 2, "0..15");
  ExpectOneLine(Ctl({"set-priority", "seven", "3"}), 2, "PID");
  ExpectOneLine(Ctl({"set-priority", "7", "3"}), 2, "no session");
  ExpectOneLine(Ctl({"hold", "7"}), 2, "no session");
  ExpectOneLine(Ctl({"show", "7"}), 2, "no program with pid 7");
  ExpectOneLine(Ctl({"show", "7:x"}), 2, "PID");
  ExpectOneLine(Ctl({"set-weight", "7", "0"}), 2, "1..10000");
  ExpectOneLine(Ctl({"set-weight", "7", "1.5"}), 2, "use a whole number 1..10000");
  ExpectOneLine(Ctl({"set-weight", "7:1", "5"}), 2, "whole programs");
  ExpectOneLine(Ctl({"set-deadline", "7", "soon"}), 2, "or default");
  ExpectOneLine(Ctl({"cu-mask", "7", "-1"}), 2, "");
  ExpectOneLine(Ctl({"cu-mask", "7", "many"}), 2, "compute units");
  ExpectOneLine(Ctl({"top", "--sort", "colour"}), 2, "--sort");
  ExpectOneLine(Ctl({"top", "--interval", "0"}), 2, "--interval");
  ExpectOneLine(Ctl({"policy", "set"}), 2, "--help");
  ExpectOneLine(Ctl({"policy", "set", "x", "a=b"}), 2, "NAME=NUMBER");
  ExpectOneLine(Ctl({"trace", "stop"}), 2, "--help");
  ExpectOneLine(Ctl({"trace", "stop", directory_.path() + "/t"}), 2, "nothing is recorded");
  ExpectOneLine(Ctl({"trace", "stop", "/nowhere/t"}), 1, "/nowhere/t");
  ExpectOneLine(Ctl({"list", "--", "x"}), 2, "only for 'run'");
  ExpectOneLine(Ctl({"fly"}), 2, "--help");
  ExpectOneLine(Ctl({}), 2, "--help");
}

// Starts `run` around a program that waits, and returns once that says "ready".
class WaitingRun {
 public:
  explicit WaitingRun(const std::string& layer) {
    int out[2];
    if (pipe(out) != 0) std::abort();
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], STDOUT_FILENO);
      close(out[0]);
      close(out[1]);
      execl(kCtl, kCtl, "run", "--priority", "low", "--layer", layer.c_str(), "--",
            XSCHED_HSA_FAKE_PROGRAM, "wait", static_cast<char*>(nullptr));
      _exit(127);
    }
    close(out[1]);
    char text[6];
    ready_ = read(out[0], text, sizeof text) == 6;
    close(out[0]);
  }
  ~WaitingRun() {
    if (pid_ > 0) Stop(SIGTERM);
  }
  bool ready() const { return ready_; }
  int Stop(int signal) {
    int status = 0;
    kill(pid_, signal);
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

// Words that are wrong, for a program that is there.
TEST_F(CtlTest, BadInputChangesNothing) {
  Daemon daemon(socket_);
  WaitingRun run(layer_);
  ASSERT_TRUE(run.ready());
  const auto state = [] {
    const json process = json::parse(Ctl({"list", "--json"}).out)["processes"].at(0);
    const json& queue = process["queues"].at(0);
    return json{
        process["class"],       queue["priority"],
        queue["turn"],          queue["state"],
        queue["operator_hold"], queue["armed"],
        queue["standing_mask"], json::parse(Ctl({"policy", "show", "--json"}).out)["policies"]};
  };
  const json before = state();
  const json process = json::parse(Ctl({"list", "--json"}).out)["processes"].at(0);
  const std::string pid = process["pid"].dump();
  const std::vector<std::vector<std::string>> wrong = {
      {"set-priority", pid, "16"},
      {"set-priority", pid + ":9", "low"},
      {"set-weight", pid, "10001"},
      {"set-cap", pid, "101"},
      {"set-share", pid, "0"},
      {"set-deadline", pid, "-1"},
      {"set-latency-target", pid, "0"},
      {"cu-mask", pid, "0"},
      {"cu-mask", pid + ":9", "8"},
      {"hold", pid + ":9"},
      {"suspend", pid + ":9"},
      {"suspend", pid},
      {"cu-mask", pid, "8"},
      {"set-weight", pid, "1.5"},
      {"set-weight", pid, "nan"},
      {"set-cap", pid, ""},
      {"set-deadline", pid, "0.001"},
      {"policy", "set", "strict-priorty"},
      {"policy", "set", "weighted-fair", "slice_ms=-1"},
      {"policy", "set", "weighted-fair", "sliec_ms=1"},
      {"policy", "set", "weighted-fair", "slice_ms=nan"},
      {"policy", "set", "weighted-fair", "slice_ms="},
      {"policy", "set", "weighted-fair", "=1"},
      {"policy", "set", "weighted-fair", "window_us=1.5"},
      {"policy", "set", "weighted-fair", "slice_ms=5", "slice_ms=x"},
      {"policy", "set", "\xff\xfe"},
      {"policy", "set", ""},
      {"policy", "set", std::string(70'000, 'x')},
      {"policy", "set", "round-robin", "--gpu", "0000:99:00.0"},
      {"policy", "set", "round-robin", "--gpu", "nowhere"}};
  for (const auto& words : wrong) {
    SCOPED_TRACE(json(words).dump(-1, ' ', false, json::error_handler_t::replace));
    ExpectOneLine(Ctl(words), 2, "");
    EXPECT_EQ(state(), before);
  }
  EXPECT_EQ(run.Stop(SIGTERM), 40);
}

TEST_F(CtlTest, ConfigCheckSaysGoodOrEachMistake) {
  const std::string file = directory_.path() + "/config.toml";
  std::ofstream(file) << "[policy]\nname = 'weighted-fair'\n";
  const Finished good = Ctl({"config", "check", file});
  EXPECT_EQ(good.code, 0) << good.err;
  EXPECT_NE(good.out.find("good: policy weighted-fair"), std::string::npos) << good.out;
  json said = json::parse(Ctl({"config", "check", file, "--json"}).out);
  EXPECT_EQ(said["good"], true);
  EXPECT_EQ(said["says"][0].get<std::string>().rfind("good: policy weighted-fair", 0), 0u) << said;
  std::ofstream(file) << "[polcy]\n[[rule]]\nweigth = 3\n";
  const Finished wrong = Ctl({"config", "check", file});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_EQ(wrong.out, "");
  EXPECT_EQ(std::count(wrong.err.begin(), wrong.err.end(), '\n'), 2) << wrong.err;
  const Finished as_json = Ctl({"config", "check", file, "--json"});
  EXPECT_EQ(as_json.code, 2);
  EXPECT_EQ(as_json.err, "");
  said = json::parse(as_json.out);
  EXPECT_EQ(said["good"], false);
  ASSERT_EQ(said["says"].size(), 2u) << said;
  EXPECT_EQ(said["says"][0].get<std::string>().rfind(file + ":1: unknown key 'polcy'", 0), 0u)
      << said;
}

TEST_F(CtlTest, RunPassesTheExitCodeOn) {
  Daemon daemon(socket_);
  EXPECT_EQ(RunFake({"exit", "0"}).code, 0);
  const Finished finished = RunFake({"exit", "17"});
  EXPECT_EQ(finished.code, 17);
  EXPECT_EQ(finished.err, "") << "a controller was there";
  EXPECT_EQ(RunFake({"signal", "9"}).code, 128 + 9);
}

TEST_F(CtlTest, RunFailsWhenTheLayerDidNotComeUp) {
  Daemon daemon(socket_);
  const std::vector<std::string> plain = {"run", "--priority", "3", "--layer", layer_};
  auto words = plain;
  words.insert(words.end(), {"--", "true"});
  ExpectOneLine(Ctl(words), 3, "the layer did not come up in 'true'");
  words = plain;
  words.insert(words.end(), {"--allow-no-layer", "--", "sh", "-c", "exit 6"});
  EXPECT_EQ(Ctl(words).code, 6);
}

TEST_F(CtlTest, RunFailsWhenTheLayerDoesNotKnowTheRuntime) {
  Daemon daemon(socket_);
  ExpectOneLine(RunFake({"gateless"}), 3, "does not know this runtime's tables");
}

TEST_F(CtlTest, RunSaysWhenTheProgramIsNotThere) {
  Daemon daemon(socket_);
  ExpectOneLine(Ctl({"run", "--priority", "3", "--layer", layer_, "--", "/no/such/program"}), 2,
                "cannot run '/no/such/program'");
}

TEST_F(CtlTest, RunStartsAPrivateControllerAndLeavesNothing) {
  const Finished finished = RunFake({"exit", "5"});
  EXPECT_EQ(finished.code, 5) << finished.err;
  EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
  const std::size_t at = finished.err.find("(pid ");
  ASSERT_NE(at, std::string::npos) << finished.err;
  EXPECT_NE(kill(std::atoi(finished.err.c_str() + at + 5), 0), 0) << "still there";
  const std::size_t path = finished.err.find("socket /") + 7;
  const std::string private_socket = finished.err.substr(path, finished.err.find(')', path) - path);
  EXPECT_NE(access(private_socket.substr(0, private_socket.rfind('/')).c_str(), F_OK), 0);
}

TEST_F(CtlTest, RunSetsTheEnvironment) {
  Daemon daemon(socket_);
  setenv("HSA_TOOLS_LIB", "other.so", 1);
  const Finished finished =
      Ctl({"run", "--priority", "low", "--layer", layer_, "--allow-no-layer", "--", "env"});
  unsetenv("HSA_TOOLS_LIB");
  for (const std::string& line :
       {"HSA_TOOLS_LIB=other.so " + layer_, std::string("HSA_TOOLS_ROCPROFILER_V1_TOOLS=1"),
        std::string("XSCHED_HSA_PRIORITY=0"), "XSCHED_HSA_SOCKET=" + socket_}) {
    EXPECT_NE(("\n" + finished.out).find("\n" + line + "\n"), std::string::npos) << line;
  }
}

TEST_F(CtlTest, RunForwardsSignals) {
  Daemon daemon(socket_);
  for (const int signal : {SIGTERM, SIGINT}) {
    WaitingRun run(layer_);
    ASSERT_TRUE(run.ready());
    EXPECT_EQ(run.Stop(signal), 40);
  }
}

TEST_F(CtlTest, RunSurvivesTheControllersDeathOnceTheLayerWasSeen) {
  Daemon daemon(socket_);
  WaitingRun run(layer_);
  ASSERT_TRUE(run.ready());
  // One reply more than we asked for: that was `run` looking for its layer.
  int asked = 0, replies = 0;
  while (asked < 500 && replies <= asked) {
    ++asked;
    replies = json::parse(Ctl({"stats", "--json"}).out)["counters"]["deferred_replies"].get<int>();
  }
  ASSERT_GT(replies, asked);
  daemon.Stop(SIGKILL);
  EXPECT_EQ(run.Stop(SIGTERM), 40);
}

TEST_F(CtlTest, ListShowsAndSetPriorityHoldAndReleaseAct) {
  Daemon daemon(socket_);
  WaitingRun run(layer_);
  ASSERT_TRUE(run.ready());
  const json list = json::parse(Ctl({"list", "--json"}).out);
  ASSERT_EQ(list["processes"].size(), 1u) << list;
  const json& process = list["processes"][0];
  const std::string pid = std::to_string(process["pid"].get<int>());
  EXPECT_EQ(process["gate"], "window");
  EXPECT_EQ(process["queues"][0]["gpu"], "0000:03:00.0");
  EXPECT_EQ(process["queues"][0]["priority"], 0);
  EXPECT_TRUE(process["queues"][0]["kfd_queue_id"].is_null());

  EXPECT_EQ(Ctl({"set-priority", pid, "high"}).code, 0);
  EXPECT_EQ(Ctl({"hold", pid + ":1"}).code, 0);
  ExpectOneLine(Ctl({"hold", pid + ":9"}), 2, "no queue 9");
  json queue = json::parse(Ctl({"list", "--json"}).out)["processes"][0]["queues"][0];
  EXPECT_EQ(queue["priority"], 15);
  EXPECT_EQ(queue["requested_priority"], 0);
  EXPECT_EQ(queue["state"], "holding");
  EXPECT_TRUE(queue["operator_hold"].get<bool>());
  EXPECT_EQ(Ctl({"release", pid}).code, 0);
  EXPECT_EQ(Ctl({"set-priority", pid, "default"}).code, 0);
  queue = json::parse(Ctl({"list", "--json"}).out)["processes"][0]["queues"][0];
  EXPECT_EQ(queue["priority"], 0);
  EXPECT_EQ(queue["state"], "idle");

  const Finished table = Ctl({"list"});
  EXPECT_NE(table.out.find("fake-layer"), std::string::npos) << table.out;
  EXPECT_NE(table.out.find("0000:03:00.0"), std::string::npos);
  EXPECT_EQ(run.Stop(SIGTERM), 40);
  EXPECT_NE(Ctl({"list", "--all"}).out.find("(ended)"), std::string::npos);
}

TEST_F(CtlTest, DoctorHasALineForEverything) {
  Daemon daemon(socket_);
  const Finished finished = Ctl({"doctor", "--json"});
  const json report = json::parse(finished.out);
  EXPECT_EQ(finished.code, report["failed"] == 0 ? 0 : 1);
  std::vector<std::string> names;
  for (const json& check : report["checks"]) {
    names.push_back(check["name"]);
    EXPECT_TRUE(check["health"] != "FAIL" || check["advice"] != "") << check;
    EXPECT_TRUE(check["name"] != "controller" || check["health"] == "ok") << check;
    EXPECT_TRUE(check["name"] != "priority" || report["checks"][1]["health"] == "ok" ||
                check["text"] == "not looked at: there is no GPU")
        << check;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"device", "gpus", "render", "driver", "runtime",
                                             "layer", "tools", "priority", "controller"}));
  const Finished lines = Ctl({"doctor"});
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 9);
}

}  // namespace
}  // namespace xsched_hsa

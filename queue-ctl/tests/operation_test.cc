// operation_test.cc: the real xsched-hsad as an operator meets it: configuration, reload, policies at
// run time, events, systemd.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>

#include "controller_test.h"
#include "daemon.h"
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

class OperationTest : public testing::ControllerTest {
 protected:
  void Configure(const std::string& text) { std::ofstream(config_) << text; }
  std::string Error(const json& request) {
    const json reply = Ask(request);
    EXPECT_FALSE(reply.value("ok", true)) << reply;
    return reply.value("error", "");
  }
  // The next event of that kind.
  static json NextEvent(Client* client, const std::string& kind) {
    std::string error;
    for (int i = 0; i < 5'000; ++i) {
      const auto event = client->Next(&error, 5'000);
      if (!event) return {{"error", error}};
      if ((*event)["event"] == kind) return *event;
    }
    return {};
  }
  const json& OnlyProcess(const json& list) { return list["processes"].at(0); }

  const std::string config_ = directory_.path() + "/config.toml";
  const std::vector<std::string> with_config_ = {"--config", config_};
};

TEST_F(OperationTest, CheckConfigSaysGoodOrEachMistake) {
  Configure("[policy]\nname = 'weighted-fair'\n");
  Finished finished = RunProgram({kController, "--config", config_, "--check-config"});
  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_NE(finished.out.find("good: policy weighted-fair"), std::string::npos) << finished.out;
  Configure("[polcy]\n[[rule]]\nweigth = 3\n");
  finished = RunProgram({kController, "--config", config_, "--check-config"});
  EXPECT_EQ(finished.code, 2);
  EXPECT_NE(finished.err.find(":1: unknown key 'polcy'"), std::string::npos) << finished.err;
  EXPECT_NE(finished.err.find(":3: unknown key 'weigth'"), std::string::npos) << finished.err;
  finished = RunProgram({kController, "--config", config_, "--socket", socket_});
  EXPECT_EQ(finished.code, 2) << "a wrong configuration is no start";
}

TEST_F(OperationTest, CommandLineWinsOverTheFileAndIsChecked) {
  Configure("[policy]\nname = 'weighted-fair'\nslice_ms = 5\n");
  Daemon daemon(socket_, {"--config", config_, "--param", "slice_ms=7"});
  json policies = Ask({{"op", "policy"}})["policies"];
  EXPECT_EQ(policies[0]["policy"], "weighted-fair");
  EXPECT_EQ(policies[0]["parameters"]["slice_ms"], 7);
  for (const char* param : {"slice_ms", "slice_ms=", "slice_ms=x", "nonsense=3", "slice_ms=-1"}) {
    const Finished finished =
        RunProgram({kController, "--config", config_, "--socket", socket_ + "2", "--param", param});
    EXPECT_EQ(finished.code, 2) << param;
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
  }
}

TEST_F(OperationTest, RulesGiveProgramsTheirClassAndSayWhich) {
  Configure(
      "[[rule]]\nname = 'this test'\nexe = '*/queue_ctl_daemon_test'\npriority = 'low'\n"
      "weight = 300\nlatency_target_ms = 5\n");
  Daemon daemon(socket_, with_config_);
  auto program = JoinWithQueue(kPriorityHigh);
  const json process = OnlyProcess(Ask({{"op", "list"}}));
  EXPECT_EQ(process["rule"], "this test");
  EXPECT_EQ(process["class"]["priority"], 0);
  EXPECT_EQ(process["class"]["weight"], 300);
  EXPECT_EQ(process["class"]["latency_target_ms"], 5.0);
  EXPECT_EQ(process["class"]["deadline_ms"], nullptr);
  EXPECT_EQ(process["queues"][0]["priority"], 0) << "a rule outranks the program's own word";
  EXPECT_EQ(process["pids"].back(), getpid());
}

TEST_F(OperationTest, ReloadExchangesEverythingOrNothing) {
  Configure("");
  Daemon daemon(socket_, with_config_);
  auto a = JoinWithQueue(7), b = JoinWithQueue(7);
  ASSERT_TRUE(HasMode(*a, 0));
  Configure("[policy]\nname = 'round-robin'\n[[rule]]\nname = 'all'\nweight = 200\n");
  EXPECT_TRUE(Ask({{"op", "reload"}})["ok"]);
  EXPECT_TRUE(HasMode(*a, kModeArmed | kModeReport));
  EXPECT_EQ(Ask({{"op", "list"}})["processes"][0]["rule"], "all");
  Configure("[policy]\nname = 'weighted-fair'\n[oops]\n");
  EXPECT_NE(Error({{"op", "reload"}}).find("the old configuration stays"), std::string::npos);
  EXPECT_EQ(Ask({{"op", "policy"}})["policies"][0]["policy"], "round-robin");
  const json config = Ask({{"op", "config"}});
  EXPECT_EQ(config["valid"], false);
  EXPECT_NE(config["errors"][0].get<std::string>().find("oops"), std::string::npos);
  EXPECT_EQ(config["effective"]["policy"]["name"], "round-robin");
}

TEST_F(OperationTest, HangupSignalReloadsToo) {
  Configure("");
  Daemon daemon(socket_, with_config_);
  std::string error;
  auto follower = Client::Connect(socket_, &error);
  ASSERT_TRUE(follower->Call({{"op", "events"}}, &error));
  Configure("[policy]\nname = 'round-robin'\n");
  kill(daemon.pid(), SIGHUP);
  EXPECT_EQ(NextEvent(&*follower, "reload")["files"][0], config_);
  EXPECT_EQ(Ask({{"op", "policy"}})["policies"][0]["policy"], "round-robin");
  Configure("[oops]\n");
  kill(daemon.pid(), SIGHUP);
  EXPECT_NE(NextEvent(&*follower, "error")["text"].get<std::string>().find("oops"),
            std::string::npos);
  EXPECT_EQ(Ask({{"op", "policy"}})["policies"][0]["policy"], "round-robin");
}

TEST_F(OperationTest, PolicySwitchesAtRunTimeForOneGpuOrAll) {
  Daemon daemon(socket_);
  auto a = JoinWithQueue(7), b = JoinWithQueue(7);
  ASSERT_TRUE(HasMode(*a, 0));
  json reply = Ask({{"op", "policy"},
                    {"set", "weighted-fair"},
                    {"gpu", "0000:03:00.0"},
                    {"parameters", {{"slice_ms", 3}}}});
  EXPECT_TRUE(reply["ok"]) << reply;
  EXPECT_TRUE(HasMode(*a, kModeArmed | kModeReport));
  EXPECT_EQ(reply["policies"][1]["parameters"]["slice_ms"], 3);
  EXPECT_EQ(Ask({{"op", "info"}})["controller"]["policies"]["0000:03:00.0"], "weighted-fair");
  EXPECT_TRUE(Ask({{"op", "policy"}, {"set", "strict-priority"}})["ok"]);
  EXPECT_TRUE(HasMode(*a, 0));
  EXPECT_FALSE(Ask({{"op", "policy"}})["available"].empty());

  EXPECT_NE(Error({{"op", "policy"}, {"set", "fair"}}).find("there are:"), std::string::npos);
  EXPECT_NE(Error({{"op", "policy"}, {"set", "round-robin"}, {"gpu", "card0"}}).find("PCI address"),
            std::string::npos);
  EXPECT_NE(Error({{"op", "policy"}, {"set", "round-robin"}, {"parameters", {{"slice_ms", "x"}}}})
                .find("must be a number"),
            std::string::npos);
  EXPECT_NE(Error({{"op", "policy"}, {"set", "round-robin"}, {"parameters", {{"weight", 1}}}})
                .find("has no parameter"),
            std::string::npos);
  EXPECT_NE(Error({{"op", "policy"}, {"set", "round-robin"}, {"gpu", "0000:99:00.0"}})
                .find("there are: 0000:03:00.0"),
            std::string::npos);
  EXPECT_EQ(Ask({{"op", "policy"}})["policies"].size(), 1u) << "nothing changed";
}

TEST_F(OperationTest, ClassesAreSetCheckedAndTakenBack) {
  Daemon daemon(socket_);
  auto program = JoinWithQueue(7);
  const int pid = getpid();
  const auto own = [&] { return OnlyProcess(Ask({{"op", "list"}}))["class"]; };
  for (const auto& [op, field, value] :
       {std::tuple{"set-weight", "weight", 300.0}, std::tuple{"set-cap", "cap_percent", 40.0},
        std::tuple{"set-share", "share_percent", 25.0},
        std::tuple{"set-deadline", "deadline_ms", 12.5},
        std::tuple{"set-latency-target", "latency_target_ms", 3.0}}) {
    const json before = own()[field];
    EXPECT_EQ(Ask({{"op", op}, {"pid", pid}, {field, value}})["changed"], 1) << op;
    EXPECT_EQ(own()[field], value) << op;
    EXPECT_NE(Error({{"op", op}, {"pid", pid}, {field, -1}}).find("must be a number from"),
              std::string::npos);
    EXPECT_NE(Error({{"op", op}, {"pid", pid}, {field, "x"}}), "");
    EXPECT_NE(Error({{"op", op}, {"pid", pid}}).find("is missing"), std::string::npos);
    EXPECT_NE(Error({{"op", op}, {"pid", pid}, {"queue", 1}, {field, value}}), "");
    EXPECT_NE(Error({{"op", op}, {"pid", 1}, {field, value}}).find("no session"),
              std::string::npos);
    EXPECT_EQ(own()[field], value) << "a refused request changes nothing";
    EXPECT_TRUE(Ask({{"op", op}, {"pid", pid}, {field, nullptr}})["ok"]);
    EXPECT_EQ(own()[field], before) << op;
  }
}

TEST_F(OperationTest, AWeightWithAFractionIsRefusedNotRounded) {
  Daemon daemon(socket_);
  auto program = JoinWithQueue(7);
  const json request = {{"op", "set-weight"}, {"pid", getpid()}, {"weight", 1.5}};
  EXPECT_NE(Error(request).find("a whole one"), std::string::npos);
  EXPECT_EQ(OnlyProcess(Ask({{"op", "list"}}))["class"]["weight"], 100);
}

TEST_F(OperationTest, EventsTellWhatHappens) {
  Daemon daemon(socket_);
  std::string error;
  auto follower = Client::Connect(socket_, &error);
  EXPECT_EQ((*follower->Call({{"op", "events"}}, &error))["following"], true);
  auto low = JoinWithQueue(kPriorityLow);
  EXPECT_EQ(NextEvent(&*follower, "session")["state"], "up");
  const json made = NextEvent(&*follower, "queue");
  EXPECT_EQ(made["state"], "made");
  EXPECT_EQ(made["gpu"], "0000:03:00.0");
  auto high = JoinWithQueue(kPriorityHigh);
  ASSERT_TRUE(HasMode(*high, kModeRaise));
  high->layer().BecomeActive(0);
  high->TellController();
  GpuUrgency* gpu = high->layer().Gpu(testing::kGpuA);
  ASSERT_TRUE(high->SleepUntil([&] { return gpu->acked_epoch.load() == EpochOf(gpu->word); }));
  high->layer().BecomeIdle(0);
  high->TellController();
  EXPECT_EQ(NextEvent(&*follower, "preemption")["level"], 16);
  Ask({{"op", "policy"}, {"set", "round-robin"}});
  EXPECT_EQ(NextEvent(&*follower, "policy")["policy"], "round-robin");
  low.reset();
  EXPECT_EQ(NextEvent(&*follower, "queue")["state"], "destroyed");
  EXPECT_EQ(NextEvent(&*follower, "session")["state"], "ended");
  EXPECT_FALSE(follower->Next(&error, 0));
  EXPECT_EQ(error, "") << "nothing more, and still connected";
}

TEST_F(OperationTest, SlowReaderLosesEventsAndIsToldHowMany) {
  Daemon daemon(socket_);
  std::string error;
  auto follower = Client::Connect(socket_, &error);
  ASSERT_TRUE(follower->Call({{"op", "events"}}, &error));
  constexpr int kChanges = 3'000;
  for (int i = 0; i < kChanges; ++i) Ask({{"op", "policy"}, {"set", "round-robin"}});
  // Others are served meanwhile; now it reads.
  EXPECT_TRUE(Ask({{"op", "info"}})["ok"]);
  int seen = 0;
  std::uint64_t lost = 0;
  while (const auto event = follower->Next(&error, 200)) {
    if ((*event)["event"] == "policy") ++seen;
    if ((*event)["event"] == "lost") lost += (*event)["events"].get<std::uint64_t>();
  }
  EXPECT_EQ(error, "") << "still connected";
  EXPECT_LT(seen, kChanges);
  Ask({{"op", "policy"}, {"set", "strict-priority"}});  // the next event brings the count
  while (const auto event = follower->Next(&error, 200)) {
    if ((*event)["event"] == "lost") lost += (*event)["events"].get<std::uint64_t>();
  }
  EXPECT_EQ(static_cast<std::uint64_t>(seen) + lost, static_cast<std::uint64_t>(kChanges));
}

TEST_F(OperationTest, NoGpuIsAnEmptyListAndNoError) {
  Daemon daemon(socket_);
  const json reply = Ask({{"op", "devices"}});
  EXPECT_TRUE(reply["ok"]);
  EXPECT_TRUE(reply["devices"].is_array());
}

// ----------------------------------------------------------------------------------------- systemd

class SystemdTest : public OperationTest {
 protected:
  ~SystemdTest() override {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    for (const int fd : {listener_, notify_}) {
      if (fd >= 0) close(fd);
    }
  }
  static int Bind(int type, const std::string& path) {
    const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    sockaddr_un address;
    FillAddress(path, &address);
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  // As systemd starts it, with the socket as descriptor 3.
  void StartWith(int type) {
    notify_ = Bind(SOCK_DGRAM, directory_.path() + "/notify");
    listener_ = Bind(type, socket_);
    listen(listener_, 8);
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(listener_, 3);
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("NOTIFY_SOCKET", (directory_.path() + "/notify").c_str(), 1);
    execl(kController, kController, "--log-level", "error", nullptr);
    _exit(127);
  }
  std::string NextState() {
    pollfd ready{notify_, POLLIN, 0};
    if (poll(&ready, 1, 10'000) != 1) return "nothing";
    char text[512];
    const ssize_t size = recv(notify_, text, sizeof text, 0);
    return std::string(text, size > 0 ? static_cast<std::size_t>(size) : 0);
  }
  int listener_ = -1, notify_ = -1;
  pid_t pid_ = -1;
};

TEST_F(SystemdTest, ServesTheSocketItIsGivenAndSaysWhenItIsReady) {
  StartWith(SOCK_SEQPACKET);
  EXPECT_EQ(NextState().rfind("READY=1", 0), 0u);
  const json controller = Ask({{"op", "info"}})["controller"];
  EXPECT_EQ(controller["socket"], socket_);
  kill(pid_, SIGHUP);
  EXPECT_EQ(NextState().rfind("RELOADING=1", 0), 0u);
  EXPECT_EQ(NextState().rfind("READY=1", 0), 0u);
  kill(pid_, SIGTERM);
  EXPECT_EQ(NextState(), "STOPPING=1");
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(access(socket_.c_str(), F_OK), 0) << "the socket is systemd's";
}

TEST_F(SystemdTest, RefusesASocketOfAnotherKind) {
  StartWith(SOCK_STREAM);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  EXPECT_EQ(WEXITSTATUS(status), 2);
}

}  // namespace
}  // namespace xsched_hsa

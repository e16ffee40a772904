// every_command_test.cc: every command where the controller is away, hangs, is of another release or something
// else altogether, and where the program or the queue that it names has gone: one line, an exit code,
// nothing on standard output, and no hang.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "daemon.h"
#include "fake_controller.h"
#include "layer_client.h"
#include "listed_verbs.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;
using testing::Daemon;
using testing::FakeController;
using testing::Finished;
using testing::LayerClient;
using testing::MakeHello;
using testing::RunProgram;
using testing::TemporaryDirectory;
using Words = std::vector<std::string>;

constexpr char kCtl[] = XSCHED_HSA_BIN_DIR "/xsched-hsa-ctl";

// Those that name a program, with the rest of their words.
const std::vector<Words> kOfAProgram = {{"show"},
                                        {"set-priority", "low"},
                                        {"set-weight", "200"},
                                        {"set-cap", "50"},
                                        {"set-share", "40"},
                                        {"set-deadline", "12"},
                                        {"hold"},
                                        {"set-latency-target", "9"},
                                        {"release"},
                                        {"suspend"},
                                        {"resume"},
                                        {"cu-mask", "8"}};

Words Naming(const Words& command, const std::string& target) {
  Words words = command;
  words.insert(words.begin() + 1, target);
  return words;
}

class EveryCommandTest : public ::testing::Test {
 protected:
  EveryCommandTest() {
    setenv("XSCHED_HSA_SOCKET", socket_.c_str(), 1);
    std::ofstream(layer_) << "layer";
  }
  ~EveryCommandTest() override { unsetenv("XSCHED_HSA_SOCKET"); }

  static Finished Ctl(Words words) {
    words.insert(words.begin(), kCtl);
    return RunProgram(words);
  }
  // All that ask a controller; `doctor` looks at it among other things, and `run` starts one of its own
  // where there is none.
  std::vector<Words> Asking() const {
    std::vector<Words> all = {{"list"},
                              {"stats"},
                              {"top"},
                              {"top", "--batch", "2"},
                              {"explain"},
                              {"explain", "7"},
                              {"devices"},
                              {"events"},
                              {"policy"},
                              {"policy", "show"},
                              {"policy", "set", "round-robin"},
                              {"trace", "start"},
                              {"trace", "status"},
                              {"trace", "stop", file_},
                              {"trace", "stop", "-"},
                              {"config", "show"},
                              {"config", "reload"}};
    for (const Words& command : kOfAProgram) all.push_back(Naming(command, "7"));
    const std::vector<Words> plain = all;
    for (Words words : plain) {
      words.push_back("--json");
      all.push_back(std::move(words));
    }
    return all;
  }
  std::unique_ptr<LayerClient> Join(int priority = kPriorityLow) {
    std::string refusal;
    auto program = LayerClient::Join(socket_, MakeHello(priority), &refusal);
    EXPECT_NE(program, nullptr) << refusal;
    return program;
  }
  Words Running() const {
    return {"run", "--priority", "low", "--layer", layer_, "--", "touch", file_};
  }
  static void ExpectOneLine(const Words& words, const Finished& finished, int code,
                            const std::string& part) {
    SCOPED_TRACE(json(words).dump());
    EXPECT_EQ(finished.code, code) << finished.err;
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
    EXPECT_NE(finished.err.find(part), std::string::npos) << finished.err;
    EXPECT_EQ(finished.out, "");
  }

  TemporaryDirectory directory_;
  const std::string socket_ = directory_.path() + "/control.sock";
  const std::string layer_ = directory_.path() + "/libxsched-hsa.so";
  const std::string file_ = directory_.path() + "/written";
};

TEST_F(EveryCommandTest, NoneIsLeftOut) {
  std::set<std::string> verbs = {"run", "doctor", "report"};
  for (const Words& words : Asking()) verbs.insert(words[0]);
  const std::vector<std::string> listed = ListedVerbs(Ctl({"--help"}).out);
  EXPECT_GE(listed.size(), 20u);
  for (const std::string& verb : listed) EXPECT_EQ(verbs.count(verb), 1u) << verb;
}

TEST_F(EveryCommandTest, WithoutAControllerSaysSo) {
  for (const Words& words : Asking()) {
    ExpectOneLine(words, Ctl(words), 3, "no controller answers at " + socket_);
  }
  EXPECT_NE(access(file_.c_str(), F_OK), 0);
}

TEST_F(EveryCommandTest, OfAControllerThatAnswersNothingSaysSo) {
  const int listener = testing::ListenAt(socket_);
  std::vector<Words> all = Asking();
  std::erase_if(all, [](const Words& words) { return words.back() == "--json"; });
  all.push_back(Running());
  std::vector<Finished> ended(all.size());
  std::vector<std::thread> threads;  // each waits for its 5 s
  for (std::size_t i = 0; i < all.size(); ++i) {
    threads.emplace_back([&, i] { ended[i] = Ctl(all[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  close(listener);
  for (std::size_t i = 0; i < all.size(); ++i) {
    ExpectOneLine(all[i], ended[i], 3, "did not answer within 5000 ms");
  }
  EXPECT_NE(access(file_.c_str(), F_OK), 0) << "nothing was written, and nothing run";
}

TEST_F(EveryCommandTest, OfAControllerOfAnotherReleaseSaysSo) {
  struct Case {
    const char* answer;
    const char* says;
  };
  const Case cases[] = {
      {".{\"ok\":false,\"code\":\"unknown-op\",\"version\":\"9.9\",\"error\":\"x\"}", "9.9"},
      {".not JSON", "of one release"},
      {".[1]", "of one release"},
      {".{\"ok\":1}", "of one release"},
      {".{\"ok\":true}", "of one release"},
      {".{\"ok\":true,\"processes\":7}", "of one release"},
      {"", "closed the connection"}};
  for (const Case& one : cases) {
    SCOPED_TRACE(one.answer);
    const std::string path = directory_.path() + "/" + std::to_string(&one - cases) + ".sock";
    FakeController controller(path, one.answer);
    // As JSON it passes on what it was told, but for an answer that lacks what is asked for.
    const bool as_json_too = std::string(one.answer) == ".{\"ok\":true}";
    for (Words words : Asking()) {
      if (words.back() == "--json" && !as_json_too) continue;
      words.insert(words.end(), {"--socket", path});
      ExpectOneLine(words, Ctl(words), 3, one.says);
    }
  }
  EXPECT_NE(access(file_.c_str(), F_OK), 0);
}

TEST_F(EveryCommandTest, RunAsksTheControllerBeforeItRunsAnything) {
  const std::string another =
      R"(.{"ok":true,"controller":{"version":"9.9","abi_version":9999,"pid":1}})";
  for (const std::string& answer : {another, std::string(".{\"ok\":true}"), std::string()}) {
    SCOPED_TRACE(answer);
    const std::string path = directory_.path() + "/" + std::to_string(answer.size()) + ".sock";
    FakeController controller(path, answer);
    Words words = Running();
    words.insert(words.begin() + 1, {"--socket", path});
    ExpectOneLine(words, Ctl(words), 3, "nothing was run");
    EXPECT_NE(access(file_.c_str(), F_OK), 0);
    words.insert(words.begin() + 1, "--allow-no-layer");
    const Finished all_the_same = Ctl(words);
    EXPECT_EQ(all_the_same.code, 0) << all_the_same.err;
    EXPECT_EQ(access(file_.c_str(), F_OK), 0);
    unlink(file_.c_str());
    if (answer == another) {
      EXPECT_NE(all_the_same.err.find("is of release 9.9"), std::string::npos) << all_the_same.err;
    }
  }
}

TEST_F(EveryCommandTest, DoctorHasItsLinesWhateverTheControllerAnswers) {
  int number = 0;
  for (const char* answer : {".{\"ok\":1}", ".{\"ok\":true}", ".not JSON", ""}) {
    SCOPED_TRACE(answer);
    const std::string path = directory_.path() + "/" + std::to_string(number++) + ".sock";
    FakeController controller(path, answer);
    const Finished finished = Ctl({"doctor", "--json", "--socket", path});
    EXPECT_EQ(finished.code, 1) << finished.err;
    for (const json& check : json::parse(finished.out)["checks"]) {
      EXPECT_TRUE(check["name"] != "controller" || check["health"] == "FAIL") << check;
    }
  }
}

// Of a program that is not there, that has ended, and of a queue that was destroyed.
TEST_F(EveryCommandTest, OfWhatHasGoneSaysSoAndChangesNothing) {
  Daemon daemon(socket_);
  auto stays = Join();
  ASSERT_NE(stays, nullptr);
  stays->layer().MakeQueue(0, 1, kPriorityLow);
  stays->layer().MakeQueue(1, 2, kPriorityLow);
  stays->TellController();
  stays->layer().DestroyQueue(1);
  stays->TellController();
  const auto state = [] {
    const json process = json::parse(Ctl({"list", "--json"}).out)["processes"].at(0);
    const json& queue = process["queues"].back();
    return json{process["class"], queue["serial"],        queue["priority"],
                queue["state"],   queue["operator_hold"], queue["standing_mask"]};
  };
  const json before = state();
  const std::string pid = std::to_string(getpid());
  for (const Words& command : kOfAProgram) {
    const Words nobody = Naming(command, "2147483647");
    ExpectOneLine(nobody, Ctl(nobody), 2, "2147483647");
    if (command[0].rfind("set-", 0) == 0 && command[0] != "set-priority") continue;  // no queues
    const Words never = Naming(command, pid + ":77");
    ExpectOneLine(never, Ctl(never), 2, "no queue 77");
    if (command[0] == "show") continue;  // what it was is shown
    const Words gone = Naming(command, pid + ":2");
    ExpectOneLine(gone, Ctl(gone), 2, "no queue 2");
    EXPECT_EQ(state(), before);
  }
  const Finished shown = Ctl({"show", pid + ":2"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_NE(shown.out.find("destroyed"), std::string::npos) << shown.out;
  ExpectOneLine({"explain"}, Ctl({"explain", "2147483647"}), 2, "no program");

  stays.reset();
  for (int i = 0; i < 500 && Ctl({"list"}).out.find("fake-layer") != std::string::npos; ++i) {
  }
  for (const Words& command : kOfAProgram) {
    if (command[0] == "show") continue;
    const Words ended = Naming(command, pid);
    ExpectOneLine(ended, Ctl(ended), 2, "has no session here");
  }
}

// As many queues as a program may have: those beyond are said to pass through.
TEST_F(EveryCommandTest, ListAndShowSayWhatPassesThrough) {
  Daemon daemon(socket_);
  auto program = Join();
  ASSERT_NE(program, nullptr);
  program->layer().MakeQueue(0, 1, kPriorityLow);
  program->layer().process()->queues_passed_through.store(3);
  program->TellController();
  const std::string pid = std::to_string(getpid());
  const std::string list = Ctl({"list"}).out;
  EXPECT_NE(list.find("pid " + pid + ": 3 queue(s) so far were not managed"), std::string::npos)
      << list;
  const std::string show = Ctl({"show", pid}).out;
  EXPECT_NE(show.find("3 queues passed through"), std::string::npos) << show;
}

// The tool may be in a container, where the controller's process ids are other programs'.
TEST_F(EveryCommandTest, ShowHasContainerAndProcessIdsFromTheController) {
  const std::string id(64, 'b');
  const json process = {
      {"pid", 1},
      {"namespace_pid", 7},
      {"pids", {1, 40, 7}},
      {"comm", "far"},
      {"alive", true},
      {"cgroup", "/../../kubepods-besteffort.slice/cri-containerd-" + id + ".scope"},
      {"queues", json::array()}};
  const json answer = {{"ok", true}, {"controller", json::object()}, {"processes", {process}}};
  FakeController controller(socket_, "." + answer.dump());
  const std::string show = Ctl({"show", "1"}).out;
  EXPECT_NE(show.find("1 > 40 > 7, itself it sees 7\n"), std::string::npos) << show;
  EXPECT_NE(show.find("containerd " + id), std::string::npos) << show;
}

// Whose word a priority is, and everything else that an operator can set.
TEST_F(EveryCommandTest, ShowHasWhatWasSetAndByWhom) {
  Daemon daemon(socket_);
  auto program = Join(3);
  ASSERT_NE(program, nullptr);
  program->layer().MakeQueue(0, 1, 3);
  program->TellController();
  const std::string pid = std::to_string(getpid());
  std::string show = Ctl({"show", pid}).out;
  EXPECT_NE(show.find("3 set by its program, 3 asked for\n"), std::string::npos) << show;
  EXPECT_NE(show.find("weight 100, no cap, share by weight, no deadline, no latency target\n"),
            std::string::npos)
      << show;
  for (const Words& words :
       {Words{"set-priority", pid, "high"}, Words{"set-weight", pid, "250"},
        Words{"set-cap", pid, "40"}, Words{"set-share", pid, "30"},
        Words{"set-deadline", pid, "12.5"}, Words{"set-latency-target", pid, "9"}}) {
    EXPECT_EQ(Ctl(words).code, 0) << json(words);
  }
  show = Ctl({"show", pid}).out;
  EXPECT_NE(show.find("15 set by an operator, 3 asked for\n"), std::string::npos) << show;
  EXPECT_NE(show.find("15 effective, 15 set by an operator, 3 asked for"), std::string::npos)
      << show;
  EXPECT_NE(show.find("weight 250, cap 40.0 % of the time, share 30.0 % of the compute units, "
                      "deadline 12.500 ms, latency target 9.000 ms\n"),
            std::string::npos)
      << show;
}

}  // namespace
}  // namespace xsched_hsa

// xsched-hsa-ctl and the programs' own API against real programs on the virtual GPU.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>
#include <sstream>

#include "../tools/xsched-hsa-ctl/tests/trace_check.h"
#include "support/listed_verbs.h"
#include "support/stack.h"

namespace xsched_hsa_tests {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

Result RunIn(Words prefix, const Words& command) {
  prefix.insert(prefix.end(), command.begin(), command.end());
  return Run(prefix);
}

class ToolTest : public testing::Test {
 protected:
  // With the linger of a busy program of ours, which feeds its queue every 10 ms.
  ToolTest() { stack_.StartController({"--linger-us", "200000"}); }

  std::unique_ptr<Process> StartProgram(const std::string& priority, const std::string& verb) {
    auto program = stack_.Start(priority, {Bin("hsa-exercise"), verb, "40"});
    EXPECT_TRUE(program->WaitForOutput("ready"));
    return program;
  }
  json CtlJson(std::vector<std::string> words) {
    words.push_back("--json");
    const Result result = stack_.Ctl(words);
    EXPECT_EQ(result.exit_code, 0) << words[0] << ": " << result.err;
    return json::parse(result.out, nullptr, false);
  }
  // xsched-hsa-ctl where the device's debugfs is to be seen.
  Result CtlOnDevice(std::vector<std::string> words) {
    words.insert(words.begin(), Bin("xsched-hsa-ctl"));
    return stack_.StartPlain(words, {{"XSCHED_HSA_SOCKET", stack_.socket()}})->Wait();
  }
  static std::string Text(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  Stack stack_;
};

TEST_F(ToolTest, ShowHasIdsIndexesPlaceAndContainer) {
  auto low = StartProgram("low", "paused");
  ASSERT_TRUE(stack_.WaitForQueue(0, "state", "idle"));
  const std::string pid = std::to_string(stack_.PidAt(0));
  const json shown = CtlJson({"show", pid});
  const json& process = shown.at("processes").at(0);
  EXPECT_EQ(std::to_string(process["local"]["namespace_pids"][0].get<int>()), pid);
  const json& queue = process["queues"][0];
  EXPECT_TRUE(queue["kfd_queue_id"].is_number()) << queue;
  EXPECT_EQ(queue["ring_packets"], 1024);
  EXPECT_NE(queue["hardware"]["why"].get<std::string>().find("needs root"), std::string::npos)
      << "this process is not under the virtual GPU: " << queue["hardware"];

  const Result on_device = CtlOnDevice({"show", pid, "--json"});
  ASSERT_EQ(on_device.exit_code, 0) << on_device.err;
  const json hardware = json::parse(on_device.out)["processes"][0]["queues"][0]["hardware"];
  ASSERT_TRUE(hardware.contains("slots")) << hardware;
  EXPECT_FALSE(hardware["slots"].empty()) << hardware;
  const Result text = CtlOnDevice({"show", pid + ":" + queue["serial"].dump()});
  for (const char* part : {"KFD queue id", "write index", "read index", "priority", "XCC 0 pipe",
                           "container", "process ids", "all compute units"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }
  const Result gone = stack_.Ctl({"show", pid + ":77"});
  EXPECT_EQ(gone.exit_code, 2);
  EXPECT_NE(gone.err.find("no queue 77"), std::string::npos) << gone.err;
}

TEST_F(ToolTest, TraceOfAHoldIsATimelineThatPerfettoLoads) {
  auto low = StartProgram("low", "paused");
  auto high = StartProgram("high", "busy");
  ASSERT_TRUE(stack_.WaitForQueue(15, "raise", true));
  EXPECT_EQ(CtlJson({"trace", "start"})["sessions"], 2);
  const Result second = stack_.Ctl({"trace", "start"});
  EXPECT_EQ(second.exit_code, 2) << "one recording at a time";
  EXPECT_TRUE(CtlJson({"trace", "status"})["recording"].get<bool>());
  high->Write("\n");
  ASSERT_TRUE(high->WaitForOutput("submitted"));
  low->Write("\n");
  ASSERT_TRUE(stack_.WaitForQueue(0, "state", "held"));
  high->Write("\n");
  ASSERT_TRUE(low->WaitForOutput("completed 40"));

  TemporaryDirectory directory;
  const std::string file = directory.path() + "/trace.json";
  const Result stopped = stack_.Ctl({"trace", "stop", file});
  ASSERT_EQ(stopped.exit_code, 0) << stopped.err;
  EXPECT_NE(stopped.out.find("0 lost"), std::string::npos) << stopped.out;
  const json events = xsched_hsa::testing::CheckedTrace(Text(file));
  using xsched_hsa::testing::CountEvents;
  EXPECT_GE(CountEvents(events, "B", "closed"), 1) << stopped.out;
  EXPECT_GE(CountEvents(events, "B", "active"), 1);
  EXPECT_GE(CountEvents(events, "C", "urgency level"), 2) << "up and down";
  std::uint64_t published = 0;
  for (const json& event : events) {
    if (event["name"] != "published" || event["pid"] != stack_.PidAt(0)) continue;
    published += event["args"]["packets"].get<std::uint64_t>();
  }
  EXPECT_EQ(published, 40u) << "each packet of the low program, once";
  // Kept until the next start; a file that can't be written costs nothing.
  EXPECT_EQ(stack_.Ctl({"trace", "stop", "/nowhere/at/all"}).exit_code, 1);
  EXPECT_EQ(stack_.Ctl({"trace", "stop", "-"}).exit_code, 0);
  EXPECT_EQ(stack_.QueueAt(15)["packets_held"], 0);
}

TEST_F(ToolTest, SuspendReachesTheDriverAndIsUndone) {
  auto low = StartProgram("low", "paused");
  ASSERT_TRUE(stack_.WaitForQueue(0, "state", "idle"));
  const std::string pid = std::to_string(stack_.PidAt(0));
  const auto hardware = [&] {
    const Result shown = CtlOnDevice({"show", pid, "--json"});
    return json::parse(shown.out)["processes"][0]["queues"][0]["hardware"];
  };
  EXPECT_EQ(CtlJson({"suspend", pid})["changed"], 1);
  ASSERT_TRUE(stack_.WaitForQueue(0, "state", "suspended"));
  EXPECT_TRUE(hardware()["slots"].empty()) << "it is off the hardware";
  low->Write("\n");
  ASSERT_TRUE(low->WaitForOutput("submitted"));
  EXPECT_EQ(stack_.QueueAt(0)["read"], 0);
  EXPECT_EQ(CtlJson({"resume", pid})["changed"], 1);
  EXPECT_TRUE(low->WaitForOutput("completed 40"));
}

// The driver lists queues under the outermost namespace's process ids, which the program does not know.
TEST_F(ToolTest, AProgramInAPidNamespaceHasBothIdsAndIsSuspended) {
  const Words in_namespace = {"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"};
  if (geteuid() != 0 || RunIn(in_namespace, {"true"}).exit_code != 0) {
    GTEST_SKIP() << "a PID namespace of one's own is not permitted here";
  }
  Words command = in_namespace;
  command.insert(command.end(), {Bin("hsa-exercise"), "paused", "40"});
  auto low = stack_.Start("low", command);
  ASSERT_TRUE(low->WaitForOutput("ready"));
  ASSERT_TRUE(stack_.WaitForQueue(0, "state", "idle"));
  const json process = CtlJson({"list"})["processes"].at(0);
  EXPECT_EQ(process["namespace_pid"], 1) << process;
  const int outer = process["pid"];
  EXPECT_NE(outer, 1);
  EXPECT_TRUE(process["queues"][0]["kfd_queue_id"].is_number()) << process;
  const Result shown = stack_.Ctl({"show", std::to_string(outer)});
  EXPECT_NE(shown.out.find(std::to_string(outer) + " > 1, itself it sees 1"), std::string::npos)
      << shown.out;
  // By either id: no other program here is the controller's number 1.
  EXPECT_EQ(CtlJson({"suspend", "1"})["changed"], 1);
  ASSERT_TRUE(stack_.WaitForQueue(0, "state", "suspended"));
  EXPECT_EQ(CtlJson({"resume", std::to_string(outer)})["changed"], 1);
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("completed 40"));
}

TEST_F(ToolTest, CuMaskReachesTheDriverAndIsUndone) {
  stack_.KillController(SIGTERM);
  stack_.StartControllerOnDevice();
  auto second = StartProgram("normal", "paused");
  ASSERT_TRUE(stack_.WaitForQueue(7, "state", "idle"));
  const std::string other = std::to_string(stack_.PidAt(7));
  const Result few = stack_.Ctl({"cu-mask", other, "1"});
  EXPECT_EQ(few.exit_code, 2);
  EXPECT_NE(few.err.find("shader array"), std::string::npos) << few.err;
  EXPECT_EQ(CtlJson({"cu-mask", other, "33"})["units"], 32);
  EXPECT_EQ(stack_.QueueAt(7)["standing_mask"]["units"], 32);
  const auto engines = [&] {
    const Result shown = CtlOnDevice({"show", other, "--json"});
    return json::parse(shown.out)["processes"][0]["queues"][0]["hardware"]["se_masks"][0];
  };
  for (int i = 0; i < 200 && engines() == "0xffffffff"; ++i) usleep(10'000);
  const json narrowed = engines();
  EXPECT_NE(narrowed, "0xffffffff");
  EXPECT_EQ(CtlJson({"cu-mask", other, "all"})["changed"], 1);
  for (int i = 0; i < 200 && engines() == narrowed; ++i) usleep(10'000);
  EXPECT_NE(engines(), narrowed);
  second->Write("\n");
  EXPECT_TRUE(second->WaitForOutput("completed 40"));
}

TEST_F(ToolTest, APolicyForAGpuThatIsNotThereIsALineInTheLog) {
  stack_.KillController(SIGTERM);
  TemporaryDirectory directory;
  const std::string file = directory.path() + "/config.toml";
  std::ofstream(file) << "[gpu.\"0000:47:00.0\".policy]\nname = \"round-robin\"\n"
                         "[gpu.\"0001:c7:00.0\".policy]\nname = \"weighted-fair\"\n";
  stack_.StartControllerOnDevice({"--config", file});
  const std::string shown = stack_.Ctl({"devices", "--json"}).out;
  ASSERT_NE(shown.find("0000:47:00.0"), std::string::npos) << shown;
  const std::string said = stack_.KillController(SIGTERM).err;
  EXPECT_NE(said.find("weighted-fair is for GPU 0001:c7:00.0, which is not there"),
            std::string::npos)
      << said;
  EXPECT_EQ(said.find("round-robin is for"), std::string::npos) << said;
}

TEST_F(ToolTest, ASuspensionByOrderEndsWithTheController) {
  auto low = StartProgram("low", "paused");
  ASSERT_TRUE(stack_.WaitForQueue(0, "state", "idle"));
  EXPECT_EQ(CtlJson({"suspend", std::to_string(stack_.PidAt(0))})["changed"], 1);
  ASSERT_TRUE(stack_.WaitForQueue(0, "state", "suspended"));
  low->Write("\n");
  stack_.KillController(SIGKILL);
  EXPECT_TRUE(low->WaitForOutput("completed 40"));
}

// Words, what people are told, and what programs find in the answer.
struct Spoken {
  std::vector<std::string> words;
  const char* text;
  const char* key;
};

std::vector<Spoken> EveryCommand(const std::string& pid, const std::string& file) {
  return {{{"list"}, "STATE", "processes"},
          {{"list", "--all"}, "STATE", "processes"},
          {{"show", pid}, "KFD queue id", "processes"},
          {{"top", "--batch", "1"}, "PROGRAM", "processes"},
          {{"stats"}, "counters.decisions ", "counters"},
          {{"explain"}, "nothing was preempted so far", "processes"},
          {{"explain", pid}, ": 0 preemptions", "processes"},
          {{"devices"}, "compute_units", "devices"},
          {{"policy"}, "every GPU: strict-priority", "policies"},
          {{"policy", "show"}, "every GPU: strict-priority", "available"},
          {{"policy", "set", "strict-priority", "window_us=300"}, "policy strict-priority", "ok"},
          {{"config", "show"}, "mechanisms.delay_budget_percent = 8.0\n", "effective"},
          {{"config", "reload"}, "no file: the defaults are in force", "files"},
          {{"trace", "status"}, "not recording", "recording"},
          {{"trace", "start"}, "recording 1 programs", "sessions"},
          {{"trace", "stop", file}, "load it at ui.perfetto.dev", "lost"},
          {{"set-priority", pid, "low"}, "set to priority 0", "changed"},
          {{"set-weight", pid, "200"}, "with a weight of 200\n", "changed"},
          {{"set-weight", pid, "default"}, "with the weight of their rule again", "changed"},
          {{"set-cap", pid, "50"}, "with a cap of 50 percent", "changed"},
          {{"set-share", pid, "40"}, "with a share of 40 percent", "changed"},
          {{"set-deadline", pid, "12.5"}, "with a deadline of 12.5 ms", "changed"},
          {{"set-latency-target", pid, "30"}, "with a latency-target of 30 ms", "changed"},
          {{"hold", pid}, "1 queue(s) held", "changed"},
          {{"release", pid}, "1 queue(s) released", "changed"},
          {{"suspend", pid}, "1 queue(s) suspended", "changed"},
          {{"resume", pid}, "1 queue(s) resumed", "changed"},
          {{"cu-mask", pid, "33"}, "kept on 32 compute units", "units"},
          {{"cu-mask", pid, "all"}, "back on all their compute units", "changed"}};
}

TEST_F(ToolTest, EveryCommandAnswersPeopleAndPrograms) {
  stack_.KillController(SIGTERM);
  stack_.StartControllerOnDevice();
  auto low = StartProgram("low", "paused");
  ASSERT_TRUE(stack_.WaitForQueue(0, "state", "idle"));
  TemporaryDirectory directory;
  const auto commands =
      EveryCommand(std::to_string(stack_.PidAt(0)), directory.path() + "/trace.json");
  std::set<std::string> verbs = {"run", "doctor", "events", "report"};  // have tests of their own
  for (const Spoken& spoken : commands) {
    verbs.insert(spoken.words[0]);
    const Result text = stack_.Ctl(spoken.words);
    EXPECT_EQ(text.exit_code, 0) << json(spoken.words) << text.err;
    EXPECT_NE(text.out.find(spoken.text), std::string::npos) << json(spoken.words) << text.out;
  }
  for (const Spoken& spoken : commands) {
    const json answer = CtlJson(spoken.words);
    EXPECT_TRUE(answer.contains(spoken.key)) << json(spoken.words) << answer;
  }
  // None is left out: what the tool itself lists.
  const std::vector<std::string> listed = ListedVerbs(stack_.Ctl({"--help"}).out);
  EXPECT_GE(listed.size(), 20u);
  for (const std::string& verb : listed) EXPECT_EQ(verbs.count(verb), 1u) << verb;
  const Result policy = stack_.Ctl({"policy", "set", "no-such-policy"});
  EXPECT_EQ(policy.exit_code, 2);
  EXPECT_EQ(std::count(policy.err.begin(), policy.err.end(), '\n'), 1) << policy.err;
}

TEST_F(ToolTest, EventsFollowProgramsAsTheyComeAndGo) {
  const std::vector<std::string> follow = {
      Bin("xsched-hsa-ctl"), "events", "--json",   "--count",      "4",
      "--seconds",           "20",     "--socket", stack_.socket()};
  Process events(follow);
  Process for_people({Bin("xsched-hsa-ctl"), "events", "--count", "4", "--seconds", "20",
                      "--socket", stack_.socket()});
  // It follows from when the controller has said so; nothing else tells from outside.
  usleep(300'000);
  auto low = StartProgram("low", "paused");
  low->Write("\n");
  EXPECT_EQ(low->Wait().exit_code, 0);
  const Result seen = events.Wait();
  EXPECT_EQ(seen.exit_code, 0) << seen.err;
  EXPECT_NE(seen.out.find("\"event\":\"session\""), std::string::npos) << seen.out;
  EXPECT_NE(seen.out.find("\"event\":\"queue\""), std::string::npos) << seen.out;
  EXPECT_EQ(std::count(seen.out.begin(), seen.out.end(), '\n'), 4) << seen.out;
  const Result told = for_people.Wait();
  EXPECT_EQ(told.exit_code, 0) << told.err;
  EXPECT_NE(told.out.find(" session comm=hsa-exercise"), std::string::npos) << told.out;
  EXPECT_NE(told.out.find("state=made"), std::string::npos) << told.out;
  EXPECT_EQ(std::count(told.out.begin(), told.out.end(), '\n'), 4) << told.out;
}

TEST_F(ToolTest, AHungControllerIsSaidSoAndNobodyWaitsForLong) {
  stack_.KillController(SIGSTOP);
  const Result result = stack_.Ctl({"list"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("did not answer within"), std::string::npos) << result.err;
}

TEST_F(ToolTest, MarkedRequestsShowInListShowAndTop) {
  auto program = stack_.Start("normal", {Bin("api-program")});
  ASSERT_TRUE(program->WaitForOutput("ready"));
  const json process = CtlJson({"list"})["processes"][0];
  const json& requests = process["requests"];
  EXPECT_EQ(requests["ended"], 6) << process;
  EXPECT_EQ(requests["missed"], 1);
  EXPECT_EQ(requests["open"], 1);
  EXPECT_EQ(requests["latency"]["count"], 6);
  EXPECT_GE(requests["latency"]["p50_ms"].get<double>(), 2);
  EXPECT_GE(requests["latency"]["p99_ms"].get<double>(), 20);
  EXPECT_EQ(process["queues"][0]["priority"], 3);
  EXPECT_EQ(process["queues"][1]["priority"], 15) << "made by a thread that had said so";
  EXPECT_TRUE(process["queues"][0]["deadline_in_ms"].is_number());
  const std::string pid = process["pid"].dump();
  EXPECT_NE(stack_.Ctl({"show", pid}).out.find("6 ended, 1 open, 1 late"), std::string::npos);
  const Result top = stack_.Ctl({"top", "--batch", "1"});
  EXPECT_NE(top.out.find("api-program"), std::string::npos) << top.out;
  program->Write("\n");
  const Result result = program->Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* line : {"before 1", "present 1", "thread 0", "queue 0", "bad 2", "unknown 3",
                           "null 2", "end 0", "again 3", "state 0", "queues 2", "missed 1"}) {
    EXPECT_NE(("\n" + result.out).find("\n" + std::string(line) + "\n"), std::string::npos)
        << line << "\n"
        << result.out;
  }
}

TEST_F(ToolTest, WithoutTheLayerTheApiDoesNothing) {
  auto program = stack_.StartPlain({Bin("api-program")});
  ASSERT_TRUE(program->WaitForOutput("ready"));
  program->Write("\n");
  const Result result = program->Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* line : {"before 1", "present 0", "thread 1", "queue 1", "state 1", "queues 0"}) {
    EXPECT_NE(("\n" + result.out).find("\n" + std::string(line) + "\n"), std::string::npos)
        << line << "\n"
        << result.out;
  }
  EXPECT_EQ(xsched_hsa_tests::Run({Bin("api-program"), "--no-hsa"}).exit_code, 0);
}

TEST_F(ToolTest, PythonMarksRequestsToo) {
  const std::string root = XSCHED_HSA_SOURCE_DIR;
  setenv("PYTHONPATH", (root + "/tools/packaging/python").c_str(), 1);
  setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
  const std::string script = root + "/tests/programs/api_program.py";
  stack_.UseEnvironment({{"LD_PRELOAD", RuntimeToPreload()}});
  auto program = stack_.Start("normal", {"python3", script});
  ASSERT_TRUE(program->WaitForOutput("ready")) << program->Wait().err;
  const json process = CtlJson({"list"})["processes"][0];
  const json& requests = process["requests"];
  EXPECT_EQ(requests["ended"], 5) << requests;
  EXPECT_EQ(requests["missed"], 1);
  program->Write("\n");
  const Result result = program->Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* line : {"before False 0 None", "present True", "raised", "thread True",
                           "ended 5 missed 1", "refused xsched_hsa: a priority is one of 0..15"}) {
    EXPECT_NE(result.out.find(line), std::string::npos) << line << "\n" << result.out;
  }
  EXPECT_EQ(xsched_hsa_tests::Run({"python3", script, "--no-hsa"}).exit_code, 0);
  unsetenv("PYTHONPATH");
}

}  // namespace
}  // namespace xsched_hsa_tests

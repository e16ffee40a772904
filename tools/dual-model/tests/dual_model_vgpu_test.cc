// Whole runs under the virtual GPU: the packets' effects are checked by the workers themselves.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "child_process.h"

namespace dual_model {
namespace {

using nlohmann::json;
const std::string kBin = XSCHED_HSA_BIN_DIR;
const std::string kWorkload =
    std::string(XSCHED_HSA_SOURCE_DIR) + "/tools/dual-model/workloads/resnet_h100.json";

class DualModelTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/dual-model-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Runs `dual-model run` on a virtual GPU of its own.
  bool Run(std::vector<std::string> arguments, json* record) {
    const std::string path = folder_ + "/record.json";
    ChildOptions options;
    options.command = {kBin + "/virtual-gpu", "run", "--profile", "mi308x", "--",
                       kBin + "/dual-model",  "run", "--json",    path};
    options.command.insert(options.command.end(), arguments.begin(), arguments.end());
    std::string error;
    const bool ok = RunForOutput(options, true, 60'000, &output_, &error);
    if (!ok) {
      output_ += error;
      return false;
    }
    std::ifstream file(path);
    *record = json::parse(file, nullptr, false);
    return !record->is_discarded();
  }

  static void ExpectAllPacketsRanOnce(const json& record) {
    for (const json& model : record["models"]) {
      const json& check = model["check"];
      EXPECT_GT(check["packets_submitted"], 0);
      EXPECT_EQ(check["packets_submitted"], check["packets_completed"]);
      EXPECT_EQ(check["workgroups_expected"], check["workgroups_done"]);
      EXPECT_EQ(check["order_errors"], 0);
      EXPECT_EQ(check["signal_errors"], 0);
    }
  }

  std::string folder_, output_;
};

TEST_F(DualModelTest, TellsWhetherHardwarePriorityHasAnEffect) {
  for (const bool effective : {true, false}) {
    ChildOptions options;
    options.command = {kBin + "/virtual-gpu",
                       "run",
                       "--quiet",
                       "--param",
                       "pipe_priority_effective=" + std::to_string(effective ? 1 : 0),
                       "--",
                       kBin + "/xsched-hsa-ctl",
                       "doctor",
                       "--probe",
                       "--json"};
    std::string output, error;
    RunForOutput(options, false, 60'000, &output, &error);  // no controller: doctor answers 1
    const json report = json::parse(output, nullptr, false);
    ASSERT_TRUE(report.is_object()) << output << error;
    bool told = false;
    for (const json& check : report["checks"]) {
      if (check["name"] != "priority") continue;
      told = true;
      const std::string text = check["text"];
      EXPECT_EQ(text.find("has an effect") != std::string::npos, effective) << text;
      EXPECT_EQ(text.find("has no effect") != std::string::npos, !effective) << text;
      EXPECT_NE(text.find("(simulated)"), std::string::npos) << text;
    }
    EXPECT_TRUE(told);
  }
}

// Whoever runs the models: here the program itself, said to be another one. It writes down whose clock is the
// device's: without the layer and the controller these would go on while the simulated clock stands.
TEST_F(DualModelTest, RunsModelsByAnotherCommand) {
  const std::string script = folder_ + "/worker", seen = folder_ + "/clocks";
  std::ofstream(script) << "echo \"$VIRTUAL_GPU_CLOCK_FOR\" >> " << seen << "\nexec " << kBin
                        << "/dual-model \"$@\"\n";
  json record;
  ASSERT_TRUE(
      Run({"--mode", "xsched-hsa", "--seconds", "1", "--high", kWorkload + ":resnet18.b1@20",
           "--low", kWorkload + ":resnet50.b8", "--worker", "/bin/sh " + script},
          &record))
      << output_;
  EXPECT_TRUE(record["proof"]["layer_loaded"]);
  std::ifstream clocks(seen);
  int workers = 0;
  for (std::string clock; std::getline(clocks, clock); ++workers)
    EXPECT_EQ(clock, "libxsched-hsa.so:xsched-hsad");
  EXPECT_EQ(workers, 2);
  EXPECT_EQ(record["models"].size(), 2u);
  EXPECT_FALSE(Run({"--seconds", "1", "--high", kWorkload + ":resnet18.b1@20", "--low",
                    kWorkload + ":resnet50.b8", "--worker", "/usr/bin/false"},
                   &record))
      << "a worker that fails fails the run";
}

TEST_F(DualModelTest, AloneRunsEachModelByItself) {
  json record;
  ASSERT_TRUE(Run({"--mode", "alone", "--seconds", "1", "--high", kWorkload + ":resnet18.b1@20",
                   "--low", kWorkload + ":resnet50.b8"},
                  &record))
      << output_;
  ExpectAllPacketsRanOnce(record);
  EXPECT_EQ(record["simulated"], true);
  // No upper bounds: a busy machine makes everything late. But nothing may come early.
  EXPECT_GT(record["high"]["requests"], 0);
  EXPECT_GT(record["high"]["p50_ms"], 2.1);
  EXPECT_GT(record["low"]["iterations"], 0);
  EXPECT_LT(record["low"]["iter_per_s"], 175);
  EXPECT_EQ(record["proof"]["layer_loaded"], false);
}

TEST_F(DualModelTest, NativeRunsTwoModelsTogether) {
  json record;
  ASSERT_TRUE(Run({"--mode", "native", "--seconds", "1", "--high", kWorkload + ":resnet18.b1@20",
                   "--low", kWorkload + ":resnet50.b8"},
                  &record))
      << output_;
  ExpectAllPacketsRanOnce(record);
  EXPECT_GT(record["low"]["iterations"], 0);
  EXPECT_EQ(record["proof"]["layer_loaded"], false);
}

TEST_F(DualModelTest, XschedHsaHoldsTheLowModelAndProvesIt) {
  json record;
  const std::string trace_path = folder_ + "/trace.json";
  ASSERT_TRUE(
      Run({"--mode", "xsched-hsa", "--seconds", "1", "--warm-up", "0.2", "--trace", trace_path,
           "--high", kWorkload + ":resnet18.b1@20", "--low", kWorkload + ":resnet50.b64"},
          &record))
      << output_;
  ExpectAllPacketsRanOnce(record);
  const json& proof = record["proof"];
  EXPECT_EQ(proof["layer_loaded"], true);
  EXPECT_EQ(proof["queues"], 2);
  EXPECT_GT(proof["packets_held"], 0);
  EXPECT_GT(proof["preemptions"], 0);
  EXPECT_GE(proof["packets_seen"], proof["packets_submitted"]);
  // The report names what it was made with.
  EXPECT_EQ(proof["controller"]["policy"], "strict-priority");
  EXPECT_GT(proof["controller"]["parameters"]["window_us"], 0);
  EXPECT_EQ(proof["controller"]["mechanisms"]["allow"].size(), 4u);
  // The timeline has both sides of each preemption, and not the warm-up's four requests.
  std::ifstream file(trace_path);
  const json trace = json::parse(file, nullptr, false);
  ASSERT_TRUE(trace.is_object());
  int closed = 0, raised = 0;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] != "B") continue;
    closed += event["name"] == "closed";
    raised += event["name"] == "active";
  }
  EXPECT_GT(closed, 0);
  EXPECT_GT(raised, 0);
  EXPECT_LT(closed, proof["preemptions"]);
}

TEST_F(DualModelTest, ATimelineThatCannotBeIsSaid) {
  json record;
  const std::vector<std::string> models = {"--high", kWorkload + ":resnet18.b1@20", "--low",
                                           kWorkload + ":resnet50.b64"};
  std::vector<std::string> native = {"--mode", "native", "--trace", folder_ + "/t"};
  native.insert(native.end(), models.begin(), models.end());
  EXPECT_FALSE(Run(native, &record));
  EXPECT_NE(output_.find("--trace records the layer"), std::string::npos) << output_;
  std::vector<std::string> nowhere = {"--mode", "xsched-hsa", "--seconds",
                                      "0.1",    "--trace",    folder_ + "/none/t"};
  nowhere.insert(nowhere.end(), models.begin(), models.end());
  EXPECT_FALSE(Run(nowhere, &record));
  EXPECT_NE(output_.find("cannot write " + folder_ + "/none/t"), std::string::npos) << output_;
}

TEST_F(DualModelTest, OpenLoopCountsFromTheArrival) {
  json record;
  ASSERT_TRUE(Run({"--mode", "native", "--seconds", "1", "--open-loop", "--high",
                   kWorkload + ":resnet18.b1@20"},
                  &record))
      << output_;
  const json& samples = record["models"][0]["samples"];
  ASSERT_EQ(samples.size(), 20u);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    EXPECT_NEAR(samples[i][0].get<double>(), double(i) * 50, 0.01);
  }
}

TEST_F(DualModelTest, SeveralHighModelsAreServed) {
  json record;
  ASSERT_TRUE(Run({"--mode", "native", "--seconds", "0.5", "--high", kWorkload + ":resnet18.b1@20",
                   "--high", kWorkload + ":resnet18.b1@10", "--low", kWorkload + ":resnet50.b8"},
                  &record))
      << output_;
  ASSERT_EQ(record["models"].size(), 3u);
  ExpectAllPacketsRanOnce(record);
}

TEST_F(DualModelTest, AGpuThatIsNotThereIsBadInput) {
  json record;
  EXPECT_FALSE(Run({"--gpu", "7", "--low", kWorkload + ":resnet50.b8"}, &record));
  EXPECT_NE(output_.find("GPU 7 is not there"), std::string::npos) << output_;
  EXPECT_NE(output_.find("exited with 2"), std::string::npos) << output_;
}

}  // namespace
}  // namespace dual_model

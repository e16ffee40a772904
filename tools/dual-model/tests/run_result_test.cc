#include "run_result.h"

#include <gtest/gtest.h>

#include "statistics.h"

namespace dual_model {
namespace {

using nlohmann::json;

TEST(StatisticsTest, PercentilesAreNearestRank) {
  std::vector<double> samples;
  for (int i = 100; i >= 1; --i) samples.push_back(i);
  const LatencySummary summary = Summarise(samples);
  EXPECT_EQ(summary.requests, 100u);
  EXPECT_EQ(summary.p50_ms, 50);
  EXPECT_EQ(summary.p95_ms, 95);
  EXPECT_EQ(summary.p99_ms, 99);
  EXPECT_EQ(summary.max_ms, 100);
  EXPECT_EQ(summary.mean_ms, 50.5);
}

TEST(StatisticsTest, FewSamplesGiveTheLargest) {
  EXPECT_EQ(Summarise({3, 1, 2}).p99_ms, 3);
  EXPECT_EQ(Summarise({3, 1, 2}).p50_ms, 2);
  EXPECT_EQ(Summarise({7}).p50_ms, 7);
  EXPECT_EQ(Summarise({}).p99_ms, 0);
}

json Worker(const char* role, const json& samples) {
  return {{"role", role},       {"model", "m"},      {"batch", 8},
          {"samples", samples}, {"time_scale", 1.0}, {"device", {{"name", "d"}}}};
}

TEST(RunResultTest, LowRateCountsWholeIterationsOnly) {
  const json low = LowMetrics(Worker("low", {{0.0, 100.0}, {100.0, 100.0}, {200.0, 50.0}}));
  EXPECT_EQ(low["iterations"], 3);
  EXPECT_DOUBLE_EQ(low["iter_per_s"], 12.0);
  EXPECT_DOUBLE_EQ(low["img_per_s"], 96.0);
  EXPECT_EQ(LowMetrics(Worker("low", json::array()))["iter_per_s"], 0);
}

TEST(RunResultTest, AfterAWarmUpTheRateCountsFromTheFirstWholeIteration) {
  const json low = LowMetrics(Worker("low", {{80.0, 100.0}, {180.0, 100.0}}));
  EXPECT_DOUBLE_EQ(low["iter_per_s"], 10.0);
}

TEST(RunResultTest, RecordHasWhatResultJsonNeeds) {
  RunOptions options;
  options.mode = RunMode::kXschedHsa;
  Proof proof;
  proof.layer_loaded = true;
  proof.packets_held = 7;
  const json record = MakeRecord(
      options, {Worker("high", {{0.0, 2.0}}), Worker("low", {{0.0, 10.0}})}, proof, true);
  EXPECT_EQ(record["simulated"], true);
  EXPECT_EQ(record["mode"], "xsched-hsa");
  for (const char* name : {"requests", "p50_ms", "p95_ms", "p99_ms", "max_ms", "mean_ms"}) {
    EXPECT_TRUE(record["high"].contains(name)) << name;
  }
  for (const char* name : {"iterations", "iter_per_s", "img_per_s"}) {
    EXPECT_TRUE(record["low"].contains(name)) << name;
  }
  for (const char* name : {"layer_loaded", "queues", "packets_held", "preemptions",
                           "packets_submitted", "packets_completed"}) {
    EXPECT_TRUE(record["proof"].contains(name)) << name;
  }
}

const std::vector<WorkerIdentity> kWorkers = {{11, true, 100}, {12, false, 200}};

json Queue(int submitted, int held, int holds) {
  return {{"submitted", submitted}, {"packets_held", held}, {"holds", holds}, {"raises", 1}};
}

TEST(ProofTest, SumsWhatTheLayersReport) {
  const json list = {{"processes",
                      {{{"pid", 11}, {"queues", {Queue(101, 0, 0)}}},
                       {{"pid", 12}, {"queues", {Queue(150, 30, 4), Queue(60, 5, 1)}}},
                       {{"pid", 13}, {"queues", {Queue(1, 1000, 1000)}}}}}};
  Proof proof;
  std::string error;
  ASSERT_TRUE(ReadProof(list.dump(), kWorkers, &proof, &error)) << error;
  EXPECT_TRUE(proof.layer_loaded);
  EXPECT_EQ(proof.queues, 3u);
  EXPECT_EQ(proof.packets_held, 35u);
  EXPECT_EQ(proof.preemptions, 5u);
  EXPECT_EQ(proof.packets_seen, 311u);
}

TEST(ProofTest, FailsWhenALayerIsMissingOrBypassed) {
  Proof proof;
  std::string error;
  const json without_low = {{"processes", {{{"pid", 11}, {"queues", {Queue(101, 0, 0)}}}}}};
  EXPECT_FALSE(ReadProof(without_low.dump(), kWorkers, &proof, &error));
  EXPECT_NE(error.find("did not come up in worker 12"), std::string::npos);

  const json no_queue = {
      {"processes",
       {{{"pid", 11}, {"queues", {Queue(101, 0, 0)}}}, {{"pid", 12}, {"queues", json::array()}}}}};
  EXPECT_FALSE(ReadProof(no_queue.dump(), kWorkers, &proof, &error));
  EXPECT_NE(error.find("manages no queue"), std::string::npos);

  const json bypassed = {{"processes",
                          {{{"pid", 11}, {"queues", {Queue(101, 0, 0)}}},
                           {{"pid", 12}, {"queues", {Queue(199, 0, 0)}}}}}};
  EXPECT_FALSE(ReadProof(bypassed.dump(), kWorkers, &proof, &error));
  EXPECT_NE(error.find("199 of 200"), std::string::npos);

  for (const char* text : {"", "[]", "{}", "nonsense"}) {
    EXPECT_FALSE(ReadProof(text, kWorkers, &proof, &error)) << text;
  }
  EXPECT_FALSE(proof.layer_loaded);
}

TEST(ModeTest, NamesRoundTripAndOthersAreRefused) {
  RunMode mode;
  for (const char* name : {"alone", "native", "xsched-hsa"}) {
    ASSERT_TRUE(ParseMode(name, &mode));
    EXPECT_STREQ(ModeName(mode), name);
  }
  EXPECT_FALSE(ParseMode("xsched", &mode));
  std::map<std::string, double> scale;
  std::string error;
  EXPECT_TRUE(ParseScale("resnet50.b8=6.5", &scale, &error));
  EXPECT_EQ(scale["resnet50.b8"], 6.5);
  for (const char* text : {"", "a", "=1", "a=", "a=0", "a=-1", "a=1x"}) {
    EXPECT_FALSE(ParseScale(text, &scale, &error)) << text;
  }
}

}  // namespace
}  // namespace dual_model

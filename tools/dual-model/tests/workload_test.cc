#include "workload.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace dual_model {
namespace {

std::string Error(const std::string& text, const std::string& model = "m") {
  TraceModel parsed;
  std::string error;
  EXPECT_FALSE(ParseWorkload(text, "f.json", model, &parsed, &error)) << text;
  EXPECT_EQ(error.find('\n'), std::string::npos) << "one line: " << error;
  return error;
}

std::string WithKernel(const std::string& kernel) {
  return R"({"gpu": "G", "models": {"m": {"batch": 2, "latency": {"p50_ms": 1.5}, "kernels": [)" +
         kernel + "]}}}";
}
const char kKernel[] =
    R"({"name": "k", "grid": [4, 3, 2], "block": [8, 32, 1], "regs": 77, "lds": 6400, "ns": 29920})";

TEST(WorkloadTest, ReadsAKernelsShape) {
  TraceModel model;
  std::string error;
  ASSERT_TRUE(ParseWorkload(WithKernel(kKernel), "f.json", "m", &model, &error)) << error;
  EXPECT_EQ(model.gpu, "G");
  EXPECT_EQ(model.batch, 2u);
  EXPECT_DOUBLE_EQ(model.request_ms, 1.5);
  ASSERT_EQ(model.kernels.size(), 1u);
  EXPECT_EQ(model.kernels[0].workgroups, 24u);
  EXPECT_EQ(model.kernels[0].work_items, 256u);
  EXPECT_EQ(model.kernels[0].registers, 77u);
  EXPECT_DOUBLE_EQ(model.KernelSumMs(), 0.02992);
}

TEST(WorkloadTest, ReadsTheShippedTraces) {
  TraceModel model;
  std::string error;
  const std::string file =
      std::string(XSCHED_HSA_SOURCE_DIR) + "/tools/dual-model/workloads/resnet_h100.json";
  ASSERT_TRUE(LoadWorkload({file, "resnet18.b1", 0}, &model, &error)) << error;
  EXPECT_EQ(model.kernels.size(), 117u);
  EXPECT_NEAR(model.KernelSumMs(), 0.476, 0.001);
  ASSERT_TRUE(LoadWorkload({file, "resnet50.b1024", 0}, &model, &error)) << error;
  EXPECT_EQ(model.kernels.size(), 254u);
  EXPECT_EQ(model.batch, 1024u);
}

TEST(WorkloadTest, SaysWhatIsWrongWithABadFile) {
  EXPECT_NE(Error("not json").find("is not JSON"), std::string::npos);
  EXPECT_NE(Error("{}").find("lacks a field"), std::string::npos);
  EXPECT_NE(Error("[1]").find("lacks a field"), std::string::npos);
  EXPECT_NE(Error(WithKernel(kKernel), "other").find("has no model 'other'; it has m"),
            std::string::npos);
  EXPECT_NE(Error(WithKernel("")).find("no kernels"), std::string::npos);
}

TEST(WorkloadTest, SaysWhichKernelIsBad) {
  const struct {
    const char *kernel, *text;
  } cases[] = {
      {R"({"grid": [0], "block": [64], "regs": 8, "lds": 0, "ns": 1})", "grid is empty"},
      {R"({"grid": [1], "block": [2048], "regs": 8, "lds": 0, "ns": 1})", "block"},
      {R"({"grid": [1], "block": [64], "regs": 300, "lds": 0, "ns": 1})", "regs"},
      {R"({"grid": [1], "block": [64], "regs": 8, "lds": -1, "ns": 1})", "lds"},
      {R"({"grid": [1], "block": [64], "regs": 8, "lds": 0, "ns": 0})", "ns is 0"},
      {R"({"grid": [1], "block": [64], "regs": 8, "lds": 0, "ns": "x"})", "ns"},
      {R"({"grid": [65536, 65536], "block": [64], "regs": 8, "lds": 0, "ns": 1})", "grid"},
      {R"({"grid": [16777216, 4], "block": [64], "regs": 8, "lds": 0, "ns": 1})", "2^32 - 1"},
      {R"({"block": [64], "regs": 8, "lds": 0, "ns": 1})", "grid"},
      {R"({"grid": "x", "block": [64], "regs": 8, "lds": 0, "ns": 1})", "grid"},
  };
  for (const auto& test : cases) {
    const std::string error = Error(WithKernel(std::string(kKernel) + "," + test.kernel));
    EXPECT_NE(error.find("kernel 1"), std::string::npos) << error;
    EXPECT_NE(error.find(test.text), std::string::npos) << error;
  }
}

TEST(WorkloadTest, SaysThatAFileCantBeRead) {
  TraceModel model;
  std::string error;
  EXPECT_FALSE(LoadWorkload({"/no/such/file.json", "m", 0}, &model, &error));
  EXPECT_NE(error.find("can't read workload file /no/such/file.json"), std::string::npos);
}

TEST(ModelSpecTest, TakesFileModelAndRate) {
  ModelSpec spec;
  std::string error;
  ASSERT_TRUE(ParseModelSpec("a/b.json:resnet18.b1@12.5", true, &spec, &error)) << error;
  EXPECT_EQ(spec.file, "a/b.json");
  EXPECT_EQ(spec.model, "resnet18.b1");
  EXPECT_DOUBLE_EQ(spec.rate_per_s, 12.5);
  ASSERT_TRUE(ParseModelSpec("c:d.json:m", false, &spec, &error)) << error;
  EXPECT_EQ(spec.file, "c:d.json");
}

TEST(ModelSpecTest, RefusesWhatIsIncomplete) {
  ModelSpec spec;
  std::string error;
  for (const char* text :
       {"", "f", "f:", ":m@1", "f:m", "f:m@", "f:m@0", "f:m@-1", "f:m@x", "f:m@1x", "f:m@nan"}) {
    EXPECT_FALSE(ParseModelSpec(text, true, &spec, &error)) << text;
  }
  EXPECT_FALSE(ParseModelSpec("f:m@1", false, &spec, &error));
  EXPECT_NE(error.find("take '@RATE' off"), std::string::npos);
}

}  // namespace
}  // namespace dual_model

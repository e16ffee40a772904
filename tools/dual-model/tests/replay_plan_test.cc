#include "replay_plan.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "dual-model/work_code_objects.h"
#include "dual-model/work_kernel_abi.h"

namespace dual_model {
namespace {

TraceModel Shipped(const std::string& name) {
  TraceModel model;
  std::string error;
  const std::string file =
      std::string(XSCHED_HSA_SOURCE_DIR) + "/tools/dual-model/workloads/resnet_h100.json";
  EXPECT_TRUE(LoadWorkload({file, name, 0}, &model, &error)) << error;
  return model;
}

ReplayPlan Plan(const TraceModel& model, std::optional<double> target_ms = {},
                const DeviceShape& shape = {}) {
  ReplayPlan plan;
  std::string error;
  EXPECT_TRUE(MakeReplayPlan(model, shape, target_ms, &plan, &error)) << error;
  return plan;
}

TEST(OccupancyTest, IsLimitedByWavesRegistersLdsAndWorkgroups) {
  const DeviceShape shape;
  EXPECT_EQ(WorkgroupsPerCu({1, 64, 8, 0}, shape), 32u);     // waves and workgroups: 4 * 8
  EXPECT_EQ(WorkgroupsPerCu({1, 256, 32, 0}, shape), 8u);    // 4 waves each
  EXPECT_EQ(WorkgroupsPerCu({1, 256, 128, 0}, shape), 4u);   // 512 / 128 = 4 waves a SIMD
  EXPECT_EQ(WorkgroupsPerCu({1, 256, 168, 0}, shape), 3u);   // 512 / 168 = 3 waves a SIMD
  EXPECT_EQ(WorkgroupsPerCu({1, 64, 8, 20000}, shape), 3u);  // 65536 / 20000
  EXPECT_EQ(WorkgroupsPerCu({1, 1024, 64, 0}, shape), 2u);
  EXPECT_EQ(WorkgroupsPerCu({1, 1024, 256, 0}, shape), 0u);  // needs 16 waves, 8 fit
}

TEST(OccupancyTest, UsesTheAgentsLimits) {
  DeviceShape gfx908;
  gfx908.waves_per_simd = 10;
  gfx908.vgprs_per_simd = 256;
  EXPECT_EQ(WorkgroupsPerCu({1, 256, 8, 0}, gfx908), 10u);
  EXPECT_EQ(WorkgroupsPerCu({1, 256, 128, 0}, gfx908), 2u);
}

TEST(ReplayPlanTest, GpuBoundModelTakesItsTargetWithLaunches) {
  const TraceModel model = Shipped("resnet50.b1024");
  const ReplayPlan plan = Plan(model);
  EXPECT_FALSE(plan.host_bound);
  EXPECT_NEAR(plan.kernel_ms, 508, 1e-6);
  EXPECT_NEAR(plan.factor, 3.168, 0.001);
  double sum_ns = 0;
  for (const ReplayKernel& kernel : plan.kernels) {
    sum_ns += double(kernel.rounds) * kernel.workgroup_ns + kLaunchNs;
  }
  EXPECT_NEAR(sum_ns / 1e6, 508, 0.1);
  EXPECT_NEAR(Plan(Shipped("resnet50.b8")).kernel_ms, 6.0, 1e-6);
}

TEST(ReplayPlanTest, RoundsAreWorkgroupsOverSlots) {
  const TraceModel model = Shipped("resnet50.b1024");
  const DeviceShape shape;
  const ReplayPlan plan = Plan(model);
  for (const ReplayKernel& kernel : plan.kernels) {
    const std::uint64_t slots = WorkgroupsPerCu(kernel, shape) * 80u;
    EXPECT_GE(kernel.rounds * slots, kernel.workgroups);
    EXPECT_LT((kernel.rounds - 1) * slots, kernel.workgroups);
  }
}

TEST(ReplayPlanTest, SpreadOfWorkgroupTimesShortensTheSlotTime) {
  EXPECT_DOUBLE_EQ(KernelSpan(0.5, 0), 1);
  EXPECT_DOUBLE_EQ(KernelSpan(2.1, 0), 3);
  // Figures of a list-scheduling simulation with 160 slots, uniform +-25 %.
  const struct {
    double fill, span;
  } simulated[] = {{0.5, 1.25}, {1.0, 1.25}, {1.25, 2.12}, {1.5, 2.22},   {2.0, 2.47},
                   {2.5, 3.24}, {3.0, 3.66}, {4.5, 5.22},  {10.5, 11.21}, {20.0, 20.72}};
  for (const auto& point : simulated) {
    EXPECT_NEAR(KernelSpan(point.fill, 0.25) / point.span, 1, 0.03) << point.fill;
  }
  DeviceShape shape;
  shape.workgroup_spread = kVirtualGpuSpread;
  const TraceModel model = Shipped("resnet50.b8");
  EXPECT_LT(Plan(model, {}, shape).kernels[0].workgroup_ns, Plan(model).kernels[0].workgroup_ns);
}

TEST(ReplayPlanTest, HostBoundModelKeepsGapsBetweenLaunches) {
  const ReplayPlan plan = Plan(Shipped("resnet18.b1"));
  EXPECT_TRUE(plan.host_bound);
  EXPECT_NEAR(plan.factor, 1.843, 1e-9);
  EXPECT_NEAR(plan.host_gap_ns, 18'700, 100);
  EXPECT_LT(plan.kernel_ms, 1.1);
  EXPECT_NE(plan.basis.find("ASSUMED"), std::string::npos);
}

TEST(ReplayPlanTest, AskedForTargetDecidesTheBound) {
  EXPECT_FALSE(Plan(Shipped("resnet18.b1"), 1.0).host_bound);
  const ReplayPlan slow = Plan(Shipped("resnet50.b8"), 20.0);
  EXPECT_TRUE(slow.host_bound);
  EXPECT_NEAR(slow.host_gap_ns * 237 / 1e6, 20.0, 0.2);
  EXPECT_NEAR(Plan(Shipped("resnet50.b256"), 100.0).kernel_ms, 100, 1e-6);
}

TEST(ReplayPlanTest, LdsIsScaledToTheDeviceAndCut) {
  TraceModel model;
  model.kernels.push_back({"k", 100, 64, 1, 231424, 1000});
  model.kernels.push_back({"k", 100, 64, 1, 228 * 1024 / 2, 1000});
  const ReplayPlan plan = Plan(model);
  EXPECT_LE(plan.kernels[0].lds_bytes, 65536u);
  EXPECT_EQ(plan.kernels[1].lds_bytes, 32768u);
  EXPECT_EQ(plan.kernels[0].vgprs, 8u);
}

TEST(ReplayPlanTest, RefusesAWorkgroupThatFitsNowhere) {
  TraceModel model;
  model.name = "m";
  model.kernels.push_back({"k", 100, 1024, 255, 0, 1000});
  ReplayPlan plan;
  std::string error;
  EXPECT_FALSE(MakeReplayPlan(model, {}, {}, &plan, &error));
  EXPECT_NE(error.find("fits on no compute unit"), std::string::npos);
}

TEST(WorkCodeObjectsTest, AreEmbeddedAndCarryTheSignature) {
  for (const char* isa : {"gfx908", "gfx90a", "amdgcn-amd-amdhsa--gfx942:sramecc+:xnack-"}) {
    const std::span<const std::byte> code = GetWorkCodeObject(isa);
    ASSERT_GT(code.size(), 4096u) << isa;
    const std::string_view text(reinterpret_cast<const char*>(code.data()), code.size());
    EXPECT_EQ(text.substr(0, 4),
              "\x7f"
              "ELF");
    std::map<std::uint32_t, std::size_t> kernels;  // by KernelKind
    for (std::size_t at = text.find(kKernelMagic); at != text.npos;
         at = text.find(kKernelMagic, at + 1)) {
      KernelSignature signature;
      std::memcpy(&signature, text.data() + at, sizeof(signature));
      ++kernels[signature.kind];
      EXPECT_EQ(at % 256, kSignatureOffsetBytes);
      // s_branch over the signature: SOPP opcode 2, in words from the next instruction.
      EXPECT_EQ(text.substr(at - 4, 4), std::string_view("\x06\x00\x82\xbf", 4));
    }
    const std::map<std::uint32_t, std::size_t> expected = {
        {static_cast<std::uint32_t>(KernelKind::kWork), kVgprMax / kVgprStep},
        {static_cast<std::uint32_t>(KernelKind::kFill), 1},
        {static_cast<std::uint32_t>(KernelKind::kCopy), 1},
        {static_cast<std::uint32_t>(KernelKind::kVectorAdd), 1}};
    EXPECT_EQ(kernels, expected) << isa;
  }
  EXPECT_TRUE(GetWorkCodeObject("gfx1100").empty());
}

}  // namespace
}  // namespace dual_model

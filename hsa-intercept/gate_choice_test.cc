#include "gate_choice.h"

#include <gtest/gtest.h>
#include <hsa/hsa.h>

#include <string>

namespace xsched_hsa {
namespace {

QueueTraits Ordinary() {
  QueueTraits traits;
  traits.type = HSA_QUEUE_TYPE_MULTI;
  traits.packets = 1024;
  traits.ext_table_bytes = 400;
  return traits;
}

GateKind KindOf(GateRequest request, const QueueTraits& traits) {
  return ChooseGate(request, traits).kind;
}

TEST(GateChoiceTest, OrdinaryQueuesHaveTheGateThatWasAskedFor) {
  EXPECT_EQ(KindOf(GateRequest::kDefault, Ordinary()), GateKind::kWindow);
  EXPECT_EQ(KindOf(GateRequest::kWindow, Ordinary()), GateKind::kWindow);
  EXPECT_EQ(KindOf(GateRequest::kIntercept, Ordinary()), GateKind::kIntercept);
  EXPECT_EQ(KindOf(GateRequest::kNone, Ordinary()), GateKind::kNone);
}

TEST(GateChoiceTest, CooperativeQueuesPassThroughWhateverIsAsked) {
  QueueTraits traits = Ordinary();
  traits.type = HSA_QUEUE_TYPE_COOPERATIVE;
  EXPECT_EQ(KindOf(GateRequest::kWindow, traits), GateKind::kNone);
  EXPECT_EQ(KindOf(GateRequest::kIntercept, traits), GateKind::kNone);
}

TEST(GateChoiceTest, InterceptGateIsRefusedWhereItWouldBreakAndSaysWhy) {
  QueueTraits overruns = Ordinary();
  overruns.ext_table_bytes = 688;
  QueueTraits described = Ordinary();
  described.origin = QueueOrigin::kAmdQueueCreate;
  QueueTraits no_table = Ordinary();
  no_table.ext_table_bytes = 0;
  QueueTraits tiny = Ordinary();
  tiny.packets = 32;
  for (const QueueTraits& traits : {overruns, described, no_table, tiny}) {
    const GateChosen chosen = ChooseGate(GateRequest::kIntercept, traits);
    EXPECT_EQ(chosen.kind, GateKind::kWindow);
    EXPECT_NE(std::string(chosen.why), "");
  }
  overruns.packets = 256;
  EXPECT_EQ(KindOf(GateRequest::kIntercept, overruns), GateKind::kIntercept);
}

TEST(GateChoiceTest, CountedQueuesAndDeviceRingsPassThrough) {
  QueueTraits counted = Ordinary();
  counted.origin = QueueOrigin::kCounted;
  EXPECT_EQ(KindOf(GateRequest::kDefault, counted), GateKind::kNone);
  QueueTraits device = Ordinary();
  device.host_memory = false;
  EXPECT_EQ(KindOf(GateRequest::kDefault, device), GateKind::kNone);
}

}  // namespace
}  // namespace xsched_hsa

#include "gate_choice.h"

#include <hsa/hsa.h>

#include "ext_table.h"

namespace xsched_hsa {
namespace {

// ROCr copies what it hands to an interceptor through 256 packets of its own from 7.2 on, whatever
// wraps around (rocm-systems PR 4066): more pending packets than that overrun its heap. The first
// table longer than 7.0's is taken for such a release; there is no upper end that is known for sure.
constexpr std::uint32_t kExtTableBytes70 = 608;
constexpr std::uint32_t kStagedPackets = 256;
// Less than twice what InterceptGate keeps free of ROCr's ring would leave nothing to work with.
constexpr std::uint32_t kInterceptPacketsMin = 64;

}  // namespace

GateChosen ChooseGate(GateRequest request, const QueueTraits& traits) {
  if (request == GateRequest::kNone) return {GateKind::kNone, "XSCHED_HSA_GATE is none"};
  // A cooperative queue is one per agent, shared and counted inside ROCr; an intercept queue around
  // it would be freed twice.
  if (traits.type != HSA_QUEUE_TYPE_MULTI && traits.type != HSA_QUEUE_TYPE_SINGLE) {
    return {GateKind::kNone, "only queues of type MULTI and SINGLE are held"};
  }
  if (traits.origin == QueueOrigin::kCounted) {
    return {GateKind::kNone, "a counted queue's handles share one ring"};
  }
  if (!traits.host_memory) {
    return {GateKind::kNone, "its ring is in device memory, where headers can't be looked at"};
  }
  if (request != GateRequest::kIntercept) return {GateKind::kWindow, ""};
  if (traits.origin != QueueOrigin::kQueueCreate) {
    return {GateKind::kWindow, "an intercept queue would lose what its descriptor asks for"};
  }
  if (!ExtTableOf(2, traits.ext_table_bytes).known) {
    return {GateKind::kWindow, "this runtime has no intercept queues"};
  }
  if (traits.ext_table_bytes > kExtTableBytes70 && traits.packets > kStagedPackets) {
    return {GateKind::kWindow, "intercept queues of this runtime overrun at more than 256 packets"};
  }
  if (traits.packets < kInterceptPacketsMin) {
    return {GateKind::kWindow, "its ring is too small for an intercept queue"};
  }
  return {GateKind::kIntercept, ""};
}

}  // namespace xsched_hsa

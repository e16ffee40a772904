// A tool's JSON: every request has an answer, which is JSON, and nobody without rights changes anything.
#include <cstdlib>
#include <memory>

#include "core.h"
#include "fuzz_target.h"
#include "no_waker.h"
#include "policies/registry.h"
#include "requests.h"

using namespace xsched_hsa;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static NoWaker waker;
  static SteadyClock clock;
  static auto user = std::make_unique<UserPage>();
  static auto page = std::make_unique<ProcessPage>();
  Core core({}, &clock, MakePolicy("strict-priority", {}), &waker);
  Core::InitUserPage(user.get(), 1000);
  LayerInfo layer;
  layer.uid = 1000;
  layer.pid = 7;
  layer.gate = GateKind::kWindow;
  const std::uint32_t session = core.AddSession(layer, page.get(), user.get());
  QueueSlot& slot = page->queues[0];
  slot.serial = 1;
  slot.gpu_key = 0x301;
  slot.state.store(kSlotLive);
  page->changes.fetch_add(1);
  core.OnLayerEvent(session);
  ControllerInfo info;
  Events events(&clock);
  Configuration configuration("/dev/null", nullptr);
  Requests requests(&core, &info, &configuration, &events);
  for (const Caller& caller : {Caller{2000, false}, Caller{0, true}}) {
    PendingReply pending;
    auto reply = requests.Handle(fuzz::Text(data, size), caller, &pending);
    if (!reply) reply = requests.Finish(pending);
    if (!nlohmann::json::accept(*reply)) std::abort();
    if (!caller.administrator &&
        (slot.hold.load() != 0 || core.sessions().at(session)->overrides != ProgramClass{} ||
         core.default_policy().name != "strict-priority" || !core.gpu_policies().empty())) {
      std::abort();
    }
  }
  core.EndSession(session);
  return 0;
}

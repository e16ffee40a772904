// Pages as a hostile layer writes them: no crash, bounded records, a report that is JSON, and the
// other program's gate open in the end. Input: runs of {what, offset, value}.
#include <cstdlib>
#include <iterator>
#include <memory>

#include "core.h"
#include "fuzz_target.h"
#include "no_waker.h"
#include "policies/registry.h"
#include "report.h"
#include "trace_recorder.h"

using namespace xsched_hsa;

namespace {

class StepClock final : public Clock {
 public:
  std::uint64_t NowUs() const override { return now_us; }
  std::uint64_t now_us = 1'000'000;
};

void MakeQueue(ProcessPage* page, std::uint32_t index, int priority) {
  QueueSlot& slot = page->queues[index];
  slot.serial = index + 1;
  slot.gpu_key = 0x301;
  slot.requested_priority.store(priority);
  slot.state.store(kSlotLive);
  page->changes.fetch_add(1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static NoWaker waker;
  StepClock clock;
  static auto user = std::make_unique<UserPage>();
  static auto victim_page = std::make_unique<ProcessPage>();
  static auto hostile_page = std::make_unique<ProcessPage>();
  fuzz::Input input(data, size);
  constexpr const char* kPolicies[] = {"strict-priority", "weighted-fair",   "cu-partition",
                                       "latency-target",  "utilisation-cap", "earliest-deadline"};
  const char* const name = kPolicies[input.Take<std::uint8_t>() % std::size(kPolicies)];
  Core core({}, &clock, MakePolicy(name, {}), &waker);
  Core::InitUserPage(user.get(), 1000);
  core.SetDeviceShape(0x301, {80, 16});
  std::uint32_t sessions[2];
  for (int i = 0; i < 2; ++i) {
    LayerInfo layer;
    layer.uid = 1000;
    layer.pid = i + 1;
    layer.gate = GateKind::kWindow;
    sessions[i] =
        core.AddSession(layer, i == 0 ? victim_page.get() : hostile_page.get(), user.get());
  }
  MakeQueue(victim_page.get(), 0, kPriorityLow);
  core.OnLayerEvent(sessions[0]);
  for (int i = 0; i < 4; ++i) MakeQueue(hostile_page.get(), static_cast<std::uint32_t>(i), i * 5);
  TraceRecorder recorder(&core);
  recorder.Handle("trace-start", nlohmann::json::object(), {0, true});
  while (!input.empty()) {
    const auto what = input.Take<std::uint8_t>();
    const auto offset = input.Take<std::uint16_t>();
    const auto value = input.Take<std::uint64_t>();
    // Near the beginning, where the words are, and the slots that are looked at.
    const std::size_t in_slots = offsetof(ProcessPage, queues) + offset % (8 * sizeof(QueueSlot));
    if (what % 4 == 0) {
      std::memcpy(reinterpret_cast<char*>(user.get()) + offset % (sizeof(UserPage) - 8), &value, 8);
    } else if (what % 4 == 1) {
      std::memcpy(reinterpret_cast<char*>(hostile_page.get()) + in_slots / 8 * 8, &value, 8);
    } else if (what % 4 == 2) {
      const std::size_t at = offset % (offsetof(ProcessPage, queues) - 8);
      std::memcpy(reinterpret_cast<char*>(hostile_page.get()) + at, &value, 8);
    } else {
      const std::size_t at = offsetof(ProcessPage, trace) + offset % 4096;
      std::memcpy(reinterpret_cast<char*>(hostile_page.get()) + at, &value, 8);
    }
    hostile_page->changes.fetch_add(1);
    core.OnLayerEvent(sessions[1]);
    clock.now_us += std::uint64_t{100} * what;
    core.OnTimer();
    if (what == 255) recorder.Tick();
    if (core.sessions().at(sessions[1])->queues.size() > kQueuesMax) std::abort();
  }
  ControllerInfo info;
  const auto report = ReportList(core, info, {0, true}, {true, "", true}, {});
  if (!report.at("ok").get<bool>()) std::abort();
  report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  core.EndSession(sessions[1]);
  if (victim_page->queues[0].hold.load() != 0 || core.NextDueUs()) std::abort();
  core.EndSession(sessions[0]);
  return 0;
}

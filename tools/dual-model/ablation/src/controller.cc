#include "controller.h"

namespace ablation {
namespace {

constexpr std::uint32_t kUid = 1000;

}  // namespace

Controller::Controller(World* world, const Mechanisms& mechanisms)
    : world_(world),
      clock_(world),
      user_page_(std::make_unique<xsched_hsa::UserPage>()),
      core_({}, &clock_, xsched_hsa::MakePolicy(mechanisms.policy_name, mechanisms.policy),
            &waker_),
      task_(world, [this] { Round(); }) {
  xsched_hsa::Core::InitUserPage(user_page_.get(), kUid);
}

void Controller::Know(xsched_hsa::GpuKey gpu, const virtual_gpu::DeviceParams& device) {
  const std::uint32_t engines = device.xccs * device.ses_per_xcc;
  core_.SetDeviceShape(gpu, {Units(device), engines});
}

void Controller::Join(SimLayer* layer, int priority, const xsched_hsa::ProgramClass& ordered) {
  xsched_hsa::LayerInfo info;
  info.uid = kUid;
  info.pid = ++programs_;
  info.gate = xsched_hsa::GateKind::kWindow;
  info.priority = priority;
  const std::uint32_t id = core_.AddSession(info, layer->page(), user_page_.get());
  int changed = 0;
  core_.SetClass(
      {kUid, true}, info.pid, [&](xsched_hsa::ProgramClass* own) { *own = ordered; }, &changed);
  layer->Attach(user_page_.get(), [this, id] {
    told_.insert(id);
    task_.Wake();
  });
  world_->AfterEach([layer] { layer->Look(); });
}

void Controller::Round() {
  for (const std::uint32_t id : told_) core_.OnLayerEvent(id);
  told_.clear();
  core_.OnTimer();
  const auto due_us = core_.NextDueUs();
  task_.Finished(due_us ? std::max<TimeNs>(1, static_cast<TimeNs>(*due_us * 1000) - world_->now())
                        : kNever);
}

}  // namespace ablation

#include "program.h"

#include <algorithm>

namespace ablation {
namespace {

constexpr std::uint32_t kRingPackets = 4096;
constexpr TimeNs kRoomPollNs = 20'000;  // as the worker's wait for room in the ring

}  // namespace

Program::Program(World* world, const dual_model::ReplayPlan& plan, double rate_per_s, double jitter,
                 std::uint64_t serial)
    : world_(world),
      rate_per_s_(rate_per_s),
      jitter_(jitter),
      host_gap_ns_(plan.host_bound ? static_cast<TimeNs>(plan.host_gap_ns) : 0),
      ring_(world, kRingPackets, serial) {
  double total_ns = 0;
  for (const dual_model::ReplayKernel& kernel : plan.kernels) {
    Work work;
    work.cost.workgroups = kernel.workgroups;
    work.cost.waves = (kernel.work_items + 63) / 64;
    work.cost.vgprs = kernel.vgprs;
    work.cost.lds_bytes = kernel.lds_bytes;
    work.cost.workgroup_ns = kernel.workgroup_ns;
    work.work_items = kernel.work_items;
    work_.push_back(work);
    total_ns += dual_model::kLaunchNs + double(kernel.rounds) * kernel.workgroup_ns;
    work_ns_.push_back(total_ns);
  }
  // The signal's waiter is woken like any other thread.
  ring_.OnSignal([this](TimeNs end) { world_->At(end + world_->DrawWake(), [this] { Ended(); }); });
}

void Program::Start(TimeNs at) {
  running_ = true;
  world_->At(at, [this] { Begin(); });
}

void Program::Begin() {
  if (stopping_) {
    running_ = false;
    return;
  }
  started_ns_ = world_->now();
  world_->At(started_ns_ + host_gap_ns_, [this] { Launch(0); });
}

void Program::Launch(std::size_t kernel) {
  const std::uint64_t read = layer_ != nullptr && index_ - ring_.read_index() >= ring_.size()
                                 ? layer_->LoadReadIndex()
                                 : ring_.read_index();
  if (index_ - read >= ring_.size()) {
    world_->At(world_->now() + kRoomPollNs, [this, kernel] { Launch(kernel); });
    return;
  }
  const bool last = kernel + 1 == work_.size();
  if (layer_ != nullptr) layer_->Reserve();
  ring_.Write(index_++, work_[kernel], last);
  layer_ != nullptr ? layer_->Doorbell(index_) : ring_.Publish(index_);
  if (last) return;
  const HostParams& host = world_->host();
  const double busy_us = host_gap_ns_ != 0 ? host.doorbell_us : host.launch_us;
  TimeNs next = world_->now() + static_cast<TimeNs>(busy_us * 1000);
  if (host_gap_ns_ != 0) {
    next = std::max(next, started_ns_ + host_gap_ns_ * static_cast<TimeNs>(kernel + 2));
  }
  world_->At(next, [this, kernel] { Launch(kernel + 1); });
}

void Program::Ended() {
  const TimeNs now = world_->now();
  samples_.push_back({started_ns_, now - started_ns_});
  TimeNs next = now;
  if (rate_per_s_ > 0) {
    const double period_ns = 1e9 / rate_per_s_ * (1 + jitter_ * world_->DrawUniform());
    next = std::max(now, started_ns_ + static_cast<TimeNs>(period_ns));
  }
  world_->At(next, [this] { Begin(); });
}

double Program::Progress() const {
  const std::uint64_t whole = ring_.completed() / work_.size();
  const std::uint64_t part = ring_.completed() % work_.size();
  return double(whole) + (part == 0 ? 0 : work_ns_[part - 1] / work_ns_.back());
}

}  // namespace ablation

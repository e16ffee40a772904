#include "world.h"

#include <algorithm>
#include <cmath>

#include "hsa-intercept/clock.h"

namespace ablation {
namespace {

// Zero means "not yet" in many words of the layer: the clock does not begin there.
constexpr TimeNs kBeginNs = 1'000'000'000;
// Of the mean: nobody wakes faster, and the rest is exponential.
constexpr double kWakeLeast = 0.6;

const World* g_world = nullptr;

}  // namespace

World::World(const virtual_gpu::DeviceParams& device, const HostParams& host, std::uint64_t seed)
    : host_(host),
      lookahead_(std::max<TimeNs>(1, static_cast<TimeNs>(host.wake_us * 1000 * kWakeLeast))),
      device_(virtual_gpu::Device::Create(device)),
      random_(seed ^ 0xab1a7105u),
      now_(kBeginNs) {
  g_world = this;
  xsched_hsa::g_now_ns = [] { return static_cast<std::uint64_t>(g_world->now_); };
}

World::~World() {
  xsched_hsa::g_now_ns = &xsched_hsa::SteadyNs;
  g_world = nullptr;
}

void World::At(TimeNs when, std::function<void()> act) {
  events_.push({std::max(when, now_), order_++, std::move(act)});
}

TimeNs World::DrawWake() {
  const double share = (random_.Uniform() + 1) / 2;  // [0, 1)
  const double tail = -std::log(1 - share);
  return std::max(lookahead_, static_cast<TimeNs>(host_.wake_us * 1000 *
                                                  (kWakeLeast + (1 - kWakeLeast) * tail)));
}

bool World::Run(TimeNs until, const std::function<bool()>& done) {
  while (!done()) {
    const TimeNs host = events_.empty() ? kNever : events_.top().when;
    const TimeNs device = device_->NextEvent();
    if (std::min(host, device) > until) {
      device_->AdvanceTo(now_ = std::max(now_, until));
      return false;
    }
    if (host > device) {
      now_ = std::max(now_, std::min({host, until, device + lookahead_}));
      device_->AdvanceTo(now_);
      continue;
    }
    device_->AdvanceTo(now_ = host);
    const std::function<void()> act = events_.top().act;
    events_.pop();
    act();
    for (const auto& look : looks_) look();
  }
  return true;
}

std::uint32_t Units(const virtual_gpu::DeviceParams& device) {
  std::uint32_t units = 0;
  for (const std::uint32_t cus : device.cus_per_se) units += device.xccs * cus;
  return units;
}

}  // namespace ablation

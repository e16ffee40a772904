#include "bundle.h"

#include <algorithm>
#include <cmath>

namespace virtual_gpu {
namespace {

constexpr double kSigmaOfUniform = 0.57735026918962576;  // 1 / sqrt(3)

}  // namespace

Bundler::Bundler(const DeviceParams& params)
    : spread_(std::clamp(params.workgroup_spread, 0.0, 0.95)),
      grain_ns_(static_cast<double>(std::max<TimeNs>(0, params.grain_ns))),
      contended_ends_(std::max(1e-3, params.contended_ends)) {
  for (std::size_t rounds = 0; rounds < sigmas_.size(); ++rounds) {
    sigmas_[rounds] = Sigma(static_cast<double>(rounds), 1);
  }
}

// Of the sum of that many rounds' variations, in rounds.
double Bundler::Sigma(double rounds, std::uint32_t slots) const {
  return spread_ * kSigmaOfUniform * std::sqrt(rounds / slots);
}

ShapePlan Bundler::Plan(double workgroup_ns, std::uint32_t occupancy) const {
  ShapePlan plan;
  plan.exact = grain_ns_ == 0 || workgroup_ns >= kExactIntervalNs * occupancy;
  if (plan.exact) return plan;
  plan.contended_rounds =
      std::max(1.0, std::ceil(grain_ns_ / contended_ends_ * occupancy / workgroup_ns));
  plan.bundle_rounds = std::max(plan.contended_rounds, kBundleNs / workgroup_ns);
  return plan;
}

Shape Bundler::Choose(const ShapePlan& plan, const ShapeQuestion& q) const {
  Shape shape;
  const double fair_rounds = static_cast<double>(q.pool) * q.per_slot;
  shape.last_round = fair_rounds <= 1;
  if (plan.exact) return shape;
  if (!q.contended) {
    const double fair_slots = static_cast<double>(q.pool) * q.per_cu;
    shape.slots =
        static_cast<std::uint32_t>(std::clamp(fair_slots, 1.0, static_cast<double>(q.free_slots)));
  }
  const double rounds = q.contended ? plan.contended_rounds * q.strain : plan.bundle_rounds;
  shape.rounds = static_cast<std::uint32_t>(std::max(1.0, std::min(rounds, fair_rounds)));
  return shape;
}

double Bundler::DrawDuration(const Shape& shape, double workgroup_ns, Random* random) const {
  double rounds = shape.rounds;
  if (spread_ > 0) {
    if (shape.slots == 1 && shape.rounds == 1) {
      rounds += spread_ * random->Uniform();
    } else if (shape.last_round) {
      rounds += spread_ * random->LargestOf(shape.slots);
    } else {
      const bool known = shape.slots == 1 && shape.rounds < sigmas_.size();
      const double sigma = known ? sigmas_[shape.rounds] : Sigma(rounds, shape.slots);
      rounds += std::clamp(sigma * random->Normal(), -spread_ * rounds, spread_ * rounds);
    }
  }
  return rounds * workgroup_ns;
}

std::uint32_t Bundler::RoundsOver(const Resident& resident, double v, double finish_v) {
  const double duration = finish_v - resident.start_v;
  if (resident.rounds <= 1 || duration <= 0) return 0;
  const double over = (v - resident.start_v) / duration * resident.rounds;
  return std::min(resident.rounds - 1, static_cast<std::uint32_t>(std::max(0.0, over)));
}

SplitCounts Bundler::Split(const Resident& r, double v, double finish_v, double workgroup_ns,
                           double rounds_before, Random* random, double* left) const {
  SplitCounts counts;
  const std::uint32_t over = RoundsOver(r, v, finish_v);
  counts.finished = std::uint64_t{over} * r.slots;
  counts.unstarted = std::uint64_t{r.rounds - 1 - over} * r.slots;
  counts.first_finished = r.has_first && over > 0;
  if (r.slots == 1 && r.rounds == 1) {
    left[counts.running++] = std::max(0.0, finish_v - v);
    return counts;
  }
  if (r.slots > 1 && r.rounds == 1 && r.fresh) {
    // All its slots began together. One that is over already ends at once, by an event of its own.
    for (std::uint32_t slot = 0; slot < r.slots; ++slot) {
      const double slot_ns = workgroup_ns * (1 + spread_ * random->Uniform());
      left[counts.running++] = std::max(1.0, slot_ns - (v - r.start_v));
    }
    return counts;
  }
  const double round_ns = (finish_v - r.start_v) / r.rounds;
  const double phase = (finish_v - v) / round_ns - (r.rounds - 1 - over);  // 0..1 left of the round
  const double sigma = spread_ * kSigmaOfUniform * std::sqrt(std::max(1.0, rounds_before));
  for (std::uint32_t slot = 0; slot < r.slots; ++slot) {
    const double drawn = r.slots == 1 ? phase : phase + sigma * random->Normal();
    left[counts.running++] = round_ns * (drawn - std::floor(drawn));
  }
  return counts;
}

}  // namespace virtual_gpu

// stretches.cc: a replay cut into stretches that run beside each other.

#include <algorithm>
#include <atomic>
#include <thread>

#include "random.h"
#include "replay.h"

namespace virtual_gpu {
namespace {

// The first is the plain replay's beginning. The others have random numbers of their own, and their
// requests are not in step with it: a stretch begins in the middle of a period, not at its start.
ReplayInput Stretch(const ReplayInput& input, std::uint32_t index) {
  ReplayInput stretch = input;
  const TimeNs count = input.stretches;
  stretch.stretches = 1;
  // Whole nanoseconds that sum to the duration.
  stretch.duration_ns = input.duration_ns / count + (index < input.duration_ns % count);
  if (index == 0) return stretch;
  Random random(input.params.seed ^ std::uint64_t{index} << 32);
  stretch.params.seed = random.Bits();
  for (ReplayQueue& queue : stretch.queues) {
    if (!queue.period_ns || *queue.period_ns <= 0) continue;
    queue.start_ns =
        static_cast<TimeNs>(random.Bits() % static_cast<std::uint64_t>(*queue.period_ns));
  }
  return stretch;
}

void Append(const ReplayQueueResult& part, double share, ReplayQueueResult* whole) {
  whole->latencies_ns.insert(whole->latencies_ns.end(), part.latencies_ns.begin(),
                             part.latencies_ns.end());
  whole->repeats_per_s += part.repeats_per_s * share;
  whole->stats.packets += part.stats.packets;
  whole->stats.workgroups += part.stats.workgroups;
  whole->stats.cu_ns += part.stats.cu_ns;
}

// In the stretches' order, whichever ended first: doubles, too, are added in one order only.
ReplayResult Join(const std::vector<ReplayResult>& parts, TimeNs duration_ns) {
  ReplayResult whole = parts.front();
  whole.stretches = static_cast<std::uint32_t>(parts.size());
  whole.duration_ns = duration_ns;
  const auto share = [&](const ReplayResult& part) {
    return static_cast<double>(part.duration_ns) / static_cast<double>(duration_ns);
  };
  for (ReplayQueueResult& queue : whole.queues) queue.repeats_per_s *= share(parts.front());
  for (std::size_t i = 1; i < parts.size(); ++i) {
    whole.device.events += parts[i].device.events;
    whole.device.runlist_cycles += parts[i].device.runlist_cycles;
    for (std::size_t q = 0; q < whole.queues.size(); ++q) {
      Append(parts[i].queues[q], share(parts[i]), &whole.queues[q]);
    }
  }
  return whole;
}

}  // namespace

ReplayResult ReplayInStretches(const ReplayInput& input, unsigned threads) {
  if (input.stretches <= 1) return Replay(input);
  std::vector<ReplayResult> parts(input.stretches);
  std::atomic<std::uint32_t> next = 0;
  const auto work = [&] {
    for (std::uint32_t i = next++; i < parts.size(); i = next++)
      parts[i] = Replay(Stretch(input, i));
  };
  std::vector<std::jthread> others;
  for (unsigned i = 1; i < std::min(threads, input.stretches); ++i) others.emplace_back(work);
  work();
  others.clear();  // joins
  return Join(parts, input.duration_ns);
}

}  // namespace virtual_gpu

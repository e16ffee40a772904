#include "replay.h"

#include <algorithm>
#include <cmath>

namespace virtual_gpu {
namespace {

// The host program of one queue and its ring, without memory.
class Program final : public PacketSource {
 public:
  Program(const ReplayQueue& queue, const Device& device) : queue_(queue), due_(queue.start_ns) {
    for (const KernelCost& cost : queue.kernels) {
      const auto slots = static_cast<double>(std::max(1u, device.Occupancy(cost)));
      const double rounds = std::ceil(static_cast<double>(cost.workgroups) / slots);
      work_.push_back(rounds * static_cast<double>(cost.workgroup_ns) +
                      (work_.empty() ? 0 : work_.back()));
    }
  }

  // When the host does something next: starts a repeat, or submits a packet of the running one.
  TimeNs NextAction() const {
    if (running_) return visible_ < queue_.kernels.size() ? NextLaunch() : kNever;
    return queue_.repeat > 0 && latencies_.size() >= queue_.repeat ? kNever : due_;
  }
  void Act(TimeNs now) {
    if (!running_) {
      running_ = true;
      started_ = now;
      visible_ = consumed_ = completed_ = 0;
    }
    while (visible_ < queue_.kernels.size() && NextLaunch() <= now) ++visible_;
  }

  bool Next(Packet* packet) override {
    if (consumed_ >= visible_) return false;
    packet->kind = Packet::Kind::kDispatch;
    packet->barrier_bit = true;
    packet->cost = queue_.kernels[consumed_];
    packet->index = total_ + consumed_;
    return true;
  }
  void RereadWriteIndex() override {}
  bool DependenciesMet(const Packet&) override { return true; }
  void Consume(const Packet&) override { ++consumed_; }
  void WorkgroupsDone(const Packet&, std::uint64_t, bool) override {}
  void Complete(const Packet&, TimeNs, TimeNs end) override {
    if (++completed_ < queue_.kernels.size()) return;
    latencies_.push_back(end - started_);
    total_ += queue_.kernels.size();
    running_ = false;
    visible_ = consumed_ = completed_ = 0;
    due_ = queue_.period_ns ? std::max(end, started_ + *queue_.period_ns) : end;
  }

  const std::vector<TimeNs>& latencies() const { return latencies_; }
  double Repeats() const {
    const double part = completed_ == 0 ? 0 : work_[completed_ - 1] / std::max(1.0, work_.back());
    return static_cast<double>(latencies_.size()) + part;
  }

 private:
  TimeNs NextLaunch() const {
    return started_ + static_cast<TimeNs>(visible_) * queue_.launch_gap_ns;
  }

  const ReplayQueue& queue_;
  TimeNs due_, started_ = 0;
  bool running_ = false;
  std::size_t visible_ = 0, consumed_ = 0, completed_ = 0;
  std::uint64_t total_ = 0;
  std::vector<TimeNs> latencies_;
  std::vector<double> work_;  // up to and with each kernel, in nanoseconds of one CU
};

}  // namespace

TimeNs Percentile(std::vector<TimeNs> latencies, double percent) {
  if (latencies.empty()) return 0;
  std::sort(latencies.begin(), latencies.end());
  const double rank = std::ceil(percent / 100 * static_cast<double>(latencies.size()));
  const auto index = static_cast<std::size_t>(std::max(1.0, rank)) - 1;
  return latencies[std::min(index, latencies.size() - 1)];
}

ReplayResult Replay(const ReplayInput& input) {
  const std::unique_ptr<Device> device = Device::Create(input.params);
  std::vector<std::unique_ptr<Program>> programs;
  std::vector<QueueId> ids;
  TimeNs now = 0;
  for (const ReplayQueue& queue : input.queues) {
    programs.push_back(std::make_unique<Program>(queue, *device));
    QueueId id = 0;
    device->CreateQueue(now, queue.config, programs.back().get(), &id, &now);
    if (!queue.cu_mask.empty()) device->SetCuMask(now, id, queue.cu_mask, &now);
    ids.push_back(id);
  }
  // Setting up is over when nothing but the programs' own start can happen.
  while (device->NextEvent() != kNever) device->AdvanceTo(now = device->NextEvent());
  const TimeNs end = now + input.duration_ns;
  for (;;) {
    TimeNs host = kNever;
    std::size_t who = 0;
    for (std::size_t i = 0; i < programs.size(); ++i) {
      const TimeNs action = programs[i]->NextAction();
      if (action < host) {
        host = action;
        who = i;
      }
    }
    const TimeNs next = std::min(host, device->NextEvent());
    if (next == kNever || next > end) break;
    // Not beyond a completion: it may bring the host's next action forward.
    const TimeNs step_end = input.step_ns < end - now ? now + input.step_ns : end;
    now = device->AdvanceToCompletion(std::max(now, std::min(host, step_end)));
    if (now >= host) {
      programs[who]->Act(now);
      device->Kick(now, ids[who]);
    }
    if (input.on_step) input.on_step(now - (end - input.duration_ns));
  }
  device->AdvanceTo(end);
  ReplayResult result;
  result.duration_ns = input.duration_ns;
  result.device = device->GetStats();
  for (std::size_t i = 0; i < programs.size(); ++i) {
    ReplayQueueResult queue;
    queue.name = input.queues[i].name;
    queue.latencies_ns = programs[i]->latencies();
    queue.repeats_per_s = programs[i]->Repeats() / (static_cast<double>(input.duration_ns) / 1e9);
    device->GetQueueStats(ids[i], &queue.stats);
    result.queues.push_back(std::move(queue));
  }
  return result;
}

}  // namespace virtual_gpu

// test_source.h: a ring for the device's tests: packets are appended, what happens is recorded.
//
// Invariants checked as they happen: packets are consumed in order, workgroup counts never exceed
// the dispatch's, workgroup 0 is reported exactly once, Complete comes last and once.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "device.h"

namespace virtual_gpu {

class TestSource final : public PacketSource {
 public:
  struct Done {
    std::uint64_t index = 0;
    TimeNs start = 0, end = 0;
  };

  void Submit(const KernelCost& cost, bool barrier_bit = true) {
    Packet packet;
    packet.kind = Packet::Kind::kDispatch;
    packet.barrier_bit = barrier_bit;
    packet.cost = cost;
    Append(packet);
  }
  void SubmitKind(Packet::Kind kind, bool barrier_bit = false) {
    Packet packet;
    packet.kind = kind;
    packet.barrier_bit = barrier_bit;
    Append(packet);
  }

  bool Next(Packet* packet) override {
    if (consumed_ >= packets_.size()) return false;
    *packet = packets_[consumed_];
    return true;
  }
  void RereadWriteIndex() override { ++rereads; }
  bool DependenciesMet(const Packet&) override { return dependencies_met; }
  void Consume(const Packet& packet) override {
    EXPECT_EQ(packet.index, consumed_);
    ++consumed_;
  }
  void WorkgroupsDone(const Packet& packet, std::uint64_t count, bool first_done) override {
    EXPECT_GT(count, 0u);
    EXPECT_EQ(packet.cost.names_cu, naming_);
    Progress& p = progress_[packet.index];
    p.workgroups += count;
    p.firsts += first_done;
    EXPECT_LE(p.workgroups, packet.cost.workgroups);
    EXPECT_LE(p.firsts, 1u);
    EXPECT_FALSE(p.complete);
    workgroups += count;
  }
  void WorkgroupDoneOn(const Packet& packet, const CuLocation& cu, bool first_done) override {
    done_on.push_back(cu);
    naming_ = true;
    WorkgroupsDone(packet, 1, first_done);
    naming_ = false;
  }
  void Complete(const Packet& packet, TimeNs start, TimeNs end) override {
    Progress& p = progress_[packet.index];
    EXPECT_FALSE(p.complete);
    p.complete = true;
    EXPECT_LT(packet.index, consumed_);
    EXPECT_LE(start, end);
    if (packet.kind == Packet::Kind::kDispatch && packet.cost.workgroups > 0) {
      EXPECT_EQ(p.workgroups, packet.cost.workgroups) << "packet " << packet.index;
      EXPECT_EQ(p.firsts, 1u) << "packet " << packet.index;
    }
    done.push_back({packet.index, start, end});
    if (on_complete) on_complete(packet);
  }

  std::size_t submitted() const { return packets_.size(); }
  std::size_t consumed() const { return consumed_; }

  std::vector<Done> done;
  std::vector<CuLocation> done_on;  // of those that name their CU
  std::uint64_t workgroups = 0;
  std::uint32_t rereads = 0;
  bool dependencies_met = true;
  std::function<void(const Packet&)> on_complete;

 private:
  struct Progress {
    std::uint64_t workgroups = 0;
    std::uint32_t firsts = 0;
    bool complete = false;
  };
  void Append(Packet packet) {
    packet.index = packets_.size();
    packets_.push_back(packet);
  }
  bool naming_ = false;
  std::vector<Packet> packets_;
  std::size_t consumed_ = 0;
  std::map<std::uint64_t, Progress> progress_;
};

// A device and its sources, with a clock that moves from event to event.
struct TestRig {
  explicit TestRig(const DeviceParams& params) : device(Device::Create(params)) {}

  QueueId AddQueue(TestSource* source, std::uint32_t priority = 7, std::uint64_t process = 0) {
    QueueId id = 0;
    TimeNs returns_at = 0;
    const QueueConfig config{process ? process : ++processes, priority, true};
    EXPECT_EQ(device->CreateQueue(now, config, source, &id, &returns_at), Status::kOk);
    Idle();
    return id;
  }
  // Until nothing happens any more, or `limit`. False when the limit came first.
  bool Idle(TimeNs limit = 100'000'000'000) {
    const TimeNs end = now + limit;
    while (device->NextEvent() != kNever) {
      if (device->NextEvent() > end) return false;
      device->AdvanceTo(now = std::max(now, device->NextEvent()));
    }
    return true;
  }
  void Run(TimeNs time) { device->AdvanceTo(now += time); }
  void Kick(QueueId id) { device->Kick(now, id); }
  QueueStats Stats(QueueId id) const {
    QueueStats stats;
    EXPECT_EQ(device->GetQueueStats(id, &stats), Status::kOk);
    return stats;
  }
  TimeNs SetMask(QueueId id, const std::vector<std::uint32_t>& mask) {
    TimeNs returns_at = 0;
    EXPECT_EQ(device->SetCuMask(now, id, mask, &returns_at), Status::kOk);
    return returns_at;
  }
  TimeNs SetActive(QueueId id, bool active, std::uint32_t priority = 7) {
    TimeNs returns_at = 0;
    EXPECT_EQ(device->UpdateQueue(now, id, {processes, priority, active}, &returns_at),
              Status::kOk);
    return returns_at;
  }

  std::unique_ptr<Device> device;
  TimeNs now = 0;
  std::uint64_t processes = 0;
};

}  // namespace virtual_gpu

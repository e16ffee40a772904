// test_machine.h: a controller's Core with many programs, in plain memory: nobody sleeps on its pages.
//
// Why        What a decision costs is counted (tests/cost) and timed (tests/bench) on the same machines.
// Threads    one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core.h"
#include "fake_layer.h"
#include "manual_clock.h"
#include "page_waker.h"
#include "policies/registry.h"

namespace xsched_hsa::testing {

// `sessions` programs of one user with `queues` queues each on one GPU; the first one is urgent.
class TestMachine {
 public:
  TestMachine(std::uint32_t sessions, std::uint32_t queues)
      : core_({}, &clock_, MakePolicy("strict-priority", {}), &waker_) {
    Core::InitUserPage(user_.get(), 0);
    for (std::uint32_t i = 0; i < sessions; ++i) Join(i, queues);
  }
  FakeLayer& urgent() { return *layers_[0]; }
  // What the urgent program's layer has done since the last time.
  void Tell() { core_.OnLayerEvent(ids_[0]); }
  // The gates of all the others close, now that something is urgent.
  void CloseGates() {
    for (std::size_t i = 1; i < layers_.size(); ++i) layers_[i]->GateClosed(0);
  }
  void PassALease() { clock_.Advance(kLeaseRenewUs); }
  void Renew() { core_.OnTimer(); }
  std::uint32_t NextSerial() { return ++serial_; }

 private:
  void Join(std::uint32_t number, std::uint32_t queues) {
    pages_.push_back(std::make_unique<ProcessPage>());
    LayerInfo info;
    info.pid = static_cast<std::int32_t>(100 + number);
    info.gate = GateKind::kWindow;
    ids_.push_back(core_.AddSession(info, pages_.back().get(), user_.get()));
    layers_.push_back(std::make_unique<FakeLayer>(pages_.back().get(), user_.get(),
                                                  [this] { return clock_.NowUs(); }));
    const int priority = number == 0 ? kPriorityHigh : kPriorityLow;
    for (std::uint32_t i = 0; i < queues; ++i) layers_.back()->MakeQueue(i, NextSerial(), priority);
    core_.OnLayerEvent(ids_.back());
  }

  ManualClock clock_{10'000'000};
  PageWaker waker_;
  std::unique_ptr<UserPage> user_ = std::make_unique<UserPage>();
  std::vector<std::unique_ptr<ProcessPage>> pages_;
  std::vector<std::unique_ptr<FakeLayer>> layers_;
  std::vector<std::uint32_t> ids_;
  std::uint32_t serial_ = 0;
  Core core_;
};

// Queues that all have work, half of them urgent, 32 a program.
inline std::vector<QueueView> BusyQueues(std::size_t count) {
  std::vector<QueueView> views(count);
  for (std::size_t i = 0; i < count; ++i) {
    views[i].queue = i;
    views[i].session = static_cast<std::uint32_t>(i / 32);
    views[i].priority = i < count / 2 ? kPriorityHigh : kPriorityLow;
    views[i].active = views[i].exposed = true;
    views[i].pending_packets = 1;
  }
  return views;
}
inline Snapshot SnapshotOf(const std::vector<QueueView>& views) {
  Snapshot snapshot;
  snapshot.now_us = 1'000'000;
  snapshot.elapsed_us = 1000;
  snapshot.queues = views;
  return snapshot;
}

}  // namespace xsched_hsa::testing

// controller_cost.cc: what a decision costs the controller, for one queue and for thousands.
//
// The pages are plain memory and nobody sleeps on them: what is counted is the controller's own code.
#include <memory>
#include <string>
#include <vector>

#include "core.h"
#include "fake_layer.h"
#include "manual_clock.h"
#include "measured.h"
#include "page_waker.h"
#include "policies/registry.h"

namespace xsched_hsa::cost {
namespace {

constexpr std::uint64_t kRounds = 20;

// `sessions` programs of one user with `queues` queues each on one GPU; the first one is urgent.
class Machine {
 public:
  Machine(std::uint32_t sessions, std::uint32_t queues)
      : core_({}, &clock_, MakePolicy("strict-priority", {}), &waker_) {
    Core::InitUserPage(user_.get(), 0);
    for (std::uint32_t i = 0; i < sessions; ++i) Join(i, queues);
  }

  // A request of the urgent program: its first doorbell, or its end.
  void Raise(bool counted) {
    layers_[0]->BecomeActive(0);
    Event(counted);
  }
  void End(bool counted) {
    layers_[0]->BecomeIdle(0);
    Event(counted);
  }
  // A queue more, and gone again: each asks the policy.
  void QueueComesAndGoes() {
    layers_[0]->MakeQueue(255, ++serial_, kPriorityHigh);
    Event();
    layers_[0]->DestroyQueue(255);
    Event();
  }
  void Renew() {
    layers_[0]->BecomeActive(0);
    core_.OnLayerEvent(ids_[0]);
    for (std::uint64_t i = 0; i < kRounds; ++i) {
      clock_.Advance(kLeaseRenewUs);
      const Collecting collecting;
      core_.OnTimer();
    }
    layers_[0]->BecomeIdle(0);
    core_.OnLayerEvent(ids_[0]);
  }

 private:
  void Event(bool counted = true) {
    if (counted) CALLGRIND_TOGGLE_COLLECT;
    core_.OnLayerEvent(ids_[0]);
    if (counted) CALLGRIND_TOGGLE_COLLECT;
  }
  void Join(std::uint32_t number, std::uint32_t queues) {
    pages_.push_back(std::make_unique<ProcessPage>());
    LayerInfo info;
    info.pid = static_cast<std::int32_t>(100 + number);
    info.gate = GateKind::kWindow;
    ids_.push_back(core_.AddSession(info, pages_.back().get(), user_.get()));
    layers_.push_back(std::make_unique<testing::FakeLayer>(pages_.back().get(), user_.get(),
                                                           [this] { return clock_.NowUs(); }));
    const int priority = number == 0 ? kPriorityHigh : kPriorityLow;
    for (std::uint32_t i = 0; i < queues; ++i) layers_.back()->MakeQueue(i, ++serial_, priority);
    core_.OnLayerEvent(ids_.back());
  }

  testing::ManualClock clock_{10'000'000};
  testing::PageWaker waker_;
  std::unique_ptr<UserPage> user_ = std::make_unique<UserPage>();
  std::vector<std::unique_ptr<ProcessPage>> pages_;
  std::vector<std::unique_ptr<testing::FakeLayer>> layers_;
  std::vector<std::uint32_t> ids_;
  std::uint32_t serial_ = 0;
  Core core_;
};

void MeasurePolicy(const char* policy_name, std::size_t queues) {
  std::vector<QueueView> views(queues);
  for (std::size_t i = 0; i < queues; ++i) {
    views[i].queue = i;
    views[i].session = static_cast<std::uint32_t>(i / 32);
    views[i].priority = i < queues / 2 ? kPriorityHigh : kPriorityLow;
    views[i].active = views[i].exposed = true;
    views[i].pending_packets = 1;
  }
  Snapshot snapshot;
  snapshot.now_us = 1'000'000;
  snapshot.elapsed_us = 1000;
  snapshot.queues = views;
  const std::unique_ptr<Policy> policy = MakePolicy(policy_name, {});
  Answer answer;
  policy->Decide(snapshot, &answer);
  CALLGRIND_ZERO_STATS;
  for (std::uint64_t i = 0; i < kRounds; ++i) {
    const Collecting collecting;
    policy->Decide(snapshot, &answer);
  }
  Report(("policy/" + std::string(policy_name) + "/" + std::to_string(queues)).c_str(),
         kRounds * queues);
}

void MeasureMachine(std::uint32_t sessions, std::uint32_t queues) {
  const std::string size = std::to_string(sessions) + "x" + std::to_string(queues);
  Machine machine(sessions, queues);
  // One of each first, uncounted: what is touched for the first time.
  machine.Raise(false);
  machine.End(false);
  CALLGRIND_ZERO_STATS;
  for (std::uint64_t i = 0; i < kRounds; ++i) machine.Raise(true), machine.End(false);
  Report(("controller/raise/" + size).c_str(), kRounds);
  for (std::uint64_t i = 0; i < kRounds; ++i) machine.Raise(false), machine.End(true);
  Report(("controller/end/" + size).c_str(), kRounds);
  machine.QueueComesAndGoes();
  CALLGRIND_ZERO_STATS;
  for (std::uint64_t i = 0; i < kRounds; ++i) machine.QueueComesAndGoes();
  Report(("controller/queue-change/" + size).c_str(), 2 * kRounds);
  machine.Renew();
  Report(("controller/renewal/" + size).c_str(), kRounds);
}

}  // namespace

void MeasureController() {
  for (const char* policy : {"strict-priority", "weighted-fair"}) {
    for (const std::size_t queues : {1u, 2048u}) MeasurePolicy(policy, queues);
  }
  MeasureMachine(2, 1);
  MeasureMachine(64, 1);
  MeasureMachine(64, 32);
}

}  // namespace xsched_hsa::cost

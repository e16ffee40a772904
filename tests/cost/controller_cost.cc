// controller_cost.cc: what a decision costs the controller, for one queue and for thousands.
//
// The pages are plain memory and nobody sleeps on them: what is counted is the controller's own code.
#include <memory>
#include <string>
#include <vector>

#include "measured.h"
#include "test_machine.h"

namespace xsched_hsa::cost {
namespace {

constexpr std::uint64_t kRounds = 20;

class Machine : public testing::TestMachine {
 public:
  using TestMachine::TestMachine;
  // A request of the urgent program: its first doorbell, or its end.
  void Raise(bool counted) {
    urgent().BecomeActive(0);
    Event(counted);
  }
  void End(bool counted, bool all_held = false) {
    if (all_held) CloseGates();
    urgent().BecomeIdle(0);
    Event(counted);
  }
  // A queue more, and gone again: each asks the policy.
  void QueueComesAndGoes() {
    urgent().MakeQueue(255, NextSerial(), kPriorityHigh);
    Event(true);
    urgent().DestroyQueue(255);
    Event(true);
  }
  void RenewOften() {
    Raise(false);
    for (std::uint64_t i = 0; i < kRounds; ++i) {
      PassALease();
      const Collecting collecting;
      Renew();
    }
    End(false);
  }

 private:
  void Event(bool counted) {
    if (counted) CALLGRIND_TOGGLE_COLLECT;
    Tell();
    if (counted) CALLGRIND_TOGGLE_COLLECT;
  }
};

void MeasurePolicy(const char* policy_name, std::size_t queues) {
  const std::vector<QueueView> views = testing::BusyQueues(queues);
  const Snapshot snapshot = testing::SnapshotOf(views);
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
  for (std::uint64_t i = 0; i < kRounds; ++i) machine.Raise(false), machine.End(true, true);
  Report(("controller/end-all-held/" + size).c_str(), kRounds);
  machine.QueueComesAndGoes();
  CALLGRIND_ZERO_STATS;
  for (std::uint64_t i = 0; i < kRounds; ++i) machine.QueueComesAndGoes();
  Report(("controller/queue-change/" + size).c_str(), 2 * kRounds);
  machine.RenewOften();
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

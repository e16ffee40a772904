// preemptor_fixture.h: a preemptor, rings in plain memory, and a driver that records what it is told.
//
// Threads    one; the time is the test's own (g_test_now_ns), and a driver call takes some of it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "clock.h"
#include "preemptor.h"
#include "test_ring.h"
#include "urgency.h"

namespace xsched_hsa {

constexpr std::uint64_t kMs = 1'000'000;
inline std::uint64_t g_test_now_ns = 0;
inline std::uint64_t TestNow() { return g_test_now_ns; }

struct RecordingDriver final : KfdCalls {
  int Update(const KfdQueue& queue, std::uint32_t percentage) override {
    return Note("update " + std::to_string(queue.id) + " " + std::to_string(percentage) +
                "% prio " + std::to_string(queue.priority));
  }
  int SetMask(const KfdQueue& queue, const std::uint32_t* mask, std::uint32_t bits) override {
    int count = 0;
    for (std::uint32_t i = 0; i < bits / 32; ++i) count += __builtin_popcount(mask[i]);
    last_mask.assign(mask, mask + bits / 32);
    return Note("mask " + std::to_string(queue.id) + " " + std::to_string(count));
  }
  bool CanBatch() override { return can_batch; }
  int SuspendBatch(const std::uint32_t* ids, std::uint32_t count) override {
    return Note("suspend" + Text(ids, count), batch_error);
  }
  int ResumeBatch(const std::uint32_t* ids, std::uint32_t count) override {
    return Note("resume" + Text(ids, count), batch_error);
  }
  static std::string Text(const std::uint32_t* ids, std::uint32_t count) {
    std::string text;
    for (std::uint32_t i = 0; i < count; ++i) text += " " + std::to_string(ids[i]);
    return text;
  }
  int Note(const std::string& call, int result) {
    const int saved = std::exchange(error, result);
    const int noted = Note(call);
    error = saved;
    return noted;
  }
  int Note(const std::string& call) {
    calls.push_back(call);
    g_test_now_ns += call_ns;
    return error;
  }
  std::vector<std::string> Take() { return std::exchange(calls, {}); }

  std::vector<std::string> calls;
  std::vector<std::uint32_t> last_mask;
  std::uint64_t call_ns = 100'000;
  int error = 0, batch_error = 0;
  bool can_batch = false;
};

using Calls = std::vector<std::string>;

class PreemptorTest : public testing::Test {
 protected:
  PreemptorTest() {
    g_test_now_ns = 1'000'000'000;
    g_now_ns = &TestNow;
    user_page_ = std::make_unique<UserPage>();
    page_ = std::make_unique<ProcessPage>();
    registry_ = std::make_unique<QueueRegistry>();
    urgency_ = FindUrgency(user_page_.get(), 7);
    gate_ = std::make_unique<WindowGate>(api_, &times_);
    pump_ = std::make_unique<Pump>(registry_.get(), gate_.get());
    preemptor_ = std::make_unique<Preemptor>(registry_.get(), gate_.get(), pump_.get(), &driver_);
    ring_ = std::make_unique<TestRing>(64);
    queue_ = MakeQueue(ring_.get(), 5);
    slot_ = queue_->slot;
    preemptor_->SetSession(page_.get(), user_page_.get());
    TeachKernel();
    Learn();
  }
  // It has been seen to end, often, after as long as is taken of one that has not.
  void TeachKernel() {
    ring_->Write(0, kernel_);
    for (int i = 0; i < 16; ++i) {
      KernelContext fresh;
      times_.Observe(times_.KeyOf(queue_->ring, &fresh), KernelTimes::kUnknownNs);
    }
  }
  // Past learning: a cycle of 0.2 ms that is felt in full, requests of 2 ms by themselves.
  void Learn() {
    const std::uint32_t mechanisms = slot_->mechanisms;
    slot_->mechanisms = kMechanismSuspend;
    for (std::uint32_t i = 0; i < 3 * PlanModel::kTriesFirst; ++i) {
      const bool suspends = i >= PlanModel::kTriesFirst;
      Expose(20);
      Urgent();
      preemptor_->Round();
      g_test_now_ns += (suspends ? 4 : 2) * kMs;
      Urgent(0);
      preemptor_->Round();
      Drain();
      g_test_now_ns += 50 * kMs;
    }
    slot_->mechanisms = mechanisms;
    slot_->suspends = 0;
    driver_.Take();
  }
  // So many requests that met little work that a hold seems harmless, and leaving alone worth a try.
  void LearnShortRests() {
    slot_->mechanisms = kMechanismSuspend;
    for (std::uint32_t i = 0; i < Samples::kMax; ++i) {
      Expose(1);
      Urgent();
      preemptor_->Round();
      g_test_now_ns += 2 * kMs;
      Urgent(0);
      preemptor_->Round();
      Drain();
      g_test_now_ns += 50 * kMs;
    }
    driver_.Take();
  }
  // As if it had been measured so for long; half of it is the driver call.
  void CyclesCost(std::uint64_t cycle_ns) {
    driver_.call_ns = cycle_ns / 2;
    Expose(1);
    for (std::uint32_t i = 0; i < Samples::kMax; ++i) {
      g_test_now_ns += 2'000 * kMs;
      preemptor_->Round();
    }
    Drain();
    driver_.Take();
  }
  // A request comes while 40 packets, 4 ms and more, are on the device, and it may only be suspended for.
  void SuspendForARequest() {
    slot_->mechanisms = kMechanismSuspend;
    Expose(40);
    Urgent();
    preemptor_->Round();
  }
  // Suspended and on again; then ROCr has stopped it in error.
  void LiftAndStopInError() {
    SuspendForARequest();
    Urgent(0);
    g_test_now_ns += 100 * kMs;
    preemptor_->Round();
    ASSERT_EQ(slot_->restriction, kUnrestricted);
    driver_.Take();
    queue_->failed = queue_->foreign = 1;
  }
  // After 2 ms; the hardware gets done with the rest, and the next one may come.
  void EndRequest() {
    g_test_now_ns += 2 * kMs;
    Urgent(0);
    preemptor_->Round();
    Drain();
    g_test_now_ns += 50 * kMs;
  }
  void Drain() {
    for (std::uint64_t tag = 0; ring_->taken() < ring_->published();) ring_->Take(&tag);
  }
  ~PreemptorTest() override { g_now_ns = &SteadyNs; }

  // A low queue that may be preempted in every way.
  ManagedQueue* MakeQueue(TestRing* ring, std::uint32_t kfd_id) {
    ManagedQueue* queue = registry_->Take([](std::uint32_t) { return true; });
    ring->LendTo(queue);
    QueueSlot* slot = &page_->queues[queue->index];
    slot->priority = -1;
    slot->kfd_priority = -1;
    slot->mode = kModeArmed;
    slot->mechanisms = kMechanismsAll;
    slot->mechanisms_available = kMechanismsAll;
    slot->delay_budget_permille = 50;
    queue->slot = slot;
    queue->urgency = urgency_;
    queue->user_page = user_page_.get();
    preemptor_->Adopt(queue, {.id = kfd_id, .ring_base = kfd_id, .ring_bytes = 4096},
                      {.gpu_id = 1, .compute_units = 80, .shader_arrays = 16});
    queue->live = 1;
    return queue;
  }
  // A second queue of the program, with KFD id 6 and so many packets on the hardware.
  void AddQueue(std::uint64_t count) {
    second_ring_ = std::make_unique<TestRing>(64);
    ManagedQueue* queue = MakeQueue(second_ring_.get(), 6);
    queue->slot.load()->mechanisms = slot_->mechanisms.load();
    for (std::uint64_t index = 0; index < count; ++index) second_ring_->Write(index, 99);
    queue->reserved_index = queue->announced_index = count;
    second_ring_->PublishPastTheApi(count);
  }
  std::unique_ptr<TestRing> second_ring_;
  // Packets that the hardware has but has not begun to finish, each `kUnknownNs` by prediction.
  void Expose(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t index = ring_->published();
      ring_->Write(index, kernel_);
      queue_->reserved_index = index + 1;
      queue_->announced_index = index + 1;
      ring_->PublishPastTheApi(index + 1);
    }
  }
  void Urgent(std::uint32_t level = kPriorityHigh + 1) {
    urgency_->word = UrgencyWord(EpochOf(urgency_->word) + 1, level);
    urgency_->lease_until_us = NowUs() + kLeaseUs;
  }
  const Decision& Last() { return page_->decisions[(page_->decisions_made - 1) % kDecisionsMax]; }

  std::uint64_t kernel_ = 99;  // that Expose dispatches
  std::unique_ptr<UserPage> user_page_;
  std::unique_ptr<ProcessPage> page_;
  std::unique_ptr<QueueRegistry> registry_;
  std::unique_ptr<TestRing> ring_;
  KernelTimes times_;
  RealApi api_ = TestRing::Api();
  std::unique_ptr<WindowGate> gate_;
  std::unique_ptr<Pump> pump_;
  RecordingDriver driver_;
  std::unique_ptr<Preemptor> preemptor_;
  ManagedQueue* queue_ = nullptr;
  QueueSlot* slot_ = nullptr;
  GpuUrgency* urgency_ = nullptr;
};

}  // namespace xsched_hsa

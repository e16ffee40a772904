// packet_cost.cc: the layer's own hooks on a ring in plain memory, one state of the gate at a time.
//
// The hooks are reached as a program reaches them, through the API table that InstallHooks patches.
// The clock is a counter: under valgrind the real one is a system call, which it is not otherwise.
#include "clock.h"
#include "hooks.h"
#include "layer.h"
#include "measured.h"
#include "test_ring.h"

namespace xsched_hsa::cost {
namespace {

constexpr std::uint64_t kRing = 1024, kPackets = 400, kKernel = 0x4000;
constexpr std::uint32_t kHighLevel = kPriorityHigh + 1;

std::uint64_t g_time_ns = 1'000'000'000;

// A registered queue of the layer, with whatever mode a measurement gives it.
class Program {
 public:
  Program() : ring_(kRing) {
    const RealApi& below = TestRing::Api();
    core_.hsa_queue_cas_write_index_scacq_screl_fn = below.cas_write_index_scacq_screl;
    core_.hsa_queue_load_write_index_relaxed_fn = below.load_write_index_relaxed;
    core_.hsa_queue_load_write_index_scacquire_fn = below.load_write_index_scacquire;
    core_.hsa_queue_load_read_index_relaxed_fn = below.load_read_index_relaxed;
    core_.hsa_queue_load_read_index_scacquire_fn = below.load_read_index_scacquire;
    core_.hsa_signal_store_screlease_fn = below.signal_store_screlease;
    HsaApiTable table{};
    table.core_ = &core_;
    InstallHooks(&table, TheLayer().real());
    queue_ = TheLayer().registry()->Take([](std::uint32_t) { return true; });
    ring_.LendTo(queue_);
    queue_->slot = &ring_.slot();
    queue_->urgency = &ring_.urgency();
    queue_->real_index = ring_.real_index();
    TheLayer().registry()->Insert(queue_);
  }

  void SetMode(std::uint32_t mode) {
    ring_.slot().window_us = 200;
    ring_.slot().mode = mode;
  }
  void SetUrgent(bool urgent) {
    ring_.urgency().lease_until_us = UINT64_MAX / 2;
    ring_.urgency().lease_until_us = g_time_ns / 1000 + kLeaseUs;
    ring_.urgency().word = UrgencyWord(++epoch_, urgent ? kHighLevel : 0u);
  }
  // Reserves and rings, as counted; writing the packet between the two is the program's own.
  void Dispatch() {
    ring_.Write(next_, kKernel);
    const Collecting collecting;
    const std::uint64_t index = core_.hsa_queue_add_write_index_screlease_fn(queue_->queue, 1);
    core_.hsa_signal_store_screlease_fn(queue_->doorbell, static_cast<hsa_signal_value_t>(index));
    next_ = index + 1;
  }
  void TakeAll() {
    for (std::uint64_t tag; ring_.Take(&tag);) {
    }
  }
  // What was held goes out: a look, as the pump's.
  void Release() {
    SetUrgent(false);
    SetMode(0);
    GateLook look;
    TheLayer().gate()->Look(queue_, &look);
    TakeAll();
  }
  void LeaveOut() { CALLGRIND_ZERO_STATS; }

 private:
  TestRing ring_;
  CoreApiTable core_{};
  ManagedQueue* queue_;
  std::uint64_t next_ = 0;
  std::uint32_t epoch_ = 0;
};

}  // namespace

void MeasurePacketPath() {
  g_now_ns = [] { return g_time_ns += 100; };
  static Program program;
  // Once, uncounted: what is learnt or touched for the first time.
  for (const std::uint32_t mode : {0u, std::uint32_t{kModeArmed}}) {
    program.SetMode(mode);
    for (std::uint64_t i = 0; i < kPackets; ++i) program.Dispatch(), program.TakeAll();
  }
  program.SetMode(0);
  program.LeaveOut();

  for (std::uint64_t i = 0; i < kPackets; ++i) program.Dispatch();
  Report("packet/unarmed", kPackets);
  program.TakeAll();

  program.SetMode(kModeArmed);
  for (std::uint64_t i = 0; i < kPackets; ++i) program.Dispatch(), program.TakeAll();
  Report("packet/armed", kPackets);

  // Behind a window full of packets that the device has not taken.
  for (std::uint64_t i = 0; i < kPackets; ++i) program.Dispatch();
  program.LeaveOut();
  for (std::uint64_t i = 0; i < kPackets; ++i) program.Dispatch();
  Report("packet/window-full", kPackets);
  program.TakeAll();
  program.Release();

  program.SetMode(kModeArmed);
  program.SetUrgent(true);
  for (std::uint64_t i = 0; i < kPackets; ++i) program.Dispatch();
  Report("packet/held", kPackets);
  program.Release();

  program.SetMode(kModeRaise);
  program.Dispatch();
  Report("packet/raise-first", 1);
  for (std::uint64_t i = 0; i < kPackets; ++i) program.Dispatch();
  Report("packet/raise-next", kPackets);
  program.TakeAll();
}

}  // namespace xsched_hsa::cost

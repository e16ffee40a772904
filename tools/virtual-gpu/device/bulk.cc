// bulk.cc: Dispatcher's shortcut for a dispatch that has the whole device to itself.
//
// Its workgroups are not placed at all: two events, last launch and end, stand for it, after a time
// that earlier runs of the same kernel took (lone_runs.h). As soon as anybody else wants the
// device, or the queue leaves it, the state that it would be in is laid out on the CUs as bundles,
// and everything goes on from there. Never with grain_ns = 0, nor for kernels whose workgroups are
// simulated one by one anyway.

#include <algorithm>
#include <cmath>

#include "dispatcher.h"

namespace virtual_gpu {

bool Dispatcher::IsAlone(std::uint32_t id) const {
  const Dispatch& d = dispatches_[id];
  return resident_slots_ == 0 && restoring_.empty() && active_ == 1u << d.pipe &&
         d.queue->saved_count == 0 && d.pool == d.packet.cost.workgroups && d.done == 0 &&
         !d.plan.exact && !d.packet.cost.names_cu && d.fp.occupancy > 0;
}

// True: the dispatch runs in bulk.
bool Dispatcher::StartAlone(std::uint32_t id) {
  if (!IsAlone(id)) return false;
  Dispatch& d = dispatches_[id];
  for (std::uint32_t xcc = 0; xcc < geometry_.xccs(); ++xcc) {
    if (d.share[xcc].pool > 0 && d.queue->mask.cus_per_xcc[xcc] == 0) return false;
  }
  lone_ = id;
  lone_since_ = now_;
  const TimeNs ns = lone_runs_.Sample(d.packet.cost, d.first_xcc, d.queue->mask, &random_);
  if (ns == 0) return false;
  bulk_ = id;
  bulk_end_ = now_ + ns;
  std::uint64_t slots = 0;
  double rounds = 1;
  for (std::uint32_t xcc = 0; xcc < geometry_.xccs(); ++xcc) {
    rounds = std::max(rounds, BulkRounds(d, xcc));
    const std::uint64_t here = std::uint64_t{d.queue->mask.cus_per_xcc[xcc]} * d.fp.occupancy;
    slots += std::min(here, d.share[xcc].pool);
  }
  bulk_slots_ = static_cast<std::uint32_t>(slots);
  d.queue->resident_workgroups += bulk_slots_;
  bulk_next_ = bulk_end_ - static_cast<TimeNs>(static_cast<double>(ns) / rounds);
  if (rounds <= 1) BulkLaunched();
  return true;
}

double Dispatcher::BulkRounds(const Dispatch& d, std::uint32_t xcc) const {
  return std::max(1.0,
                  std::ceil(static_cast<double>(d.share[xcc].pool) * d.share[xcc].per_slot - 1e-9));
}

void Dispatcher::BulkLaunched() {
  dispatches_[bulk_].launched = true;
  launched_.push_back(bulk_);
  bulk_next_ = bulk_end_;
}

void Dispatcher::ProcessBulk() {
  now_ = std::max(now_, bulk_next_);
  Dispatch& d = dispatches_[bulk_];
  if (!d.launched) return BulkLaunched();
  const std::uint32_t id = bulk_;
  EndBulk();
  const std::uint64_t count = d.pool;
  for (Dispatch::Share& share : d.share) share.pool = 0;
  d.pool = 0;
  for (std::uint32_t xcc = 0; xcc < geometry_.xccs(); ++xcc) UpdateHeads(id, xcc);
  lone_ = kNone;
  d.queue->cu_ns += static_cast<double>(count) * d.workgroup_ns / d.fp.occupancy;
  Finished(id, count, true, kNone);
}

void Dispatcher::EndBulk() {
  dispatches_[bulk_].queue->resident_workgroups -= bulk_slots_;
  bulk_ = kNone;
  bulk_next_ = kNever;
}

// The device is about to be no dispatch's own any more.
void Dispatcher::Disturb() {
  lone_ = kNone;
  if (bulk_ == kNone) return;
  const std::uint32_t id = bulk_;
  EndBulk();
  Dispatch& d = dispatches_[id];
  const auto elapsed = static_cast<double>(now_ - lone_since_);
  const auto whole = static_cast<double>(bulk_end_ - lone_since_);
  for (std::uint32_t xcc = 0; xcc < geometry_.xccs(); ++xcc) {
    if (d.share[xcc].pool > 0) LayOut(id, xcc, elapsed, whole);
  }
  CheckLaunched(id);
}

// One XCC's share of a bulk dispatch, `elapsed` of `whole` after its start.
void Dispatcher::LayOut(std::uint32_t id, std::uint32_t xcc, double elapsed, double whole) {
  Dispatch& d = dispatches_[id];
  Dispatch::Share& share = d.share[xcc];
  const std::uint32_t cus = d.queue->mask.cus_per_xcc[xcc];
  const std::uint64_t slots = std::uint64_t{cus} * d.fp.occupancy;
  const auto rounds = static_cast<std::uint64_t>(BulkRounds(d, xcc));
  const double round_ns = whole / static_cast<double>(rounds);
  std::uint64_t over = std::min(rounds - 1, static_cast<std::uint64_t>(elapsed / round_ns));
  if (d.launched) over = rounds - 1;
  if (over > 0) {
    const std::uint64_t count = over * slots;
    share.pool -= count;
    d.pool -= count;
    UpdateHeads(id, xcc);
    d.queue->cu_ns += static_cast<double>(count) * d.workgroup_ns / d.fp.occupancy;
    if (xcc == d.first_xcc) d.first_placed = true;
    Finished(id, count, xcc == d.first_xcc, kNone);
  }
  const double phase = elapsed - static_cast<double>(over) * round_ns;
  const std::uint64_t full_rounds = share.pool / slots;  // what is beyond stays in the pool
  std::uint64_t left = full_rounds ? slots : share.pool;
  std::uint32_t left_cus = cus;
  // The n-th CU of every SE before the next of any, as the dispatcher would have filled them.
  for (std::uint32_t index = 0; left > 0 && index < 32; ++index) {
    for (std::uint32_t se = 0; left > 0 && se < geometry_.ses(); ++se) {
      if (!(d.queue->mask.se_bits[xcc * geometry_.ses() + se] >> index & 1)) continue;
      const std::uint64_t here = (left + left_cus - 1) / left_cus;
      LayOutOn(geometry_.FirstCu(xcc, se) + index, id, here,
               std::max<std::uint64_t>(1, full_rounds), round_ns, phase);
      left -= here;
      --left_cus;
    }
  }
}

void Dispatcher::LayOutOn(std::uint32_t cu, std::uint32_t id, std::uint64_t slots,
                          std::uint64_t rounds, double round_ns, double phase) {
  const Dispatch& d = dispatches_[id];
  Resident resident;
  resident.dispatch = id;
  resident.slots = static_cast<std::uint16_t>(slots);
  resident.rounds = static_cast<std::uint32_t>(rounds);
  resident.fresh = rounds == 1 && now_ - lone_since_ < d.workgroup_ns;
  const Shape shape{resident.slots, resident.rounds, false};
  const double noise = bundler_.DrawDuration(shape, d.workgroup_ns, &random_) -
                       d.workgroup_ns * static_cast<double>(rounds);
  const double left = round_ns * static_cast<double>(rounds) + noise - phase;
  cus_.Sync(cu, now_);
  const double v = cus_.at(cu).v;
  AddResident(cu, resident, v + std::max(1.0, left));
  cus_.resident(cu, cus_.at(cu).residents - 1u).start_v = v - phase;
}

}  // namespace virtual_gpu

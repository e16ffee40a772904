// residents.cc: Dispatcher's other half: what happens to workgroups once they are on a CU.

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "dispatcher.h"

namespace virtual_gpu {

double Dispatcher::RoundsBefore(const Dispatch& d) const {
  return static_cast<double>(now_ - d.start) / d.workgroup_ns;
}

// Takes the resident's workgroups from the dispatch's pool and puts it on the CU.
void Dispatcher::AddResident(std::uint32_t cu, Resident resident, double finish_v) {
  Dispatch& d = dispatches_[resident.dispatch];
  const std::uint32_t xcc = cus_.at(cu).xcc;
  const std::uint64_t count = std::uint64_t{resident.slots} * resident.rounds;
  resident.start_v = cus_.at(cu).v;
  resident.bundle = Bundler::IsBundle(d.plan, resident.slots, resident.rounds, budget_.strain());
  if (xcc == d.first_xcc && !d.first_placed) d.first_placed = resident.has_first = true;
  if (resident.rounds > 1) {
    ++d.share[xcc].rounds_held;
    ++d.rounds_held;
  }
  d.share[xcc].pool -= count;
  d.pool -= count;
  UpdateHeads(resident.dispatch, xcc);
  d.queue->resident_workgroups += resident.slots;
  resident_slots_ += resident.slots;
  cus_.Add(cu, resident, finish_v, d.fp);
  if (d.pool == 0) CheckLaunched(resident.dispatch);
}

// Off the CU; the caller accounts for its workgroups and calls Refresh.
void Dispatcher::RemoveResident(std::uint32_t cu, std::uint32_t i) {
  const Resident& resident = cus_.resident(cu, i);
  const Dispatch& d = dispatches_[resident.dispatch];
  const double served_v = cus_.at(cu).v - resident.start_v;
  d.queue->cu_ns += served_v * resident.slots * d.fp.demand / double{kDemandOne};
  d.queue->resident_workgroups -= resident.slots;
  resident_slots_ -= resident.slots;
  cus_.Remove(cu, i, d.fp);
}

void Dispatcher::Finished(std::uint32_t id, std::uint64_t count, bool first, std::uint32_t cu) {
  if (count == 0) return;
  Dispatch& d = dispatches_[id];
  if (d.unreported == 0) dirty_.push_back(id);
  d.unreported += count;
  d.first_unreported |= first;
  if (d.packet.cost.names_cu) d.done_on.insert(d.done_on.end(), count, cu);
  d.done += count;
  d.queue->workgroups += count;
  if (d.done < d.packet.cost.workgroups) return;
  completed_.push_back(id);
  if (id == lone_) {
    lone_runs_.Record(d.packet.cost, d.first_xcc, d.queue->mask, now_ - lone_since_);
    lone_ = kNone;
  }
}

void Dispatcher::ReportDone(std::uint32_t id) {
  Dispatch& d = dispatches_[id];
  if (d.queue == nullptr || d.unreported == 0) return;
  const std::uint64_t count = d.unreported;
  const bool first = d.first_unreported;
  d.unreported = 0;
  d.first_unreported = false;
  if (d.done_on.empty()) return d.queue->source->WorkgroupsDone(d.packet, count, first);
  const std::vector<std::uint32_t> cus = std::exchange(d.done_on, {});
  for (std::size_t i = 0; i < cus.size(); ++i) {
    d.queue->source->WorkgroupDoneOn(d.packet, geometry_.Locate(cus[i]), first && i == 0);
  }
}

void Dispatcher::ReportDone() {
  for (std::size_t i = 0; i < dirty_.size(); ++i) ReportDone(dirty_[i]);
  dirty_.clear();
}

// Launched: nothing left to give out, and no rounds on CUs that have yet to start.
void Dispatcher::CheckLaunched(std::uint32_t id) {
  Dispatch& d = dispatches_[id];
  if (d.launched || d.pool > 0 || d.rounds_held > 0 || d.pipe == kNone) return;
  d.launched = true;
  launched_.push_back(id);
}

void Dispatcher::ReturnToPool(std::uint32_t id, std::uint32_t xcc, std::uint64_t count) {
  if (count == 0) return;
  Dispatch& d = dispatches_[id];
  d.share[xcc].pool += count;
  d.pool += count;
  UpdateHeads(id, xcc);
  if (d.pipe != kNone) returned_.push_back(std::uint64_t{id} << 8 | xcc);
}

// One resident becomes one per running workgroup; see bundle.h.
void Dispatcher::SplitInPlace(std::uint32_t cu, std::uint32_t i) {
  cus_.Sync(cu, now_);
  const Resident whole = cus_.resident(cu, i);
  Dispatch& d = dispatches_[whole.dispatch];
  const std::uint32_t xcc = cus_.at(cu).xcc;
  const double v = cus_.at(cu).v;
  const SplitCounts counts = bundler_.Split(whole, v, cus_.finish_v(cu, i), d.workgroup_ns,
                                            RoundsBefore(d), &random_, left_.data());
  RemoveResident(cu, i);
  cus_.Refresh(cu);
  if (whole.rounds > 1) {
    --d.share[xcc].rounds_held;
    --d.rounds_held;
  }
  Resident one;
  one.dispatch = whole.dispatch;
  one.start_v = v;
  d.queue->resident_workgroups += counts.running;
  resident_slots_ += counts.running;
  for (std::uint32_t slot = 0; slot < counts.running; ++slot) {
    one.has_first = slot == 0 && whole.has_first && !counts.first_finished;
    cus_.Add(cu, one, v + left_[slot], d.fp);
  }
  Finished(whole.dispatch, counts.finished, counts.first_finished, cu);
  ReturnToPool(whole.dispatch, xcc, counts.unstarted);
  CheckLaunched(whole.dispatch);
}

// Nobody else is interested in this CU: all that the dispatch has there becomes one bundle, with
// what is left of its running workgroups spread over the slots.
void Dispatcher::Merge(std::uint32_t id, std::uint32_t cu, const Shape& shape) {
  Dispatch& d = dispatches_[id];
  Dispatch::Share& share = d.share[cus_.at(cu).xcc];
  const double v = cus_.at(cu).v;
  std::uint32_t running = 0;
  double left = 0;
  Resident merged;
  merged.dispatch = id;
  for (std::uint32_t i = cus_.at(cu).residents; i-- > 0;) {
    const Resident part = cus_.resident(cu, i);
    if (part.dispatch != id) continue;
    const SplitCounts counts = bundler_.Split(part, v, cus_.finish_v(cu, i), d.workgroup_ns,
                                              RoundsBefore(d), &random_, left_.data());
    RemoveResident(cu, i);
    if (part.rounds > 1) {
      --share.rounds_held;
      --d.rounds_held;
    }
    for (std::uint32_t slot = 0; slot < counts.running; ++slot) left += left_[slot];
    running += counts.running;
    merged.has_first |= part.has_first && !counts.first_finished;
    Finished(id, counts.finished, counts.first_finished, cu);
    share.pool += counts.unstarted;
    d.pool += counts.unstarted;
  }
  cus_.Refresh(cu);
  // The running ones are in the pool's count for AddResident; the pool holds at least one more.
  share.pool += running;
  d.pool += running;
  std::uint64_t slots = std::uint64_t{running} + shape.slots;
  slots = std::min({slots, std::uint64_t{cus_.FreeSlots(cu, d.fp)}, share.pool});
  merged.slots = static_cast<std::uint16_t>(slots);
  merged.rounds =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(shape.rounds, share.pool / slots));
  const double fresh = static_cast<double>(slots * merged.rounds - running);
  double duration = (left + fresh * d.workgroup_ns) / static_cast<double>(slots);
  duration = std::max(duration, 1.0);
  AddResident(cu, merged, v + duration);
}

// The dispatch has nothing left to give out in this XCC, but a CU has room while bundles elsewhere
// hold rounds that have not started: half of the longest one's come back.
bool Dispatcher::Reclaim(std::uint32_t cu) {
  const std::uint32_t xcc = cus_.at(cu).xcc;
  for (std::uint32_t left = active_ & ~heads_[xcc].ready; left; left &= left - 1) {
    const std::uint32_t id = streams_[static_cast<std::size_t>(std::countr_zero(left))].dispatch;
    const Dispatch& d = dispatches_[id];
    if (d.share[xcc].pool > 0 || d.share[xcc].rounds_held == 0) continue;
    if (Allowed(*d.queue, cu) && cus_.Fits(cu, d.fp) && ReclaimFor(id, xcc)) return true;
  }
  return false;
}

bool Dispatcher::ReclaimFor(std::uint32_t id, std::uint32_t xcc) {
  Dispatch& d = dispatches_[id];
  std::uint32_t best_cu = 0, best_i = 0, best_rounds = 1;
  const std::uint32_t begin = geometry_.FirstCu(xcc, 0);
  const std::uint32_t end = begin + cus_.size() / geometry_.xccs();
  for (std::uint32_t cu = begin; cu < end; ++cu) {
    for (std::uint32_t i = 0; i < cus_.at(cu).residents; ++i) {
      const Resident& resident = cus_.resident(cu, i);
      if (resident.dispatch != id || resident.rounds <= best_rounds) continue;
      const Cu& c = cus_.at(cu);
      const double v = c.v + static_cast<double>(now_ - c.at) * c.rate;
      const std::uint32_t unstarted =
          resident.rounds - 1 - Bundler::RoundsOver(resident, v, cus_.finish_v(cu, i));
      if (unstarted <= best_rounds) continue;
      best_cu = cu;
      best_i = i;
      best_rounds = unstarted;
    }
  }
  if (best_rounds < 2) return false;
  cus_.Sync(best_cu, now_);
  Resident& longest = cus_.resident(best_cu, best_i);
  const std::uint32_t back = best_rounds / 2;
  const double finish_v = cus_.finish_v(best_cu, best_i);
  const double round_v = (finish_v - longest.start_v) / longest.rounds;
  longest.rounds -= back;
  cus_.SetFinish(best_cu, best_i, finish_v - round_v * back);
  cus_.Refresh(best_cu);
  const std::uint64_t count = std::uint64_t{back} * longest.slots;
  d.share[xcc].pool += count;
  d.pool += count;
  UpdateHeads(id, xcc);
  return true;
}

}  // namespace virtual_gpu

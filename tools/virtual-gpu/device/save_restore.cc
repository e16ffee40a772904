// save_restore.cc: Dispatcher's part in preemption: workgroups to and from the save areas.

#include <algorithm>
#include <cmath>

#include "dispatcher.h"

namespace virtual_gpu {

void Dispatcher::Save(std::uint32_t cu, std::uint32_t i) {
  const Resident whole = cus_.resident(cu, i);
  Dispatch& d = dispatches_[whole.dispatch];
  Queue& queue = *d.queue;
  const std::uint32_t xcc = cus_.at(cu).xcc;
  const SplitCounts counts =
      bundler_.Split(whole, cus_.at(cu).v, cus_.finish_v(cu, i), d.workgroup_ns, RoundsBefore(d),
                     &random_, left_.data());
  RemoveResident(cu, i);
  if (whole.rounds > 1) {
    --d.share[xcc].rounds_held;
    --d.rounds_held;
  }
  for (std::uint32_t slot = 0; slot < counts.running; ++slot) {
    const bool first = slot == 0 && whole.has_first && !counts.first_finished;
    queue.saved[xcc].push_back({left_[slot], whole.dispatch, cu, first});
  }
  if (queue.launching != kNone) UpdateHeads(queue.launching, xcc);
  queue.saved_count += counts.running;
  queue.saved_waves += std::uint64_t{counts.running} * d.fp.waves;
  queue.saved_bytes += counts.running * d.fp.save_bytes;
  saved_waves_ += std::uint64_t{counts.running} * d.fp.waves;
  saved_bytes_ += counts.running * d.fp.save_bytes;
  Finished(whole.dispatch, counts.finished, counts.first_finished, cu);
  ReturnToPool(whole.dispatch, xcc, counts.unstarted);
}

void Dispatcher::Freeze(const Queue* queue, TimeNs now) {
  now_ = now;
  Disturb();
  for (std::uint32_t cu = 0; cu < cus_.size(); ++cu) {
    if (cus_.at(cu).residents == 0) continue;
    cus_.Sync(cu, now);
    for (std::uint32_t i = cus_.at(cu).residents; i-- > 0;) {
      const std::uint32_t id = cus_.resident(cu, i).dispatch;
      if (queue == nullptr || dispatches_[id].queue == queue) Save(cu, i);
    }
    cus_.Refresh(cu);
  }
  std::erase_if(restoring_, [&](Queue* other) { return queue == nullptr || other == queue; });
}

std::uint32_t Dispatcher::CuForSaved(const Queue& queue, const SavedWorkgroup& saved,
                                     std::uint32_t xcc, std::uint32_t only_cu) const {
  const Footprint& fp = dispatches_[saved.dispatch].fp;
  const std::uint32_t first = only_cu != kNone ? only_cu : saved.cu;
  if (Allowed(queue, first) && cus_.Fits(first, fp)) return first;
  if (only_cu != kNone) return kNone;
  std::uint32_t best = kNone, most_free = 0;
  const std::uint32_t begin = geometry_.FirstCu(xcc, 0);
  const std::uint32_t end = begin + cus_.size() / geometry_.xccs();
  for (std::uint32_t cu = begin; cu < end; ++cu) {
    if (cus_.free_waves(cu) > most_free && Allowed(queue, cu) && cus_.Fits(cu, fp)) {
      best = cu;
      most_free = cus_.free_waves(cu);
    }
  }
  return best;
}

// What fits goes back; the rest stays in the save area, in order.
void Dispatcher::RestoreInto(Queue* queue, std::uint32_t xcc, std::uint32_t only_cu) {
  std::vector<SavedWorkgroup>& saved = queue->saved[xcc];
  std::uint32_t full_for = kNone;  // a dispatch whose workgroups fit nowhere any more
  std::size_t kept = 0;
  for (const SavedWorkgroup& one : saved) {
    const Dispatch& d = dispatches_[one.dispatch];
    const std::uint32_t cu =
        one.dispatch == full_for ? kNone : CuForSaved(*queue, one, xcc, only_cu);
    if (cu == kNone) {
      full_for = one.dispatch;
      saved[kept++] = one;
      continue;
    }
    cus_.Sync(cu, now_);
    Resident resident;
    resident.dispatch = one.dispatch;
    resident.start_v = cus_.at(cu).v;
    resident.has_first = one.has_first;
    cus_.Add(cu, resident, resident.start_v + one.left_v, d.fp);
    ++queue->resident_workgroups;
    ++resident_slots_;
    --queue->saved_count;
    queue->saved_waves -= d.fp.waves;
    queue->saved_bytes -= d.fp.save_bytes;
  }
  saved.resize(kept);
  if (queue->launching != kNone) UpdateHeads(queue->launching, xcc);
}

void Dispatcher::RestoreOn(std::uint32_t cu) {
  const std::uint32_t xcc = cus_.at(cu).xcc;
  for (std::size_t i = 0; i < restoring_.size(); ++i) {
    Queue* queue = restoring_[i];
    if (queue->saved[xcc].empty()) continue;
    RestoreInto(queue, xcc, cu);
    // The queue's own launches in this XCC were waiting for that; its pipe may go on now.
    if (!queue->saved[xcc].empty() || queue->launching == kNone) continue;
    if (dispatches_[queue->launching].pipe != kNone) {
      returned_.push_back(std::uint64_t{queue->launching} << 8 | xcc);
    }
  }
  std::erase_if(restoring_, [](const Queue* queue) { return queue->saved_count == 0; });
}

void Dispatcher::Restore(Queue* queue, TimeNs now) {
  now_ = now;
  if (queue->saved_count == 0) return;
  Disturb();
  for (std::uint32_t xcc = 0; xcc < geometry_.xccs(); ++xcc) RestoreInto(queue, xcc, kNone);
  if (queue->saved_count > 0) restoring_.push_back(queue);
}

TimeNs Dispatcher::Drain(TimeNs now) {
  now_ = now;
  Disturb();
  TimeNs end = now;
  std::vector<std::pair<double, std::uint32_t>> ends;  // finish_v, demand
  for (std::uint32_t cu = 0; cu < cus_.size(); ++cu) {
    for (std::uint32_t i = cus_.at(cu).residents; i-- > 0;) {
      const Resident& resident = cus_.resident(cu, i);
      if (resident.slots > 1 || resident.rounds > 1) SplitInPlace(cu, i);
    }
    cus_.Sync(cu, now);
    ends.clear();
    for (std::uint32_t i = 0; i < cus_.at(cu).residents; ++i) {
      ends.emplace_back(cus_.finish_v(cu, i), dispatches_[cus_.resident(cu, i).dispatch].fp.demand);
    }
    std::sort(ends.begin(), ends.end());
    double v = cus_.at(cu).v, time = 0;
    std::uint32_t demand = cus_.at(cu).demand;
    for (const auto& [finish_v, share] : ends) {
      time += std::max(0.0, finish_v - v) * std::max(1.0, demand / double{kDemandOne}) + 1;
      v = std::max(v, finish_v);
      demand -= share;
    }
    end = std::max(end, now + static_cast<TimeNs>(std::ceil(time)));
  }
  returned_.clear();
  return end;
}

void Dispatcher::DropQueue(Queue* queue, TimeNs now) {
  now_ = now;
  Disturb();
  for (std::uint32_t cu = 0; cu < cus_.size(); ++cu) {
    if (cus_.at(cu).residents == 0) continue;
    cus_.Sync(cu, now);
    for (std::uint32_t i = cus_.at(cu).residents; i-- > 0;) {
      if (dispatches_[cus_.resident(cu, i).dispatch].queue == queue) RemoveResident(cu, i);
    }
    cus_.Refresh(cu);
  }
  std::erase(restoring_, queue);
  for (std::uint32_t id = 0; id < dispatches_.size(); ++id) {
    if (dispatches_[id].queue != queue) continue;
    std::erase(launched_, id);
    std::erase(completed_, id);
    std::erase(dirty_, id);
    if (dispatches_[id].pipe != kNone) StopStream(dispatches_[id].pipe, now);
    RemoveDispatch(id);
  }
}

}  // namespace virtual_gpu

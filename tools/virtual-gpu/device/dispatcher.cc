#include "dispatcher.h"

#include <algorithm>
#include <bit>

namespace virtual_gpu {

Dispatcher::Dispatcher(const DeviceParams& params, const Geometry& geometry)
    : geometry_(geometry),
      bundler_(params),
      random_(params.seed),
      budget_(params.grain_ns > 0),
      cus_(geometry),
      streams_(std::clamp(params.pipes, 1u, kPipesMax)),
      heads_(geometry.xccs()),
      at_se_(std::size_t{geometry.xccs()} * std::max(1u, geometry.ses())),
      last_pipe_(geometry.xccs(), 0),
      calm_ns_(std::max<TimeNs>(0, params.calm_ns)),
      contended_at_(geometry.xccs(), -calm_ns_),
      left_(std::max(1u, params.workgroups_per_cu)) {}

std::uint32_t Dispatcher::AddDispatch(Queue* queue, const Packet& packet, TimeNs now) {
  std::uint32_t id;
  if (free_.empty()) {
    id = static_cast<std::uint32_t>(dispatches_.size());
    dispatches_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  Dispatch& d = dispatches_[id];
  d = Dispatch{};
  d.queue = queue;
  d.packet = packet;
  d.fp = geometry_.MakeFootprint(packet.cost);
  d.workgroup_ns = static_cast<double>(std::max<TimeNs>(1, packet.cost.workgroup_ns));
  d.plan = bundler_.Plan(d.workgroup_ns, std::max(1u, d.fp.occupancy));
  d.start = now;
  d.pool = packet.cost.workgroups;
  const std::uint32_t xccs = geometry_.xccs();
  d.first_xcc = (xccs - queue->xcc_start) % xccs;
  for (std::uint32_t xcc = 0; xcc < xccs; ++xcc) {
    const std::uint32_t logical = (xcc + queue->xcc_start) % xccs;
    d.share[xcc].pool = d.pool / xccs + (logical < d.pool % xccs);
  }
  return id;
}

void Dispatcher::RemoveDispatch(std::uint32_t id) {
  dispatches_[id].queue = nullptr;
  free_.push_back(id);
}

void Dispatcher::StartStream(std::uint32_t pipe, std::uint32_t dispatch, std::uint32_t priority,
                             TimeNs now) {
  now_ = now;
  Disturb();
  streams_[pipe] = {dispatch, priority};
  active_ |= 1u << pipe;
  Dispatch& d = dispatches_[dispatch];
  d.pipe = pipe;
  for (std::uint32_t xcc = 0; xcc < geometry_.xccs(); ++xcc) {
    const double cus = std::max(1u, d.queue->mask.cus_per_xcc[xcc]);
    d.share[xcc].per_cu = 1 / cus;
    d.share[xcc].per_slot = 1 / (cus * std::max(1u, d.fp.occupancy));
    UpdateHead(pipe, xcc);
  }
  if (StartAlone(dispatch)) return;
  for (std::uint32_t xcc = 0; xcc < geometry_.xccs(); ++xcc) {
    while (TryHead(pipe, xcc)) {
    }
  }
  CheckLaunched(dispatch);
  RetryReturned();
}

void Dispatcher::StopStream(std::uint32_t pipe, TimeNs now) {
  now_ = now;
  if (streams_[pipe].dispatch == kNone) return;
  if (!dispatches_[streams_[pipe].dispatch].launched) Disturb();
  dispatches_[streams_[pipe].dispatch].pipe = kNone;
  streams_[pipe].dispatch = kNone;
  active_ &= ~(1u << pipe);
  for (std::uint32_t xcc = 0; xcc < geometry_.xccs(); ++xcc) UpdateHead(pipe, xcc);
}

// What most events call is one function: a seventh faster than twenty that call each other. What few
// need is marked noinline, so that it stays small.
[[gnu::flatten]] void Dispatcher::ProcessNext() {
  if (bulk_next_ <= cus_.next_time()) return ProcessBulk();
  now_ = std::max(now_, cus_.next_time());
  budget_.Count(now_);
  const std::uint32_t cu = cus_.next_cu();
  cus_.Sync(cu, now_);
  const std::uint32_t i = cus_.at(cu).next;
  const Resident ended = cus_.resident(cu, i);
  const std::uint32_t xcc = cus_.at(cu).xcc;
  RemoveResident(cu, i);
  Dispatch& d = dispatches_[ended.dispatch];
  if (ended.rounds > 1) {
    --d.share[xcc].rounds_held;
    --d.rounds_held;
  }
  Finished(ended.dispatch, std::uint64_t{ended.slots} * ended.rounds, ended.has_first, cu);
  FillCu(cu);
  cus_.RefreshIfStale(cu);
  if (ended.rounds > 1) CheckLaunched(ended.dispatch);
  RetryReturned();
}

// A head is there if the stream has workgroups to give out in this XCC, none of its queue's saved
// ones come first, and the mask leaves it an SE; it waits for the next such SE in turn.
void Dispatcher::UpdateHead(std::uint32_t pipe, std::uint32_t xcc) {
  Heads& heads = heads_[xcc];
  const std::uint32_t bit = 1u << pipe;
  const std::uint32_t ses = geometry_.ses();
  if (heads.ready & bit) at_se_[xcc * ses + heads.se[pipe]] &= ~bit;
  heads.ready &= ~bit;
  if (streams_[pipe].dispatch == kNone) return;
  const Dispatch& d = dispatches_[streams_[pipe].dispatch];
  if (d.share[xcc].pool == 0 || !d.queue->saved[xcc].empty() || d.fp.occupancy == 0) return;
  std::uint32_t se = d.queue->next_se[xcc];
  for (std::uint32_t tried = 0; tried < ses; ++tried, se = se + 1 < ses ? se + 1 : 0) {
    if (d.queue->mask.se_bits[xcc * ses + se] == 0) continue;
    d.queue->next_se[xcc] = heads.se[pipe] = static_cast<std::uint8_t>(se);
    at_se_[xcc * ses + se] |= bit;
    heads.ready |= bit;
    return;
  }
}

std::uint32_t Dispatcher::PickCu(const Dispatch& d, std::uint32_t xcc, std::uint32_t se) const {
  std::uint32_t best = kNone, most_free = 0;
  std::uint32_t cu = geometry_.FirstCu(xcc, se);
  for (std::uint32_t bits = d.queue->mask.se_bits[xcc * geometry_.ses() + se]; bits;
       bits >>= 1, ++cu) {
    // No branches: which CUs have room can't be foreseen.
    const std::uint32_t useful = (bits & 1) & cus_.Fits(cu, d.fp);
    const std::uint32_t free = cus_.free_waves(cu) * useful;
    best = free > most_free ? cu : best;
    most_free = free > most_free ? free : most_free;
  }
  return best;
}

// Whose head takes a slot on this CU: the highest priority, round-robin among equals.
std::uint32_t Dispatcher::PickPipe(std::uint32_t cu) const {
  const Cu& c = cus_.at(cu);
  const std::uint32_t waiting = at_se_[c.se_flat];
  if (waiting == 0) return kNone;
  // Those after the one that was served last, then the others.
  const std::uint32_t first = waiting & ~((2u << last_pipe_[c.xcc]) - 1);
  std::uint32_t best = kNone;
  for (std::uint32_t turn : {first, waiting & ~first}) {
    for (; turn; turn &= turn - 1) {
      const auto pipe = static_cast<std::uint32_t>(std::countr_zero(turn));
      if (best != kNone && streams_[pipe].priority <= streams_[best].priority) continue;
      const Dispatch& d = dispatches_[streams_[pipe].dispatch];
      if (Allowed(*d.queue, cu) && cus_.Fits(cu, d.fp)) best = pipe;
    }
  }
  return best;
}

// Places the head workgroup of the pipe in this XCC, wherever it wants to go. False: it waits.
bool Dispatcher::TryHead(std::uint32_t pipe, std::uint32_t xcc) {
  if (!HeadReady(pipe, xcc)) return false;
  const Dispatch& d = dispatches_[streams_[pipe].dispatch];
  const std::uint32_t se = heads_[xcc].se[pipe];
  const std::uint32_t cu = PickCu(d, xcc, se);
  if (cu == kNone) {
    Waits(pipe, xcc, se);
    return false;
  }
  Place(pipe, xcc, cu);
  return true;
}

void Dispatcher::AdvanceHead(std::uint32_t pipe, std::uint32_t xcc, std::uint32_t stop_se) {
  while (HeadReady(pipe, xcc) && heads_[xcc].se[pipe] != stop_se) {
    if (!TryHead(pipe, xcc)) return;
  }
}

// A CU has room: who waited for it gets it.
void Dispatcher::FillCu(std::uint32_t cu) {
  const std::uint32_t xcc = cus_.at(cu).xcc, se = cus_.at(cu).se;
  do {
    if (!restoring_.empty()) RestoreOn(cu);
    std::uint32_t served = 0;
    for (std::uint32_t pipe = PickPipe(cu); pipe != kNone; pipe = PickPipe(cu)) {
      last_pipe_[xcc] = pipe;
      served |= 1u << pipe;
      Place(pipe, xcc, cu);
      AdvanceHead(pipe, xcc, se);
    }
    for (std::uint32_t left = served & at_se_[cus_.at(cu).se_flat]; left; left &= left - 1) {
      Waits(static_cast<std::uint32_t>(std::countr_zero(left)), xcc, se);
    }
  } while (Reclaim(cu));
}

void Dispatcher::FillAll(TimeNs now) {
  now_ = now;
  Disturb();
  const auto pipes = static_cast<std::uint32_t>(streams_.size());
  for (Queue* queue : std::vector<Queue*>(restoring_)) {
    for (std::uint32_t xcc = 0; xcc < geometry_.xccs(); ++xcc) RestoreInto(queue, xcc, kNone);
  }
  for (std::uint32_t xcc = 0; xcc < geometry_.xccs(); ++xcc) {
    for (std::uint32_t priority = 3; priority-- > 0;) {
      for (bool placed = true; placed;) {
        placed = false;
        for (std::uint32_t pipe = 0; pipe < pipes; ++pipe) {
          if (streams_[pipe].priority == priority) placed |= TryHead(pipe, xcc);
        }
      }
    }
  }
  RetryReturned();
}

// Rounds that came back to a dispatch may find room elsewhere at once.
void Dispatcher::RetryReturned() {
  while (!returned_.empty()) {
    const std::uint64_t back = returned_.back();
    returned_.pop_back();
    const Dispatch& d = dispatches_[back >> 8];
    if (d.queue == nullptr || d.pipe == kNone) continue;
    while (TryHead(d.pipe, back & 0xff)) {
    }
  }
}

// Could another head use this CU, or one of the slots that the pipe's dispatch is about to take?
bool Dispatcher::Contended(std::uint32_t pipe, std::uint32_t cu) const {
  const std::uint32_t xcc = cus_.at(cu).xcc;
  for (const Queue* queue : restoring_) {
    if (!queue->saved[xcc].empty()) return true;
  }
  std::uint32_t others = heads_[xcc].ready & ~(1u << pipe);
  if (others == 0) return false;
  const Dispatch& own = dispatches_[streams_[pipe].dispatch];
  const bool two = !own.plan.exact && cus_.FitsBeside(cu, own.fp, own.fp);
  for (; others; others &= others - 1) {
    const auto other = static_cast<std::uint32_t>(std::countr_zero(others));
    const Dispatch& d = dispatches_[streams_[other].dispatch];
    if (!Allowed(*d.queue, cu)) continue;
    if (two ? cus_.FitsBeside(cu, own.fp, d.fp) : cus_.Fits(cu, d.fp)) return true;
  }
  return false;
}

void Dispatcher::Place(std::uint32_t pipe, std::uint32_t xcc, std::uint32_t cu) {
  const std::uint32_t id = streams_[pipe].dispatch;
  Dispatch& d = dispatches_[id];
  Queue& queue = *d.queue;
  const std::uint32_t se = cus_.at(cu).se;
  queue.next_se[xcc] = static_cast<std::uint8_t>(se + 1 < geometry_.ses() ? se + 1 : 0);
  cus_.Sync(cu, now_);
  ShapeQuestion question;
  question.pool = d.share[xcc].pool;
  question.strain = budget_.strain();
  question.per_cu = d.share[xcc].per_cu;
  question.per_slot = d.share[xcc].per_slot;
  if (Contended(pipe, cu)) contended_at_[xcc] = now_;
  question.contended = now_ - contended_at_[xcc] < calm_ns_;
  question.free_slots = d.plan.exact || question.contended ? 1 : cus_.FreeSlots(cu, d.fp);
  const Shape shape = bundler_.Choose(d.plan, question);
  const bool many = shape.slots > 1 || shape.rounds > 1;
  if (many && !question.contended && cus_.at(cu).residents > 0) {
    Merge(id, cu, shape);
    return;
  }
  Resident resident;
  resident.dispatch = id;
  resident.slots = static_cast<std::uint16_t>(shape.slots);
  resident.rounds = shape.rounds;
  resident.fresh = static_cast<double>(now_ - d.start) < 0.5 * d.workgroup_ns;
  const double duration = bundler_.DrawDuration(shape, d.workgroup_ns, &random_);
  AddResident(cu, resident, cus_.at(cu).v + duration);
}

// The pipe's head found no room in this SE: whatever stands there for many workgroups and would
// leave room for it when a single one ends comes apart.
void Dispatcher::Waits(std::uint32_t pipe, std::uint32_t xcc, std::uint32_t se) {
  const std::uint32_t id = streams_[pipe].dispatch;
  const Dispatch& d = dispatches_[id];
  const std::uint32_t se_flat = xcc * geometry_.ses() + se;
  if (cus_.bundles_in(se_flat) == 0) return;
  std::uint32_t cu = geometry_.FirstCu(xcc, se);
  for (std::uint32_t bits = d.queue->mask.se_bits[se_flat]; bits; bits >>= 1, ++cu) {
    if (!(bits & 1)) continue;
    for (std::uint32_t i = cus_.at(cu).residents; cus_.at(cu).bundles && i-- > 0;) {
      const Resident& resident = cus_.resident(cu, i);
      if (!resident.bundle || resident.dispatch == id) continue;
      if (!cus_.FitsWithout(cu, dispatches_[resident.dispatch].fp, d.fp)) continue;
      contended_at_[xcc] = now_;
      SplitInPlace(cu, i);
    }
  }
}

}  // namespace virtual_gpu

// preemptor_listen.cc: when the preemptor sleeps on the bell, which wakes it at each request's begin and end.
//
// A bell wakes all its listeners, and whoever rings pays for each. So only those listen that may have something to
// do: a program whose queues have had no work for a while rests, and its next doorbell says so.
#include <algorithm>

#include "clock.h"
#include "preemptor.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

// Longer than the gaps of a program that is at work, so that it is not told of each anew.
constexpr std::uint64_t kRestAfterNs = 100'000'000;

}  // namespace

// The word is read before the look, so that whatever rings in between ends the sleep at once.
void Preemptor::Run() {
  while (true) {
    UserPage* const page = PageToHear();
    listening_.store(page, std::memory_order_seq_cst);
    if (page != nullptr) page->listeners.fetch_add(1, std::memory_order_seq_cst);
    std::atomic<std::uint32_t>* word = page != nullptr ? &page->bell : &own_word_;
    while (true) {
      const std::uint32_t seen = word->load(std::memory_order_seq_cst);
      const std::uint64_t sleep_ns = Round();
      if (PageToHear() != page) break;
      if (sleep_ns != 0) FutexWait(word, seen, std::min(sleep_ns, kSleepMaxNs));
    }
    if (page != nullptr) page->listeners.fetch_sub(1, std::memory_order_seq_cst);
  }
}

bool Preemptor::IsPreemptible(const ManagedQueue& queue) {
  const QueueSlot* slot = queue.slot.load(std::memory_order_acquire);
  constexpr std::uint32_t kChosenHere = kMechanismSqueeze | kMechanismSuspend | kMechanismShare;
  return (slot->mode.load(std::memory_order_acquire) & kModeArmed) != 0 &&
         (slot->mechanisms.load(std::memory_order_relaxed) & kChosenHere) != 0;
}

// Null: no bell concerns us.
UserPage* Preemptor::PageToHear() {
  MutexScope scope(&mutex_);
  if (off_) {
    EndRest();
    return nullptr;
  }
  bool restricted = false, preemptible = false;
  bool working = false;
  for (std::uint32_t i = 0; i < registry_->end(); ++i) {
    ManagedQueue* queue = registry_->at(i);
    if (queue->live.load(std::memory_order_acquire) == 0) continue;
    restricted |= queue->restricted.restriction != kUnrestricted;
    if (!IsPreemptible(*queue)) continue;
    preemptible = true;
    working |= gate_->HasUnfinished(*queue) ||
               queue->preemptor_rest.load(std::memory_order_relaxed) == kRestIsOver;
  }
  for (const Arena& arena : arenas_) working |= arena.urgent;
  const std::uint64_t now_ns = NowNs();
  if (working) worked_ns_ = now_ns;
  const bool idle = now_ns - worked_ns_ >= kRestAfterNs;
  if (preemptible && !restricted && idle && Rest()) return nullptr;
  EndRest();
  return restricted || preemptible ? user_page_ : nullptr;
}

// False if work came meanwhile. The state first, the indexes second: a doorbell does it the other way round, so that
// either it sees that we rest, or we see its packet.
bool Preemptor::Rest() {
  bool working = false;
  resting_ = true;
  for (std::uint32_t i = 0; i < registry_->end(); ++i) {
    ManagedQueue* queue = registry_->at(i);
    if (queue->live.load(std::memory_order_acquire) == 0) continue;
    const bool preemptible = IsPreemptible(*queue);
    queue->preemptor_rest.store(preemptible ? kRests : kListens, std::memory_order_seq_cst);
    working |= preemptible && gate_->HasUnfinished(*queue);
  }
  // How long it is since the last request will not be known.
  for (Arena& arena : arenas_) arena.ended_ns = 0;
  return !working;
}

void Preemptor::EndRest() {
  if (!resting_) return;
  resting_ = false;
  worked_ns_ = NowNs();
  for (std::uint32_t i = 0; i < registry_->end(); ++i) {
    registry_->at(i)->preemptor_rest.store(kListens, std::memory_order_relaxed);
  }
}

}  // namespace xsched_hsa

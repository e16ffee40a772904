#include "pump.h"

#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>

#include "clock.h"
#include "log.h"
#include "thread.h"
#include "trace.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

constexpr std::uint64_t kBusyLockNs = 20'000;
constexpr std::uint64_t kDrainPollMinNs = 25'000;
constexpr std::uint64_t kReportPollNs = 500'000;

struct Processors {
  std::uint32_t own, all;  // that this program may use; that are online
};
Processors CountProcessors() {
  const auto all = static_cast<std::uint32_t>(std::max(sysconf(_SC_NPROCESSORS_ONLN), 1L));
  cpu_set_t set;
  CPU_ZERO(&set);
  // More than there are bits for are enough for anybody.
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return {all, all};
  return {std::clamp(static_cast<std::uint32_t>(CPU_COUNT(&set)), 1u, all), all};
}

// Of `programs`, those that are on this program's processors: where each is pinned to some, as many as come on each.
std::uint32_t Neighbours(std::uint32_t programs, const Processors& processors) {
  return static_cast<std::uint32_t>(std::uint64_t{programs} * processors.own / processors.all);
}

}  // namespace

bool Pump::Start() {
  std::atomic<std::uint32_t>* none = nullptr;
  wake_word_.compare_exchange_strong(none, &own_wake_word_);
  if (started_.exchange(true)) return true;
  const bool started = StartDetachedThread(&Pump::ThreadMain, this);
  if (!started) started_.store(false);
  return started;
}

void* Pump::ThreadMain(void* self) {
  prctl(PR_SET_NAME, "xsched-pump");
  prctl(PR_SET_TIMERSLACK, 1000);  // the default 50 us is as long as a poll
  static_cast<Pump*>(self)->Run();
  return nullptr;
}

void Pump::Wake(bool tell_controller) {
  if (tell_controller) tell_.store(1, std::memory_order_seq_cst);
  std::atomic<std::uint32_t>* word = wake_word_.load(std::memory_order_seq_cst);
  bool sleeps = false;
  while (word != nullptr) {
    word->fetch_add(1, std::memory_order_seq_cst);
    sleeps |= sleeping_.exchange(0, std::memory_order_seq_cst) != 0;
    if (sleeps) FutexWake(word);
    // A session has come or gone meanwhile: it is the new word on which the pump sleeps, and what said so is cleared.
    std::atomic<std::uint32_t>* const now = wake_word_.load(std::memory_order_seq_cst);
    if (now == word) return;
    word = now;
  }
}

void Pump::WakeFor(const ManagedQueue& queue) {
  const QueueSlot* slot = queue.slot.load(std::memory_order_acquire);
  Wake((slot->mode.load(std::memory_order_acquire) & (kModeRaise | kModeReport)) != 0);
}

void Pump::SetSession(ProcessPage* page, const OwnDescriptor& event) {
  {
    MutexScope scope(&event_mutex_);
    event_ = event;
  }
  std::atomic<std::uint32_t>* old = wake_word_.load(std::memory_order_acquire);
  page_.store(page, std::memory_order_release);
  wake_word_.store(page != nullptr ? &page->wake : &own_wake_word_, std::memory_order_release);
  if (old == nullptr) return;
  old->fetch_add(1, std::memory_order_seq_cst);
  FutexWake(old);
}

void Pump::TellController() {
  MutexScope scope(&event_mutex_);
  const std::uint64_t one = 1;
  // Full or closed: the controller already has a reason to look, or is gone; or the program has closed it.
  if (const int event = event_.fd(); event >= 0) {
    [[maybe_unused]] const ssize_t written = write(event, &one, sizeof(one));
  } else if (event_.was_given() && !told_taken_) {
    told_taken_ = true;
    Log(LogLevel::kWarn,
        "this program has closed a descriptor of ours: the controller does not hear at once what "
        "its queues do, and holds for it end after %d ms; it joins again when the controller is "
        "restarted",
        static_cast<int>(kLeaseUs / 1000));
  }
}

void Pump::Run() {
  const Processors processors = CountProcessors();
  while (true) {
    std::atomic<std::uint32_t>* word = wake_word_.load(std::memory_order_acquire);
    const std::uint32_t seen = word->load(std::memory_order_seq_cst);
    // SetSession exchanges the word first and bumps the old one second: `seen` may be that bump.
    if (wake_word_.load(std::memory_order_seq_cst) != word) continue;
    const std::uint64_t began_ns = NowNs();
    const std::uint64_t sleep_ns = Round();
    if (sleep_ns == 0) continue;
    const ProcessPage* page = page_.load(std::memory_order_acquire);
    const std::uint32_t programs =
        page != nullptr ? page->programs.load(std::memory_order_relaxed) : 0;
    pace_.Looked(NowNs() - began_ns, Neighbours(programs, processors), processors.own);
    // Whoever changes something after `seen` was read changes the word too, and the wait returns.
    sleeping_.store(1, std::memory_order_seq_cst);
    FutexWait(word, seen, std::min(pace_.Sleep(sleep_ns), kSleepMaxNs));
    sleeping_.store(0, std::memory_order_seq_cst);
  }
}

std::uint64_t Pump::Round() {
  ProcessPage* page = page_.load(std::memory_order_acquire);
  std::uint32_t asked = 0;
  bool refresh = false;
  if (page != nullptr) {
    asked = page->refresh.load(std::memory_order_acquire);
    refresh = asked != page->refreshed.load(std::memory_order_relaxed);
    const std::uint32_t orders = page->orders.load(std::memory_order_acquire);
    if (orders != orders_seen_ && orders_listener_ != nullptr) orders_listener_(orders_argument_);
    orders_seen_ = orders;
  }
  if (tell_.exchange(0, std::memory_order_seq_cst) != 0) TellController();
  std::uint64_t next_ns = kForeverNs;
  somebody_waits_ = false;
  for (std::uint32_t i = 0; i < registry_->end(); ++i) {
    ManagedQueue* queue = registry_->at(i);
    if (queue->live.load(std::memory_order_acquire) == 0) continue;
    queue->pump_inside.store(1, std::memory_order_seq_cst);
    if (queue->live.load(std::memory_order_seq_cst) != 0) {
      next_ns = std::min(next_ns, LookAt(queue, refresh));
    }
    queue->pump_inside.store(0, std::memory_order_seq_cst);
  }
  if (inheriting_ && !somebody_waits_) EndInheritance();
  if (refresh) page->refreshed.store(asked, std::memory_order_release);
  return next_ns;
}

// Returns when this queue has to be looked at again.
std::uint64_t Pump::LookAt(ManagedQueue* queue, bool refresh) {
  QueueSlot* slot = queue->slot.load(std::memory_order_acquire);
  const std::uint32_t mode = slot->mode.load(std::memory_order_acquire);
  const bool watched = queue->pump_watches.load(std::memory_order_relaxed) != 0;
  // What did not fit ROCr's ring has nobody else to pass it on, armed or not.
  const bool pumps = (mode & kModeArmed) != 0 || queue->intercept != nullptr;
  // A queue that was armed for a moment may have a backlog that nobody has looked at yet.
  if (mode == 0 && !watched && !queue->waits && slot->active.load(std::memory_order_relaxed) == 0 &&
      !gate_->HasBacklog(*queue)) {
    if (refresh) Mirror(*queue, slot);
    return kForeverNs;
  }
  // It is left to the preemptor to take note of it.
  if (queue->preemptor_rest.load(std::memory_order_acquire) == kRestIsOver &&
      orders_listener_ != nullptr) {
    orders_listener_(orders_argument_);
  }
  GateLook look;
  std::uint64_t next_ns = kForeverNs;
  if (!gate_->Look(queue, &look)) {
    next_ns = kBusyLockNs;
    look.backlog = true;
  } else if (look.closed && look.backlog) {
    const std::uint64_t now_us = NowUs();
    next_ns = look.closed_until_us > now_us ? (look.closed_until_us - now_us) * 1000 : 0;
  } else if (look.poll_ns != 0) {
    next_ns = look.poll_ns;
  }
  const std::uint64_t drain_ns = WatchDrain(queue, slot);
  next_ns = std::min({next_ns, drain_ns, WatchDependencies(queue, slot),
                      CountUse(queue, slot, mode, look.closed)});
  const bool watch = look.backlog || drain_ns != kForeverNs;
  queue->pump_watches.store(watch ? 1 : 0, std::memory_order_seq_cst);
  // From here on a producer with a backlog wakes us; one that came just before did not.
  if (!watch && pumps && gate_->HasBacklog(*queue)) next_ns = 0;
  Mirror(*queue, slot);
  return next_ns;
}

// An active queue that has been without work for linger_us is done, and less urgent ones may go on.
std::uint64_t Pump::WatchDrain(ManagedQueue* queue, QueueSlot* slot) {
  if (slot->active.load(std::memory_order_seq_cst) == 0) return kForeverNs;
  const std::uint32_t mode = slot->mode.load(std::memory_order_acquire);
  if ((mode & (kModeRaise | kModeReport)) == 0) {
    slot->active.store(0, std::memory_order_seq_cst);
    TraceQueue(*queue, slot, kTraceDrained);
    TellController();
    return kForeverNs;
  }
  const std::uint64_t policys_us = slot->linger_us.load(std::memory_order_relaxed);
  queue->linger.Active(queue->active_since_us.load(std::memory_order_relaxed), policys_us);
  const std::uint64_t linger_ns = queue->linger.Us(policys_us) * 1000;
  // How long a request took is measured by these looks, too.
  const std::uint64_t poll_ns =
      (mode & kModeRaise) != 0 ? std::max(policys_us * 125, kDrainPollMinNs) : kReportPollNs;
  const std::uint64_t published = gate_->Published(*queue);
  if (gate_->HasUnfinished(*queue)) {
    queue->idle_since_us = 0;
    // A queue that only reports and has nothing on the hardware is held: its release wakes us.
    return (mode & kModeRaise) != 0 || gate_->HasExposed(*queue) ? poll_ns : kForeverNs;
  }
  const std::uint64_t now_us = NowUs();
  if (queue->idle_since_us == 0 || queue->idle_published != published) {
    queue->idle_since_us = now_us;
    queue->idle_published = published;
  }
  const std::uint64_t idle_ns = (now_us - queue->idle_since_us) * 1000;
  if (idle_ns < linger_ns) return std::min(poll_ns, linger_ns - idle_ns);
  if (GpuUrgency* urgency = queue->urgency.load(std::memory_order_acquire); urgency != nullptr) {
    urgency->drained_ns.store(queue->idle_since_us * 1000, std::memory_order_relaxed);
  }
  CountBurst(*queue);
  Deactivate(queue, slot);
  return slot->active.load(std::memory_order_relaxed) != 0 ? poll_ns : kForeverNs;
}

void Pump::Deactivate(ManagedQueue* queue, QueueSlot* slot) {
  queue->linger.Drained(queue->idle_since_us);
  slot->active.store(0, std::memory_order_seq_cst);
  TraceQueue(*queue, slot, kTraceDrained);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // A doorbell that came in between saw `active` still set and did not raise: do it in its place.
  if (gate_->HasUnfinished(*queue) || gate_->Published(*queue) != queue->idle_published) {
    Activate(queue, slot);
  }
  queue->idle_since_us = 0;
  TellController();
}

void Pump::Mirror(const ManagedQueue& queue, QueueSlot* slot) {
  const std::uint64_t published = gate_->Published(queue);
  const std::uint64_t announced = queue.announced_index.load(std::memory_order_relaxed);
  slot->submitted_index.store(std::max(announced, published), std::memory_order_relaxed);
  slot->published_index.store(published, std::memory_order_relaxed);
  const std::uint64_t taken = gate_->Taken(queue);
  if (taken != slot->read_index.load(std::memory_order_relaxed)) {
    TraceQueue(queue, slot, kTraceTaken, taken);
  }
  slot->read_index.store(taken, std::memory_order_relaxed);
}

}  // namespace xsched_hsa

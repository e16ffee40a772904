#include "window_gate.h"

#include <algorithm>

#include "clock.h"
#include "intercept_gate.h"
#include "log.h"
#include "mutex.h"
#include "trace.h"
#include "urgency.h"

namespace xsched_hsa {
namespace {

constexpr std::uint64_t kPollRoomNs = 50'000;
constexpr int kRetireLooksMax = 10'000;  // a second and more

}  // namespace

// Not armed: the program's doorbell goes through, raised to the highest index that was rung, so
// that the packet processor sees doorbells that never fall behind the write index it may re-read.
//
// No barrier may follow the doorbell's store: it would wait for a write to device memory (or, on
// the virtual GPU, to a line that the device polls). What has to be looked at after publishing is
// therefore looked at between the index, whose compare-and-swap is the barrier, and the doorbell.
bool WindowGate::PublishOpen(ManagedQueue* queue, std::uint64_t end, QueueSlot* tells) {
  const std::uint64_t real = RaiseIndex(queue, end);
  const bool activated = tells != nullptr && Activate(queue, tells);
  // Another producer may have rung for later packets while the queue was armed, and the look that
  // served it may have stopped at our slot, which was still INVALID then.
  const bool behind = queue->announced_index.load(std::memory_order_seq_cst) > end;
  Ring(*queue, real);
  if (behind) {
    GateLook ignored;
    Look(queue, &ignored);
  }
  return activated;
}

// Raises the real write index to `end`, never lowers it; returns it as it now is. A full barrier.
std::uint64_t WindowGate::RaiseIndex(ManagedQueue* queue, std::uint64_t end) {
  std::uint64_t real = queue->published_hint.load(std::memory_order_relaxed);
  bool barrier = false;
  while (real < end) {
    const std::uint64_t seen = api_.cas_write_index_scacq_screl(queue->queue, real, end);
    barrier = true;
    real = seen == real ? end : seen;
  }
  // Racing stores may leave a smaller value: it only costs the next caller a second try.
  if (barrier) queue->published_hint.store(real, std::memory_order_relaxed);
#if defined(__x86_64__)
  if (barrier) return real;  // a locked instruction was one, whether it swapped or not
#endif
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return real;
}

// After the index: hardware re-reads that when a queue is mapped again.
void WindowGate::Ring(const ManagedQueue& queue, std::uint64_t real) {
  api_.signal_store_screlease(queue.doorbell, static_cast<hsa_signal_value_t>(real - 1));
}

void WindowGate::Announce(ManagedQueue* queue, std::uint64_t end) {
  std::uint64_t old = queue->announced_index.load(std::memory_order_relaxed);
  while (old < end &&
         !queue->announced_index.compare_exchange_weak(old, end, std::memory_order_seq_cst)) {
  }
  // When the index was already past `end` nothing was swapped, and the caller's header store still
  // has to be ordered before the look at mode and lock.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

bool WindowGate::DoorbellManaged(ManagedQueue* queue, std::uint64_t end) {
  QueueSlot* slot = queue->slot.load(std::memory_order_acquire);
  const std::uint32_t mode = slot->mode.load(std::memory_order_acquire);
  const bool tells = (mode & (kModeRaise | kModeReport)) != 0;
  // Before publishing: others shall stop as early as possible. Once more after, because the pump
  // clears `active` before it looks at the indexes a last time. The bell waits until our own packet
  // is out: with dozens of listeners it takes longer than that.
  bool bell_due = false;
  bool wake_pump = tells && Activate(queue, slot, &bell_due);
  const bool armed =
      (mode & kModeArmed) != 0 && queue->foreign.load(std::memory_order_relaxed) == 0;
  if (armed || queue->intercept != nullptr) {
    Announce(queue, end);
    wake_pump |= EndsRest(queue);
    GateLook look;
    if (Look(queue, &look) && look.backlog) {
      wake_pump |= queue->pump_watches.load(std::memory_order_seq_cst) == 0;
    }
    if (tells) wake_pump |= Activate(queue, slot);
  } else {
    TraceQueue(*queue, slot, kTracePublish, queue->published_hint.load(std::memory_order_relaxed),
               end);
    wake_pump |= PublishOpen(queue, end, tells ? slot : nullptr);
  }
  if (bell_due) [[unlikely]]
    RingBellOf(*queue);
  return wake_pump;
}

// True if the preemptor is to hear of it. After the announcement, see Preemptor::Rest.
bool WindowGate::EndsRest(ManagedQueue* queue) {
  if (queue->preemptor_rest.load(std::memory_order_seq_cst) != kRests) [[likely]]
    return false;
  std::uint32_t rests = kRests;
  return queue->preemptor_rest.compare_exchange_strong(rests, kRestIsOver);
}

bool WindowGate::Look(ManagedQueue* queue, GateLook* look) {
  queue->again.exchange(1, std::memory_order_seq_cst);
  do {
    if (queue->lock.exchange(1, std::memory_order_seq_cst) != 0) return false;
    queue->again.exchange(0, std::memory_order_seq_cst);
    *look = GateLook{};
    LookLocked(queue, look);
    queue->lock.store(0, std::memory_order_seq_cst);
  } while (queue->again.load(std::memory_order_seq_cst) != 0);
  return true;
}

void WindowGate::LookLocked(ManagedQueue* queue, GateLook* look) {
  QueueSlot* slot = queue->slot.load(std::memory_order_acquire);
  const std::uint64_t real = api_.load_write_index_relaxed(queue->queue);
  const std::uint64_t announced =
      std::max(queue->announced_index.load(std::memory_order_seq_cst), real);
  bool armed = (slot->mode.load(std::memory_order_acquire) & kModeArmed) != 0;
  if (queue->intercept != nullptr) {
    queue->intercept->MarkEach(armed);
    if (CheckForeign(queue, real)) return LookForeign(queue, real, look);
  } else {
    armed = armed && !CheckForeign(queue, real);
  }
  std::uint64_t end = real;
  std::uint64_t now_ns = 0;
  if (armed) {
    now_ns = NowNs();
    look->closed = ClosesNow(*queue, *slot, now_ns / 1000, &look->closed_until_us);
    std::uint64_t window_ns =
        static_cast<std::uint64_t>(slot->window_us.load(std::memory_order_relaxed)) * 1000;
    if (window_ns != 0) {
      window_ns = std::max(window_ns, queue->wide_window_ns.load(std::memory_order_relaxed));
    }
    if (!look->closed) {
      end = window_ns != 0 ? WindowEnd(queue, real, announced, window_ns, now_ns, look)
                           : ScanValid(*queue, real, announced);
    }
    // What runs now shares the device, or has only part of it: the time is not its own.
    if (look->closed || queue->goes_on.load(std::memory_order_relaxed) != 0) {
      queue->window.learning = queue->window.held_back = false;
    }
    slot->gate_closed.store(look->closed ? 1 : 0, std::memory_order_relaxed);
  } else {
    queue->window.tracking = false;
    end = ScanValid(*queue, real, announced);
    slot->gate_closed.store(0, std::memory_order_relaxed);
  }
  if (queue->intercept != nullptr) end = std::min(end, queue->intercept->PublishLimit());
  look->backlog = (armed || queue->intercept != nullptr) && end < announced;
  CountHeld(queue, slot, real, announced, look->closed, now_ns / 1000);
  Publish(queue, real, end);
  if (end > real) TraceQueue(*queue, slot, kTracePublish, real, end);
  // Nobody else tells when ROCr's ring has room again. And a producer that is still writing its packet rings later, but
  // perhaps while the gate is closed, and takes it that the pump, which looks after this backlog, knows.
  if (look->backlog && !look->closed && look->poll_ns == 0) look->poll_ns = kPollRoomNs;
}

// An intercept queue gets no more at once than newer runtimes can stage.
void WindowGate::Publish(ManagedQueue* queue, std::uint64_t real, std::uint64_t end) {
  const std::uint64_t most = queue->intercept != nullptr ? InterceptGate::kBatchMax : end;
  while (real < end) {
    real += std::min(end - real, most);
    Ring(*queue, RaiseIndex(queue, real));
  }
}

// A program that moves the proxy's index itself: whatever it rings for is passed on, as far as there
// is room. ROCr stops at the first INVALID header, so the first packet too many has one meanwhile;
// nobody but ROCr looks at a packet between its doorbell and its turn.
void WindowGate::LookForeign(ManagedQueue* queue, std::uint64_t real, GateLook* look) {
  InterceptGate* intercept = queue->intercept;
  const std::uint64_t next = api_.load_read_index_scacquire(queue->queue);
  const std::uint64_t room = intercept->RoomForPackets();
  if (next == real && intercept->HasStored()) intercept->Kick();
  if (next < real && room != 0) {
    const std::uint64_t stop = next + room;
    const std::uint16_t header = LoadHeader(*queue, stop);
    const bool too_many = stop < real && IsValidHeader(header);
    if (too_many) StoreHeader(queue, stop, HSA_PACKET_TYPE_INVALID);
    Ring(*queue, real);
    if (too_many) StoreHeader(queue, stop, header);
  }
  look->backlog = HasBacklog(*queue);
  if (look->backlog) look->poll_ns = kPollRoomNs;
}

// Packets from `from` up to the first whose header is not written yet. Safe without the ring's
// bound: announced - read <= ring size, because whoever announced an index had seen room for it.
std::uint64_t WindowGate::ScanValid(const ManagedQueue& queue, std::uint64_t from,
                                    std::uint64_t end) const {
  end = std::min(end, api_.load_read_index_scacquire(queue.queue) + queue.ring_packets);
  while (from < end && IsValidHeader(LoadHeader(queue, from))) ++from;
  return from;
}

// The real index beyond what was reserved through the API, or packets taken that were never
// published: the program writes amd_queue_t or the doorbell page itself. Holding would lose its
// packets.
bool WindowGate::CheckForeign(ManagedQueue* queue, std::uint64_t real) {
  if (queue->foreign.load(std::memory_order_relaxed) != 0) return true;
  const std::uint64_t reserved = queue->reserved_index.load(std::memory_order_acquire);
  const std::uint64_t taken = api_.load_read_index_relaxed(queue->queue);
  // Published indexes are loaded again: they may have risen since the caller looked.
  if (real <= reserved && taken <= std::max(real, api_.load_write_index_relaxed(queue->queue))) {
    return false;
  }
  LeaveAlone(queue);
  std::uint64_t old = reserved;
  while (old < real && !queue->reserved_index.compare_exchange_weak(old, real)) {
  }
  Log(LogLevel::kWarn,
      "queue %lu is written past the HSA API (write index %lu, reserved %lu, read %lu): it is left "
      "alone and never held, so urgent work of others may have to wait for it",
      queue->queue->id, real, reserved, taken);
  return true;
}

void WindowGate::CountHeld(ManagedQueue* queue, QueueSlot* slot, std::uint64_t real,
                           std::uint64_t announced, bool closed, std::uint64_t now_us) {
  WindowState& window = queue->window;
  if (closed && announced > real) {
    if (window.closed_since_us == 0) {
      window.closed_since_us = now_us;
      slot->holds.fetch_add(1, std::memory_order_relaxed);
      TraceQueue(*queue, slot, kTraceClosed, announced - real);
    }
    const std::uint64_t from = std::max(window.held_mark, real);
    if (announced > from) {
      slot->packets_held.fetch_add(announced - from, std::memory_order_relaxed);
      window.held_mark = announced;
    }
    return;
  }
  if (window.closed_since_us == 0) return;
  const std::uint64_t held_us = (now_us != 0 ? now_us : NowUs()) - window.closed_since_us;
  window.closed_since_us = 0;
  TraceQueue(*queue, slot, kTraceOpened, announced - std::min(real, announced));
  slot->held_us.fetch_add(held_us, std::memory_order_relaxed);
  if (held_us > slot->held_us_max.load(std::memory_order_relaxed)) {
    slot->held_us_max.store(held_us, std::memory_order_relaxed);
  }
}

void WindowGate::Retire(ManagedQueue* queue) {
  // Who has it lets it go within microseconds, or never: a signal handler that ends the program has interrupted it.
  for (int looks = 0;
       queue->lock.exchange(1, std::memory_order_seq_cst) != 0 && looks < kRetireLooksMax;
       ++looks) {
    WaitALittle(looks);
  }
  const std::uint64_t real = api_.load_write_index_relaxed(queue->queue);
  const std::uint64_t announced =
      std::max(queue->announced_index.load(std::memory_order_seq_cst), real);
  std::uint64_t end = ScanValid(*queue, real, announced);
  if (queue->intercept != nullptr) end = std::min(end, queue->intercept->PublishLimit());
  CountHeld(queue, queue->slot.load(std::memory_order_acquire), real, real, false, 0);
  Publish(queue, real, end);
}

const unsigned char* WindowGate::PacketAt(const ManagedQueue& queue, std::uint64_t index) const {
  // ROCr invalidates what it has passed on, and the program may write there again.
  if (queue.intercept != nullptr && index < api_.load_read_index_scacquire(queue.queue)) {
    return queue.intercept->PacketAt(index);
  }
  return queue.ring + (index & (queue.ring_packets - 1)) * 64;
}

std::uint64_t WindowGate::Published(const ManagedQueue& queue) const {
  return api_.load_write_index_scacquire(queue.queue);
}
std::uint64_t WindowGate::Taken(const ManagedQueue& queue) const {
  const std::uint64_t read = api_.load_read_index_scacquire(queue.queue);
  if (queue.intercept == nullptr) return read;
  // ROCr invalidates a slot of its proxy only after it has passed the packet on: hardware may have
  // taken it by then, but the program must not write there yet.
  return std::min(queue.intercept->Taken(), read);
}
std::uint64_t WindowGate::Head(const ManagedQueue& queue) const {
  return Progress(queue, Published(queue));
}
bool WindowGate::HasBacklog(const ManagedQueue& queue) const {
  const std::uint64_t announced = queue.announced_index.load(std::memory_order_seq_cst);
  if (queue.intercept == nullptr) return announced > Published(queue);
  // Also what a foreign program has published, but ROCr has not passed on.
  return announced > api_.load_read_index_scacquire(queue.queue) || queue.intercept->HasStored();
}
bool WindowGate::HasExposed(const ManagedQueue& queue) const {
  return Published(queue) > Head(queue);
}
bool WindowGate::HasUnfinished(const ManagedQueue& queue) const {
  const std::uint64_t announced = queue.announced_index.load(std::memory_order_seq_cst);
  return std::max(announced, Published(queue)) > Taken(queue);
}

}  // namespace xsched_hsa

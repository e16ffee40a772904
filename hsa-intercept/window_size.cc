// window_size.cc: how many packets an armed queue exposes, in predicted microseconds.
//
// What is published can't be taken back, so an armed queue exposes only about window_ns of work:
// many packets of short kernels, and while one long kernel runs nothing behind it until its
// predicted rest is shorter than the window. Predictions come from KernelTimes, which learns here
// from the movement of the read index. All of this runs under ManagedQueue::lock.
#include <sched.h>

#include <algorithm>

#include "intercept_gate.h"
#include "window_gate.h"

namespace xsched_hsa {
namespace {
constexpr std::uint64_t kPollMinNs = 20'000;
constexpr std::uint64_t kPollMaxNs = 1'000'000;
constexpr std::uint64_t kPollUntrackedNs = 50'000;
constexpr int kRestTriesMax = 1000;  // holders never block, but may be off the processor
// A queue that ran dry behind a full window was looked at too late: it gets a quarter of a window
// more, up to three more, and gives it back over the next packets. One dry spell in
// kNarrowPackets / 4 packets is about what remains.
constexpr std::uint64_t kWidenPart = 4;
constexpr std::uint64_t kWidenMost = 3;
constexpr std::uint64_t kShortPart = 4;  // of a window: a short packet
constexpr std::uint64_t kNarrowPackets = 1024;
// Refill at half a window, so that each wake-up of the pump moves many short packets. A long rest
// is approached by halves: a kernel that ends before its prediction must not leave the device idle
// long.
std::uint64_t PollNs(std::uint64_t remaining, std::uint64_t window_ns) {
  const std::uint64_t until_half = remaining > window_ns / 2 ? remaining - window_ns / 2 : 0;
  return std::clamp(std::min(until_half, remaining / 2), kPollMinNs, kPollMaxNs);
}

// While a long packet runs and the next ones wait behind it on the hardware, its end is what tells
// how long it took and since when the next one runs. Seen a millisecond late, as remaining work
// alone would allow, both are wrong by as much, and the device runs dry behind the one after.
std::uint64_t HeadPollNs(const WindowState& window, std::uint64_t head, std::uint64_t now_ns,
                         std::uint64_t window_ns) {
  const std::uint64_t predicted = window.predicted_ns[head % kTrackedPackets];
  if (predicted < window_ns) return kPollMaxNs;
  const std::uint64_t elapsed = now_ns - window.head_began_ns;
  const std::uint64_t away = predicted > elapsed ? predicted - elapsed : (elapsed - predicted) / 8;
  return std::max(away, kPollMinNs);
}

// How late a look comes depends on the host (its load, its idle states), so it is not computed but
// seen: by the device having run dry while packets waited for room in the window. Behind a packet
// that is long against the window that is no sign: its prediction was too long.
void AdaptWindow(WindowState* window, std::uint64_t real, std::uint64_t passed,
                 std::uint64_t window_ns) {
  window->widen_ns -= window->widen_ns * std::min(passed, kNarrowPackets) / kNarrowPackets;
  const bool dry = passed != 0 && window->progress == real && window->held_back;
  if (dry && window->predicted_ns[(real - 1) % kTrackedPackets] < window_ns / kShortPart) {
    window->widen_ns += window_ns / kWidenPart;
  }
  window->widen_ns = std::min(window->widen_ns, window_ns * kWidenMost);
}

}  // namespace

// Packets that the packet processor is done with. It may advance its read index in groups only, but
// it invalidates each packet's header; a window smaller than such a group would otherwise never
// move.
std::uint64_t WindowGate::Progress(const ManagedQueue& queue, std::uint64_t real) const {
  if (queue.intercept != nullptr) return std::min(queue.intercept->Taken(), real);
  std::uint64_t progress = api_.load_read_index_scacquire(queue.queue);
  const std::uint64_t end = std::min(real, progress + kTrackedPackets);
  while (progress < end && !IsValidHeader(LoadHeader(queue, progress))) ++progress;
  return progress;
}

void WindowGate::Learn(WindowState* window, std::uint64_t progress, std::uint64_t real,
                       std::uint64_t now_ns) {
  if (!window->tracking) {
    *window = WindowState{.tracked_from = real,
                          .progress = progress,
                          .head_began_ns = now_ns,
                          .head_seen_ns = now_ns,
                          .moved_ns = now_ns,
                          .held_mark = window->held_mark,
                          .closed_since_us = window->closed_since_us,
                          .tracking = true,
                          .learning = true,
                          .held_back = false,
                          .widen_ns = window->widen_ns,
                          .context = {}};
    return;
  }
  const bool learning = window->learning;
  if (!learning) window->head_began_ns = now_ns;
  window->learning = true;
  if (progress == window->progress) return;
  const std::uint64_t first = std::max(window->progress, window->tracked_from);
  std::uint64_t predicted = 0;
  for (std::uint64_t i = first; i < progress; ++i) {
    predicted += window->predicted_ns[i % kTrackedPackets];
  }
  // Several packets passed between two looks: they share the time in the proportion expected of
  // them.
  if (learning && window->progress >= window->tracked_from && predicted > 0) {
    double scale =
        static_cast<double>(now_ns - window->head_began_ns) / static_cast<double>(predicted);
    // Nobody saw when the last of them ended: they took this long at most.
    if (progress == real && window->held_back) scale = std::min(scale, 1.0);
    for (std::uint64_t i = first; i < progress; ++i) {
      const std::uint64_t at = i % kTrackedPackets;
      times_->Observe(window->kernel_key[at],
                      static_cast<std::uint64_t>(scale * window->predicted_ns[at]));
    }
  }
  window->exposed_ns -= std::min(window->exposed_ns, predicted);
  window->progress = progress;
  window->head_began_ns = window->head_seen_ns = window->moved_ns = now_ns;
}

std::uint64_t WindowGate::RemainingNs(const WindowState& window, std::uint64_t real,
                                      std::uint64_t now_ns) const {
  if (window.progress == real) return 0;
  const std::uint64_t head = window.predicted_ns[window.progress % kTrackedPackets];
  return window.exposed_ns - std::min({window.exposed_ns, head, now_ns - window.head_began_ns});
}

// What the hardware still has to do of this queue, as far as it was published. Packets from before
// the queue was armed are looked up by themselves: what ran before them is not known.
PredictedRest WindowGate::RestOf(ManagedQueue* queue, std::uint64_t now_ns) {
  int tries = 0;
  while (queue->lock.exchange(1, std::memory_order_seq_cst) != 0) {
    if (++tries > kRestTriesMax) return {};
    sched_yield();
  }
  const PredictedRest rest = RestLocked(*queue, now_ns);
  queue->lock.store(0, std::memory_order_seq_cst);
  if (queue->again.load(std::memory_order_seq_cst) != 0) {
    GateLook ignored;
    Look(queue, &ignored);
  }
  return rest;
}

PredictedRest WindowGate::RestLocked(const ManagedQueue& queue, std::uint64_t now_ns) const {
  const WindowState& window = queue.window;
  const std::uint64_t real = api_.load_write_index_relaxed(queue.queue);
  const std::uint64_t progress = Progress(queue, real);
  const std::uint64_t end = std::min(real, progress + kTrackedPackets);
  const bool tracked = window.tracking && progress >= window.tracked_from;
  PredictedRest rest;
  KernelContext context;
  for (std::uint64_t i = progress; i < end; ++i) {
    const KernelKey key = tracked ? window.kernel_key[i % kTrackedPackets]
                                  : times_->KeyOf(PacketAt(queue, i), &context);
    const KernelEstimate estimate = times_->EstimateOf(key);
    std::uint64_t ns = tracked ? window.predicted_ns[i % kTrackedPackets] : estimate.ns;
    rest.spread_ns += estimate.spread_ns;
    rest.seen = rest.seen && estimate.seen;
    if (tracked && i == window.progress) {
      // One that has outlived its prediction is taken to need an eighth of it more.
      const std::uint64_t elapsed = now_ns - std::min(now_ns, window.head_seen_ns);
      ns = ns > elapsed + ns / 8 ? ns - elapsed : ns / 8;
    }
    rest.ns += ns;
  }
  return rest;
}

// Remembers what the packet is and returns what it is expected to take.
std::uint64_t WindowGate::Track(ManagedQueue* queue, std::uint64_t index) {
  const unsigned char* packet = queue->ring + (index & (queue->ring_packets - 1)) * 64;
  const KernelKey key = times_->KeyOf(packet, &queue->window.context);
  const std::uint64_t ns = std::min<std::uint64_t>(times_->PredictNs(key), UINT32_MAX);
  queue->window.kernel_key[index % kTrackedPackets] = key;
  queue->window.predicted_ns[index % kTrackedPackets] = static_cast<std::uint32_t>(ns);
  queue->window.exposed_ns += ns;
  return ns;
}

std::uint64_t WindowGate::WindowEnd(ManagedQueue* queue, std::uint64_t real,
                                    std::uint64_t announced, std::uint64_t window_ns,
                                    std::uint64_t now_ns, GateLook* look) {
  WindowState& window = queue->window;
  const std::uint64_t progress = Progress(*queue, real);
  const std::uint64_t passed = window.tracking ? progress - window.progress : 0;
  Learn(&window, progress, real, now_ns);
  AdaptWindow(&window, real, passed, window_ns);
  window_ns += window.widen_ns;
  window.held_back = false;
  if (progress < window.tracked_from) {
    // What was exposed before the queue was armed has to pass first; its length is unknown.
    if (real < announced) look->poll_ns = kPollUntrackedNs;
    return real;
  }
  if (progress == real) window.head_began_ns = window.head_seen_ns = window.moved_ns = now_ns;
  const std::uint64_t end =
      std::min({announced, progress + kTrackedPackets,
                api_.load_read_index_relaxed(queue->queue) + queue->ring_packets});
  std::uint64_t remaining = RemainingNs(window, real, now_ns);
  std::uint64_t at = real;
  while (at < end && (remaining < window_ns || at == progress) &&
         IsValidHeader(LoadHeader(*queue, at))) {
    remaining += Track(queue, at++);
  }
  if (at == real && real < end && now_ns - window.moved_ns > kWatchdogNs &&
      IsValidHeader(LoadHeader(*queue, at))) {
    Track(queue, at++);
    window.moved_ns = now_ns;
  }
  window.held_back = at < end && IsValidHeader(LoadHeader(*queue, at));
  if (at < announced) {
    look->poll_ns = PollNs(remaining, window_ns);
    if (progress < at) {
      look->poll_ns = std::min(look->poll_ns, HeadPollNs(window, progress, now_ns, window_ns));
    }
  }
  return at;
}

}  // namespace xsched_hsa

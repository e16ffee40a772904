// preemptor_batch.cc: several queues suspended, and resumed, in one runlist cycle.
#include <cerrno>
#include <cstring>

#include "clock.h"
#include "log.h"
#include "preemptor.h"
#include "trace.h"

namespace xsched_hsa {

// False: one by one, then. A single queue needs no debugger's interface.
bool Preemptor::SuspendTogether(Arena* arena, const Outranked& outranked) {
  std::uint32_t ids[kCandidatesMax];
  std::uint32_t count = 0;
  const auto takes_part = [](const Candidate& candidate) {
    return candidate.rest_ns != 0 && candidate.queue->restricted.restriction == kUnrestricted;
  };
  for (std::uint32_t i = 0; i < outranked.count; ++i) {
    const Candidate& candidate = outranked.list[i];
    if (takes_part(candidate)) ids[count++] = candidate.queue->restricted.kfd.id;
  }
  if (count < 2 || !CanBatch()) return false;
  const std::uint64_t began_ns = NowNs();
  const int error = Timed(arena, kfd_->SuspendBatch(ids, count), began_ns);
  // ENODEV: one of them has just been destroyed.
  if (error != 0 && error != ENODEV) {
    batch_refused_ = true;
    Log(LogLevel::kWarn,
        "the driver refuses to suspend %u queues at once: %s; they are suspended one by one from "
        "now "
        "on, as without XSCHED_HSA_DEBUG_TRAP=1",
        count, strerrordesc_np(error));
  }
  // Some of them may be suspended, and would stay so: an update of one does not end that. Where the driver does not
  // resume them either they count as suspended, and are resumed with the others.
  if (error != 0) {
    const int undone = kfd_->ResumeBatch(ids, count);
    if (undone == 0 || undone == ENODEV || IsWithoutEffect(error)) return false;
  }
  for (std::uint32_t i = 0; i < outranked.count; ++i) {
    const Candidate& candidate = outranked.list[i];
    if (!takes_part(candidate)) continue;
    candidate.queue->restricted.batched = true;
    candidate.slot->suspends.fetch_add(1, std::memory_order_relaxed);
    SetRestriction(candidate, kSuspended);
    TraceQueue(*candidate.queue, candidate.slot, kTraceSuspend, 0, NowNs() - began_ns);
  }
  return true;
}

void Preemptor::ResumeTogether(Arena* arena, ManagedQueue* const* queues, std::uint32_t count) {
  std::uint32_t ids[kCandidatesMax];
  for (std::uint32_t i = 0; i < count; ++i) ids[i] = queues[i]->restricted.kfd.id;
  const std::uint64_t began_ns = NowNs();
  const int error = kfd_->ResumeBatch(ids, count);
  const std::uint64_t took_ns = NowNs() - began_ns;
  arena->cycles_ns += took_ns;
  for (std::uint32_t i = 0; i < count; ++i) {
    QueueSlot* slot = queues[i]->slot.load(std::memory_order_acquire);
    if (error == 0) {
      Lifted(queues[i], slot, took_ns);
    } else {
      Lift(arena, queues[i], slot);  // one of them may be gone: that must not keep the others
    }
  }
}

}  // namespace xsched_hsa

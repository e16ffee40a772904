// dispatcher.h: gives workgroups of the pipes' dispatches to CUs, and takes them off again.
//
// Why        Contention happens here. Each XCC hands out its share of a dispatch in order: the head
//            workgroup waits for its SE (round-robin over the SEs that the CU mask leaves), and
//            takes the CU with the fewest waves there that has room. A slot that becomes free goes
//            to the highest pipe priority whose head fits, else round-robin over the pipes; waves
//            that come back from a save area go first.
// Threads    none of its own; called by HwsDevice only.
// Ownership  dispatches are its own; queues are borrowed until DropQueue.
// Errors     nothing fails here. A dispatch that fits no CU, or whose queue has no CU in an XCC,
//            waits for ever, as on hardware.
// See        bundle.h for what a resident stands for
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "lone_runs.h"
#include "queue_state.h"

namespace virtual_gpu {

inline constexpr std::uint32_t kPipesMax = 32;

class Dispatcher {
 public:
  Dispatcher(const DeviceParams& params, const Geometry& geometry);

  // Dispatches. Launching happens while a dispatch streams on a pipe.
  std::uint32_t AddDispatch(Queue* queue, const Packet& packet, TimeNs now);
  const Dispatch& dispatch(std::uint32_t id) const { return dispatches_[id]; }
  void RemoveDispatch(std::uint32_t id);
  void StartStream(std::uint32_t pipe, std::uint32_t dispatch, std::uint32_t priority, TimeNs now);
  void StopStream(std::uint32_t pipe, TimeNs now);

  TimeNs next_time() const { return std::min(cus_.next_time(), bulk_next_); }
  void ProcessNext();  // the event at next_time()

  // Dispatches whose last workgroup was launched, or finished, since the caller last looked.
  bool HasOutcomes() const { return !launched_.empty() || !completed_.empty(); }
  std::vector<std::uint32_t>& launched() { return launched_; }
  std::vector<std::uint32_t>& completed() { return completed_; }
  void ReportDone();  // WorkgroupsDone for what finished since the last call
  void ReportDone(std::uint32_t dispatch);

  // Saves the running workgroups of one queue, or of all (null), off the CUs.
  void Freeze(const Queue* queue, TimeNs now);
  // The queue is mapped: its saved workgroups go back to CUs as far as they fit.
  void Restore(Queue* queue, TimeNs now);
  // Without CWSR: splits all bundles so that nothing starts, and says when the last one ends.
  TimeNs Drain(TimeNs now);
  // Kills what the queue has anywhere, without reporting.
  void DropQueue(Queue* queue, TimeNs now);
  // Lays a dispatch that runs in bulk out on the CUs; before anybody looks at them.
  void LayOutBulk(TimeNs now) {
    now_ = now;
    Disturb();
  }
  // CUs have become free outside an event: tries all waiting heads.
  void FillAll(TimeNs now);

  const CuArray& cus() const { return cus_; }
  std::uint64_t saved_waves() const { return saved_waves_; }
  std::uint64_t saved_bytes() const { return saved_bytes_; }

 private:
  struct Stream {
    std::uint32_t dispatch = kNone;
    std::uint32_t priority = 0;
  };

  // The head workgroups of the pipes' dispatches in one XCC. Derived from pools, save areas, masks
  // and round-robin positions; UpdateHead after each change of those.
  struct Heads {
    std::uint32_t ready = 0;                   // bit per pipe: there is one
    std::array<std::uint8_t, kPipesMax> se{};  // per pipe, if ready: waits for this SE; see at_se_
  };

  // placing (dispatcher.cc)
  void UpdateHead(std::uint32_t pipe, std::uint32_t xcc);
  void UpdateHeads(std::uint32_t dispatch, std::uint32_t xcc) {
    if (dispatches_[dispatch].pipe != kNone) UpdateHead(dispatches_[dispatch].pipe, xcc);
  }
  bool HeadReady(std::uint32_t pipe, std::uint32_t xcc) const {
    return heads_[xcc].ready >> pipe & 1;
  }
  bool Allowed(const Queue& queue, std::uint32_t cu) const {
    const Cu& c = cus_.at(cu);
    return queue.mask.se_bits[c.se_flat] & c.bit;
  }
  std::uint32_t PickCu(const Dispatch& dispatch, std::uint32_t xcc, std::uint32_t se) const;
  std::uint32_t PickPipe(std::uint32_t cu) const;
  bool TryHead(std::uint32_t pipe, std::uint32_t xcc);
  void AdvanceHead(std::uint32_t pipe, std::uint32_t xcc, std::uint32_t stop_se);
  void Place(std::uint32_t pipe, std::uint32_t xcc, std::uint32_t cu);
  void FillCu(std::uint32_t cu);
  bool Contended(std::uint32_t pipe, std::uint32_t cu) const;
  void Waits(std::uint32_t pipe, std::uint32_t xcc, std::uint32_t se);
  [[gnu::noinline]] void RetryReturned();

  // residents (residents.cc)
  void AddResident(std::uint32_t cu, Resident resident, double finish_v);
  void RemoveResident(std::uint32_t cu, std::uint32_t i);
  // On one CU, or, in bulk, on many (kNone).
  void Finished(std::uint32_t dispatch, std::uint64_t count, bool first, std::uint32_t cu);
  void CheckLaunched(std::uint32_t dispatch);
  void ReturnToPool(std::uint32_t dispatch, std::uint32_t xcc, std::uint64_t count);
  double RoundsBefore(const Dispatch& dispatch) const;
  [[gnu::noinline]] void SplitInPlace(std::uint32_t cu, std::uint32_t i);
  [[gnu::noinline]] void Merge(std::uint32_t dispatch, std::uint32_t cu, const Shape& shape);
  bool Reclaim(std::uint32_t cu);
  [[gnu::noinline]] bool ReclaimFor(std::uint32_t dispatch, std::uint32_t xcc);
  void Save(std::uint32_t cu, std::uint32_t i);
  [[gnu::noinline]] void RestoreOn(std::uint32_t cu);
  void RestoreInto(Queue* queue, std::uint32_t xcc, std::uint32_t only_cu);
  std::uint32_t CuForSaved(const Queue& queue, const SavedWorkgroup& saved, std::uint32_t xcc,
                           std::uint32_t only_cu) const;

  // one dispatch alone on the device (bulk.cc)
  bool IsAlone(std::uint32_t dispatch) const;
  bool StartAlone(std::uint32_t dispatch);
  double BulkRounds(const Dispatch& dispatch, std::uint32_t xcc) const;
  void BulkLaunched();
  [[gnu::noinline]] void ProcessBulk();
  void EndBulk();
  void Disturb();
  void LayOut(std::uint32_t dispatch, std::uint32_t xcc, double elapsed, double whole);
  void LayOutOn(std::uint32_t cu, std::uint32_t dispatch, std::uint64_t slots, std::uint64_t rounds,
                double round_ns, double phase);

  const Geometry& geometry_;
  Bundler bundler_;
  Random random_;
  EventBudget budget_;
  CuArray cus_;
  TimeNs now_ = 0;
  std::vector<Dispatch> dispatches_;
  std::vector<std::uint32_t> free_, dirty_, launched_, completed_;
  std::vector<Stream> streams_;
  std::uint32_t active_ = 0;          // bit per pipe that streams
  std::vector<Heads> heads_;          // per XCC
  std::vector<std::uint32_t> at_se_;  // per SE of the device: bit per pipe whose head waits for it
  std::vector<std::uint32_t> last_pipe_;  // per XCC: served last, for round-robin
  TimeNs calm_ns_;
  std::vector<TimeNs> contended_at_;     // per XCC: when somebody last had to wait
  std::vector<Queue*> restoring_;        // mapped queues with saved workgroups that did not fit
  std::vector<double> left_;             // scratch for splits
  std::vector<std::uint64_t> returned_;  // dispatch << 8 | xcc: rounds came back to its pool
  std::uint64_t saved_waves_ = 0, saved_bytes_ = 0;
  std::uint32_t resident_slots_ = 0;  // workgroups on all CUs

  LoneRuns lone_runs_;
  std::uint32_t lone_ = kNone;  // has had the device to itself since it started
  TimeNs lone_since_ = 0;
  std::uint32_t bulk_ = kNone;  // lone_, and not laid out on the CUs
  std::uint32_t bulk_slots_ = 0;
  TimeNs bulk_end_ = 0;
  TimeNs bulk_next_ = kNever;  // its last launch, then its end
};

}  // namespace virtual_gpu

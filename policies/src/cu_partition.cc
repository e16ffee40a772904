// cu_partition.cc: each program has compute units of its own, and nobody waits for anybody.
//
// The units of the GPU are dealt out by rows: one unit of each shader array, so that every engine of
// every XCC keeps as many and no kernel meets an engine without any. Programs with a share get it,
// rounded down to rows but at least one; the rest goes to those without, by weight. A program's rows
// change only when a program comes, goes or is given another class, since each change takes every
// queue of the GPU off for a runlist cycle.
//
// What it does not divide: memory bandwidth, caches and the packet processors. What it wastes: rows of
// a program that is idle. Where programs are idle much of the time, strict-priority's squeezing is the
// better one.
//
// More programs than rows: they share rows in turn. A GPU whose units are not known, or a queue whose
// mask can't be set, is left as it is.
//
// Parameters read: cap_period_ms, window_us, linger_us (for caps).
#include <algorithm>

#include "levels.h"
#include "policies_list.h"

namespace xsched_hsa {
namespace {

struct Part {
  std::size_t first = 0, last = 0;
  std::uint32_t share_permille = 0, weight = 100;
  std::uint32_t row = 0, rows = 0;
};

std::vector<Part> FindParts(const Snapshot& snapshot) {
  std::vector<Part> parts;
  for (std::size_t first = 0, last; first < snapshot.queues.size(); first = last) {
    last = EndOfSession(snapshot, first);
    const auto begin = snapshot.queues.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end = snapshot.queues.begin() + static_cast<std::ptrdiff_t>(last);
    if (std::none_of(begin, end, [](const QueueView& queue) { return queue.controllable; })) {
      continue;
    }
    parts.push_back({first, last, begin->share_permille, std::max(begin->weight, 1u)});
  }
  return parts;
}

// Rows for those of `parts` with a share, then for the others by weight; each at least one. What
// rounding leaves goes to the first ones.
void DealOut(std::span<Part> parts, std::uint32_t rows) {
  std::uint32_t left = rows, unshared = 0;
  std::uint64_t weights = 0;
  for (const Part& part : parts) {
    if (part.share_permille != 0) continue;
    ++unshared;
    weights += part.weight;
  }
  auto waiting = static_cast<std::uint32_t>(parts.size());
  for (Part& part : parts) {
    if (part.share_permille == 0) continue;
    --waiting;
    const std::uint32_t wanted = std::max(rows * part.share_permille / 1000, 1u);
    part.rows = std::min(wanted, left - waiting);
    left -= part.rows;
  }
  const std::uint32_t for_unshared = left;
  for (Part& part : parts) {
    if (part.share_permille != 0) continue;
    --waiting;
    const auto wanted =
        static_cast<std::uint32_t>(std::uint64_t{for_unshared} * part.weight / weights);
    part.rows = std::min(std::max(wanted, 1u), left - waiting);
    left -= part.rows;
  }
  for (Part& part : parts) {
    if (left == 0 || unshared == 0) break;
    if (part.share_permille != 0) continue;
    ++part.rows;
    --left;
  }
  std::uint32_t row = 0;
  for (Part& part : parts) {
    part.row = row;
    row += part.rows;
  }
}

class CuPartition final : public Policy {
 public:
  explicit CuPartition(const PolicyParams& params) : params_(params) {}
  std::string_view Name() const override { return "cu-partition"; }

  void Decide(const Snapshot& snapshot, Answer* answer) const override {
    answer->Reset(snapshot.queues.size());
    for (std::size_t i = 0; i < snapshot.queues.size(); ++i) {
      answer->queues[i].memory = snapshot.queues[i].memory;
    }
    const std::uint32_t step = snapshot.unit_step;
    const std::uint32_t rows = step != 0 ? snapshot.compute_units / step : 0;
    std::vector<Part> parts = FindParts(snapshot);
    if (rows >= 2 && parts.size() >= 2) {
      if (parts.size() <= rows) {
        DealOut(parts, rows);
      } else {
        for (std::size_t i = 0; i < parts.size(); ++i) {
          parts[i].row = static_cast<std::uint32_t>(i % rows);
          parts[i].rows = 1;
        }
      }
      for (const Part& part : parts) Mask(snapshot, part, answer);
    }
    ApplyCaps(snapshot, params_, answer);
  }

 private:
  static void Mask(const Snapshot& snapshot, const Part& part, Answer* answer) {
    for (std::size_t i = part.first; i < part.last; ++i) {
      if (!snapshot.queues[i].controllable) continue;
      QueueIntent& intent = answer->queues[i].intent;
      intent.preemption.squeeze = true;  // masks are allowed
      intent.standing_first = part.row * snapshot.unit_step;
      intent.standing_units = part.rows * snapshot.unit_step;
    }
  }

  const PolicyParams params_;
};

}  // namespace

std::unique_ptr<Policy> MakeCuPartition(const PolicyParams& params) {
  return std::make_unique<CuPartition>(params);
}

}  // namespace xsched_hsa

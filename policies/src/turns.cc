#include "turns.h"

#include <algorithm>
#include <cstdlib>

#include "levels.h"
#include "memory.h"

namespace xsched_hsa {
namespace {

constexpr std::int64_t kAskMinUs = 500;
constexpr std::int64_t kStallSlices = 4;

bool Belongs(const Contender& contender, const QueueView& queue) {
  return queue.controllable && queue.priority == contender.priority;
}

void Take(const QueueView& queue, Contender* contender) {
  contender->active = contender->active || queue.active;
  contender->exposed = contender->exposed || (queue.exposed && !queue.suspended);
  contender->weight = std::max(queue.weight, 1u);
  if (queue.deadline_us != 0 &&
      (contender->deadline_us == 0 || queue.deadline_us < contender->deadline_us)) {
    contender->deadline_us = queue.deadline_us;
    contender->request_us = queue.request_us;
    contender->burst_used_us = queue.burst_used_us;
  }
  // All of a contender's queues remember the same; a new one nothing yet.
  contender->turn_began_us = std::max(contender->turn_began_us, Word(queue, kTurnBeganUs));
  contender->turn_used_us = std::max(contender->turn_used_us, Word(queue, kTurnUsedUs));
  contender->last_turn_us = std::max(contender->last_turn_us, Word(queue, kLastTurnUs));
  if (std::abs(Word(queue, kVirtualUs)) > std::abs(contender->virtual_us)) {
    contender->virtual_us = Word(queue, kVirtualUs);
  }
}

std::vector<Contender> FindContenders(const Snapshot& snapshot) {
  std::vector<Contender> contenders;
  for (std::size_t first = 0, last; first < snapshot.queues.size(); first = last) {
    last = EndOfSession(snapshot, first);
    const std::size_t own = contenders.size();
    for (std::size_t i = first; i < last; ++i) {
      const QueueView& queue = snapshot.queues[i];
      if (!queue.controllable) continue;
      std::size_t at = own;
      while (at < contenders.size() && contenders[at].priority != queue.priority) ++at;
      if (at == contenders.size()) {
        contenders.push_back({.first = first, .last = last, .priority = queue.priority});
        contenders.back().used_us = UsedTogether(snapshot, first, last);
      }
      Take(queue, &contenders[at]);
    }
  }
  return contenders;
}

class Round {
 public:
  Round(const Snapshot& snapshot, const PolicyParams& params, const TurnOrder& order,
        Answer* answer)
      : snapshot_(snapshot), params_(params), order_(order), answer_(answer) {}

  // `level`: the contenders of one priority.
  void Run(std::span<Contender*> level) {
    if (level.size() < 2) return;
    order_.Prepare(snapshot_, level);
    for (Contender* contender : level)
      ForEachQueue(*contender, [&](QueueAnswer& own) {
        if (!own.intent.armed) {
          // Nobody urgent waits for the window, only the next turn.
          ArmForReport(params_, &own.intent);
          own.intent.window_us = std::max(params_.window_us, params_.slice_us / 8);
        }
        own.intent.report = true;
      });
    const auto runnable = static_cast<std::uint32_t>(
        std::count_if(level.begin(), level.end(), [](const Contender* c) { return c->active; }));
    if (runnable <= params_.concurrent) {
      // Nobody to wait for. A turn begins when somebody else comes.
      for (Contender* contender : level) {
        if (contender->turn_began_us != 0) EndTurn(contender);
      }
    } else {
      Choose(level);
    }
    for (Contender* contender : level) Remember(*contender);
  }

 private:
  template <typename Function>
  void ForEachQueue(const Contender& contender, Function function) {
    for (std::size_t i = contender.first; i < contender.last; ++i) {
      if (Belongs(contender, snapshot_.queues[i])) function(answer_->queues[i]);
    }
  }

  bool IsOver(const Contender& holder) const {
    return !holder.active || holder.turn_used_us >= static_cast<std::int64_t>(params_.slice_us);
  }
  void EndTurn(Contender* contender) {
    contender->turn_began_us = contender->turn_used_us = 0;
    contender->last_turn_us = static_cast<std::int64_t>(snapshot_.now_us);
  }

  void Choose(std::span<Contender*> level) {
    std::uint32_t turns = 0;
    for (Contender* contender : level) {
      if (contender->turn_began_us == 0) continue;
      contender->turn_used_us += static_cast<std::int64_t>(contender->used_us);
      const auto now = static_cast<std::int64_t>(snapshot_.now_us);
      // While something urgent keeps it waiting, its turn stands still.
      const bool outranked = snapshot_.level > static_cast<std::uint32_t>(contender->priority) + 1;
      if (outranked) contender->turn_began_us = now;
      // A stopped program, or a layer that lies, uses nothing: it pays for its turn all the same.
      const std::int64_t stall_us = kStallSlices * params_.slice_us + params_.turn_tail_us;
      const std::int64_t lasted_us = now - contender->turn_began_us;
      if (lasted_us >= stall_us && contender->virtual_us > 0) {
        const std::int64_t unused_us =
            std::max<std::int64_t>(lasted_us - contender->turn_used_us, 0);
        contender->virtual_us += unused_us * 100 / contender->weight;
      }
      const bool beaten = std::any_of(level.begin(), level.end(), [&](const Contender* other) {
        return other->active && other->turn_began_us == 0 &&
               order_.Interrupts(snapshot_, *other, *contender);
      });
      if (IsOver(*contender) || beaten || lasted_us >= stall_us || turns >= params_.concurrent) {
        EndTurn(contender);
      } else {
        ++turns;
      }
    }
    for (; turns < params_.concurrent; ++turns) {
      Contender* next = nullptr;
      for (Contender* contender : level) {
        if (!contender->active || contender->turn_began_us != 0) continue;
        if (next == nullptr || order_.IsBefore(snapshot_, *contender, *next)) next = contender;
      }
      if (next == nullptr) break;
      next->turn_began_us = static_cast<std::int64_t>(snapshot_.now_us);
    }
    for (Contender* contender : level) Hold(level, *contender);
  }

  void Hold(std::span<Contender*> level, const Contender& contender) {
    bool hold = contender.turn_began_us == 0;
    if (!hold && contender.turn_used_us == 0 && !contender.exposed) {
      // Its turn begins on a device that the one before has left.
      const auto tail_end = contender.turn_began_us + params_.turn_tail_us;
      const bool tail = std::any_of(level.begin(), level.end(), [](const Contender* other) {
        return other->turn_began_us == 0 && other->exposed;
      });
      hold = tail && static_cast<std::int64_t>(snapshot_.now_us) < tail_end;
      if (hold) answer_->AskAt(static_cast<std::uint64_t>(tail_end));
    }
    if (!hold) {
      const std::int64_t left =
          static_cast<std::int64_t>(params_.slice_us) - contender.turn_used_us;
      answer_->AskAt(snapshot_.now_us + static_cast<std::uint64_t>(std::max(left, kAskMinUs)));
      return;
    }
    ForEachQueue(contender, [](QueueAnswer& own) { own.intent.hold = true; });
  }

  void Remember(const Contender& contender) {
    ForEachQueue(contender, [&](QueueAnswer& own) {
      Word(own, kTurnBeganUs) = contender.turn_began_us;
      Word(own, kTurnUsedUs) = contender.turn_used_us;
      Word(own, kLastTurnUs) = contender.last_turn_us;
      Word(own, kVirtualUs) = contender.virtual_us;
    });
  }

  const Snapshot& snapshot_;
  const PolicyParams& params_;
  const TurnOrder& order_;
  Answer* const answer_;
};

}  // namespace

void TakeTurns(const Snapshot& snapshot, const PolicyParams& params, const TurnOrder& order,
               Answer* answer) {
  std::vector<Contender> contenders = FindContenders(snapshot);
  std::vector<Contender*> sorted;
  sorted.reserve(contenders.size());
  for (Contender& contender : contenders) sorted.push_back(&contender);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Contender* a, const Contender* b) {
    return a->priority > b->priority;
  });
  Round round(snapshot, params, order, answer);
  for (std::size_t first = 0, last; first < sorted.size(); first = last) {
    last = first;
    while (last < sorted.size() && sorted[last]->priority == sorted[first]->priority) ++last;
    round.Run(std::span(sorted).subspan(first, last - first));
  }
}

}  // namespace xsched_hsa

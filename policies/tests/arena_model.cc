#include "arena_model.h"

#include <algorithm>
#include <cstdlib>

namespace xsched_hsa::testing {
namespace {

constexpr std::uint64_t kUrgentAskUs = 12'000;
constexpr std::uint64_t kBacklog = 1'000'000'000;  // "always has work"

}  // namespace

Program& ArenaModel::Add(Program program) {
  program.view.session = static_cast<std::uint32_t>(programs_.size()) + 1;
  program.view.queue = program.view.session;
  if (!program.arrivals) program.work_us = kBacklog;
  programs_.push_back(std::make_unique<Program>(std::move(program)));
  running_.push_back(false);
  ask_ = true;
  return *programs_.back();
}

void ArenaModel::SwitchTo(std::unique_ptr<Policy> policy) {
  policy_ = std::move(policy);
  answer_.memory = {};
  for (QueueAnswer& own : answer_.queues) own.memory = {};
  ask_ = true;
}

double ArenaModel::Share(std::size_t i) const {
  double sum = 0;
  for (const auto& program : programs_) sum += program->received_us;
  return programs_[i]->received_us / sum;
}

bool ArenaModel::MayRun(std::size_t i) const {
  if (i >= answer_.queues.size()) return true;
  const QueueIntent& intent = answer_.queues[i].intent;
  if (intent.hold) return false;
  const int priority = std::max(programs_[i]->view.priority, intent.boost);
  return !intent.armed || level_ <= static_cast<std::uint32_t>(priority) + 1;
}

void ArenaModel::Decide() {
  std::vector<QueueView> views;
  for (std::size_t i = 0; i < programs_.size(); ++i) {
    Program& program = *programs_[i];
    QueueView view = program.view;
    view.active = program.work_us != 0;
    view.exposed = running_[i];
    view.pending_packets = program.work_us != 0;
    view.published_packets = static_cast<std::uint64_t>(program.received_us);
    const std::uint64_t before = program.view.used_us;
    view.used_us = program.used_us - before;
    program.view.used_us = program.used_us;
    if (program.relative_deadline_us != 0 && view.active) {
      view.deadline_us = program.waiting_since_us + program.relative_deadline_us;
      view.active_since_us = program.waiting_since_us;
    }
    if (i < answer_.queues.size()) view.memory = answer_.queues[i].memory;
    views.push_back(view);
  }
  Snapshot snapshot;
  snapshot.now_us = now_us_;
  snapshot.elapsed_us = asked_us_ == 0 ? 0 : now_us_ - asked_us_;
  snapshot.level = level_;
  snapshot.queues = views;
  snapshot.memory = answer_.memory;
  policy_->Decide(snapshot, &answer_);
  if (answer_.queues.size() != views.size()) std::abort();
  asked_us_ = now_us_;
  ++decisions_;
  ask_ = false;
}

void ArenaModel::Arrive(Program* program) {
  if (!program->arrivals) return;
  const std::uint64_t work = program->arrivals(now_us_);
  if (work == 0) return;
  if (program->work_us == 0) {
    program->waiting_since_us = now_us_;
    ask_ = true;
  }
  program->work_us += work;
}

void ArenaModel::Step() {
  level_ = 0;
  for (std::size_t i = 0; i < programs_.size(); ++i) {
    Arrive(programs_[i].get());
    const bool raises = i < answer_.queues.size() && answer_.queues[i].intent.raise;
    if (raises && programs_[i]->work_us != 0) {
      level_ = std::max(level_, static_cast<std::uint32_t>(programs_[i]->view.priority) + 1);
    }
  }
  const bool due = answer_.next_us && *answer_.next_us <= now_us_;
  const bool urgent = answer_.while_urgent && level_ != 0 && now_us_ - asked_us_ >= kUrgentAskUs;
  if (ask_ || due || urgent) Decide();
  std::size_t count = 0;
  for (std::size_t i = 0; i < programs_.size(); ++i) {
    const bool ran = running_[i];
    running_[i] = programs_[i]->work_us != 0 && MayRun(i);
    if (ran && !running_[i]) ask_ = true;  // the last exposed packet has been taken
    count += running_[i];
  }
  for (std::size_t i = 0; i < programs_.size(); ++i) {
    Program& program = *programs_[i];
    if (!running_[i]) {
      if (program.work_us != 0) {
        program.waits_us += kStepUs;
        program.waited_max_us = std::max(program.waited_max_us, program.waits_us);
      }
      continue;
    }
    program.waits_us = 0;
    program.used_us += kStepUs;
    const double got = static_cast<double>(kStepUs) / static_cast<double>(count);
    program.received_us += got;
    if (!program.arrivals) continue;
    program.work_us -= std::min<std::uint64_t>(program.work_us, static_cast<std::uint64_t>(got));
    if (program.work_us != 0) continue;
    const std::uint64_t took = now_us_ + kStepUs - program.waiting_since_us;
    program.latencies_us.push_back(took);
    if (program.relative_deadline_us != 0 && took > program.relative_deadline_us) ++program.missed;
    ask_ = true;
  }
  now_us_ += kStepUs;
}

void ArenaModel::Run(std::uint64_t for_us) {
  for (const std::uint64_t end_us = now_us_ + for_us; now_us_ < end_us;) Step();
}

}  // namespace xsched_hsa::testing

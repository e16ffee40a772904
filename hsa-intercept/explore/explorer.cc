#include "explorer.h"

#include <cstring>

namespace explore {

namespace {
constexpr std::size_t kStackBytes = 128 * 1024;
constexpr std::uint64_t kStartNs = 1'000'000'000;
constexpr std::uint64_t kPointsAPreemption = 40;
constexpr std::uint64_t kForGoodNs = 1'000'000'000;
constexpr std::uint64_t kPointsInARow = 3000, kPointsMax = 300'000;
}  // namespace

Explorer* Explorer::active = nullptr;

Explorer::Result Explorer::Explore(const Limits& limits,
                                   const std::function<Check(Explorer*)>& scenario) {
  Explorer explorer(limits);
  Result result;
  active = &explorer;
  do {
    explorer.fibers_.clear();
    explorer.switches_.clear();
    explorer.at_ = 0;
    explorer.preempted_ = 0;
    explorer.points_ = explorer.in_a_row_ = 0;
    explorer.now_ns_ = kStartNs;
    explorer.failure_.clear();
    const Check check = scenario(&explorer);
    explorer.Run();
    ++result.executions;
    std::string wrong = explorer.failure_.empty() ? check() : explorer.failure_;
    if (!wrong.empty()) {
      result.failure = wrong + "; threads in turn:" + explorer.Schedule();
      break;
    }
    result.complete = limits.seed == 0 && !explorer.NextPath();
  } while (!result.complete && result.executions < limits.executions);
  active = nullptr;
  return result;
}

void Explorer::Thread(const char* name, std::function<void()> body) {
  if (stacks_.size() == fibers_.size()) stacks_.push_back(std::make_unique<char[]>(kStackBytes));
  auto fiber = std::make_unique<Fiber>();
  fiber->name = name;
  fiber->body = std::move(body);
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = stacks_[fibers_.size()].get();
  fiber->context.uc_stack.ss_size = kStackBytes;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, &Explorer::Enter, 0);
  fibers_.push_back(std::move(fiber));
}

void Explorer::Fail(const std::string& what) {
  if (failure_.empty()) failure_ = what;
}

void Explorer::Enter() {
  Explorer* const self = active;
  Fiber& fiber = *self->fibers_[static_cast<std::size_t>(self->current_)];
  fiber.body();
  self->Barrier();
  fiber.done = true;
  self->Reschedule();
}

void Explorer::Run() {
  current_ = -1;
  Reschedule();
  current_ = -1;
}

std::uint32_t Explorer::Choose(std::uint32_t options, bool preempts) {
  if (options <= 1) return 0;
  if (limits_.seed != 0) {
    // One preemption in so many points comes out near the number that is allowed.
    if (preempts && random_() % kPointsAPreemption != 0) return 0;
    return static_cast<std::uint32_t>(preempts ? 1 + random_() % (options - 1)
                                               : random_() % options);
  }
  if (at_ == path_.size()) path_.push_back({0, options});
  if (path_[at_].options != options) {
    Fail("the same choices led elsewhere: something of the execution before is left");
    return 0;
  }
  return path_[at_++].taken;
}

bool Explorer::NextPath() {
  while (!path_.empty() && path_.back().taken + 1 == path_.back().options) path_.pop_back();
  if (path_.empty()) return false;
  ++path_.back().taken;
  return true;
}

bool Explorer::IsReady(const Fiber& fiber) const {
  return !fiber.done &&
         (fiber.condition == nullptr || now_ns_ >= fiber.wake_ns || (*fiber.condition)());
}

void Explorer::SwitchTo(int next) {
  const int before = current_;
  current_ = next;
  in_a_row_ = 0;
  switches_.push_back(next);
  ucontext_t* const from =
      before >= 0 ? &fibers_[static_cast<std::size_t>(before)]->context : &main_;
  swapcontext(from, next >= 0 ? &fibers_[static_cast<std::size_t>(next)]->context : &main_);
}

// The current thread cannot go on: any that can, free of charge; else time passes; else it is over.
void Explorer::Reschedule() {
  std::uint32_t ready[16];
  for (;;) {
    std::uint32_t count = 0;
    std::uint64_t next_ns = kNever;
    deciding_ = true;
    for (std::uint32_t i = 0; i < fibers_.size() && failure_.empty(); ++i) {
      if (IsReady(*fibers_[i])) {
        ready[count++] = i;
      } else if (!fibers_[i]->done && fibers_[i]->wake_ns < next_ns) {
        next_ns = fibers_[i]->wake_ns;
      }
    }
    deciding_ = false;
    if (count != 0) {
      const int next = static_cast<int>(ready[Choose(count, false)]);
      if (next != current_) SwitchTo(next);
      return;
    }
    if (next_ns == kNever || !failure_.empty()) {
      if (current_ >= 0) SwitchTo(-1);
      return;
    }
    now_ns_ = next_ns;
  }
}

void Explorer::Point() {
  Explorer* const self = active;
  if (self == nullptr || self->current_ < 0 || self->deciding_) return;
  if (!self->failure_.empty()) return self->Reschedule();
  if (++self->points_ > kPointsMax) {
    self->Fail("it does not end");
    return self->Reschedule();
  }
  // Whoever spins does so until the machine runs somebody else.
  if (++self->in_a_row_ > kPointsInARow) return self->SwitchToNext();
  if (self->preempted_ == self->limits_.preemptions) return;
  int others[16];
  std::uint32_t count = 0;
  self->deciding_ = true;
  for (std::size_t i = 0; i < self->fibers_.size(); ++i) {
    if (static_cast<int>(i) != self->current_ && self->IsReady(*self->fibers_[i])) {
      others[count++] = static_cast<int>(i);
    }
  }
  self->deciding_ = false;
  const std::uint32_t choice = self->Choose(count + 1, true);
  if (choice == 0) return;
  ++self->preempted_;
  self->SwitchTo(others[choice - 1]);
}

void Explorer::SwitchToNext() {
  in_a_row_ = 0;
  Barrier();
  const auto count = static_cast<int>(fibers_.size());
  for (int i = 1; i < count; ++i) {
    const int next = (current_ + i) % count;
    deciding_ = true;
    const bool ready = IsReady(*fibers_[static_cast<std::size_t>(next)]);
    deciding_ = false;
    if (ready) return SwitchTo(next);
  }
}

void Explorer::WaitUntil(const std::function<bool()>& condition, std::uint64_t timeout_ns) {
  Barrier();
  Fiber& fiber = *fibers_[static_cast<std::size_t>(current_)];
  fiber.condition = &condition;
  // Whoever sleeps for an hour sleeps for good: it is over when nothing else is left.
  fiber.wake_ns = timeout_ns >= kForGoodNs ? kNever : now_ns_ + timeout_ns;
  Reschedule();
  fiber.condition = nullptr;
  fiber.wake_ns = kNever;
}

void Explorer::ForgetOthers() {
  Barrier();
  for (std::size_t i = 0; i < fibers_.size(); ++i) {
    if (static_cast<int>(i) != current_) fibers_[i]->done = true;
  }
}

void Explorer::Barrier() {
  if (current_ < 0) return;
  Fiber& fiber = *fibers_[static_cast<std::size_t>(current_)];
  for (const Store& store : fiber.stores) std::memcpy(store.address, &store.value, store.bytes);
  fiber.stores.clear();
}

void Explorer::Buffer(void* address, std::uint64_t value, std::size_t bytes) {
  fibers_[static_cast<std::size_t>(current_)]->stores.push_back({address, value, bytes});
}

bool Explorer::FromBuffer(const void* address, std::uint64_t* value) const {
  if (current_ < 0) return false;
  const auto& stores = fibers_[static_cast<std::size_t>(current_)]->stores;
  for (auto at = stores.rbegin(); at != stores.rend(); ++at) {
    if (at->address != address) continue;
    *value = at->value;
    return true;
  }
  return false;
}

std::string Explorer::Schedule() const {
  std::string text;
  for (const int next : switches_) {
    if (next >= 0) text += std::string(" ") + fibers_[static_cast<std::size_t>(next)]->name;
  }
  return text;
}

}  // namespace explore

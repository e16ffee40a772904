// explorer.h: runs a small concurrent scenario in every interleaving of its shared accesses.
//
// Why        A lost wake-up that needs one thread to stop between two instructions does not show in a
//            stress test. Here every access to an atomic is a point at which another thread may come
//            first, and a depth-first search tries them all, up to a number of preemptions (most
//            ordering mistakes need one or two). Stores that are not sequentially consistent may be
//            held back in a store buffer until the next full barrier, as x86 does.
// How        The code under test is compiled into the test with `atomic` renamed (explored_sources.h):
//            nothing of this is in the product.
// Threads    one; the scenario's threads are contexts of it. Time is virtual and moves only when all
//            of them wait.
// Limits     sequential consistency and store buffers; no reordering of loads (ARM, POWER).
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace explore {

inline constexpr std::uint64_t kNever = UINT64_MAX;

class Explorer {
 public:
  struct Limits {
    int preemptions = 2;
    std::uint64_t executions = 300'000;
    bool store_buffers = false;
    std::uint64_t seed = 0;  // not 0: so many random schedules, instead of all in order
  };
  struct Result {
    std::uint64_t executions = 0;
    bool complete = false;
    std::string failure;  // of the first execution that violates something, with its schedule
  };

  // `scenario` adds threads and returns what has to hold in the end: empty, or what is wrong.
  using Check = std::function<std::string()>;
  static Result Explore(const Limits& limits, const std::function<Check(Explorer*)>& scenario);

  void Thread(const char* name, std::function<void()> body);
  // Something is wrong in the middle of it.
  void Fail(const std::string& what);

  // From inside a thread.
  // The others are not there any more, wherever they are: what a fork child finds.
  void ForgetOthers();
  static void Point();
  void WaitUntil(const std::function<bool()>& condition, std::uint64_t timeout_ns = kNever);
  void Barrier();
  bool Buffers() const { return limits_.store_buffers && current_ >= 0; }
  void Buffer(void* address, std::uint64_t value, std::size_t bytes);
  // The value that this thread has stored there and nobody has seen yet.
  bool FromBuffer(const void* address, std::uint64_t* value) const;
  std::uint64_t now_ns() const { return now_ns_; }
  // Of the thread that runs; -1: none does, before and after an execution.
  int current() const { return current_; }

  static Explorer* active;  // null outside Explore

 private:
  struct Store {
    void* address;
    std::uint64_t value;
    std::size_t bytes;
  };
  struct Fiber {
    const char* name;
    std::function<void()> body;
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done = false;
    const std::function<bool()>* condition = nullptr;
    std::uint64_t wake_ns = kNever;
    std::vector<Store> stores;
  };
  struct Choice {
    std::uint32_t taken, options;
  };

  explicit Explorer(const Limits& limits) : limits_(limits), random_(limits.seed) {}
  static void Enter();
  void Run();
  std::uint32_t Choose(std::uint32_t options, bool preempts);
  bool IsReady(const Fiber& fiber) const;
  void SwitchTo(int next);
  void Reschedule();
  void SwitchToNext();
  bool NextPath();
  std::string Schedule() const;

  const Limits limits_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<std::unique_ptr<char[]>> stacks_;
  std::vector<Choice> path_;
  std::vector<int> switches_;
  std::size_t at_ = 0;
  int current_ = -1, preempted_ = 0;
  bool deciding_ = false;
  std::uint64_t now_ns_ = 0, points_ = 0, in_a_row_ = 0;
  std::string failure_;
  ucontext_t main_;
};

}  // namespace explore

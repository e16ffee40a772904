// queue-watch: how long queues stay held, squeezed or suspended once their controller is silent.
//
// Why        Fail-open has to be seen from outside and in host time: neither the programs nor the
//            controller can be asked while they are being stopped. The layer's own words in its
//            process page are read through /proc/PID/mem, about a thousand times a second.
// Input      lines: "device PID" (of virtual-gpud), "program PID", "gone PID", "stopped PID", "continued PID" (the program itself),
//            "silence PID SIGNAL" (stops or kills the controller here, so that no scheduler's turn
//            lies between the act and its time), "silent" (it has ended by itself), "renewing". The
//            end of the input ends it.
// Output     a line "silent" for each silence, and at the end one JSON line: the longest time of each
//            kind without a pause that a queue of a program that could run had, from the silence on,
//            or from the look before the first that saw it (a hung controller's first unanswered
//            raise begins a lease whenever it comes); how many silences and looks there were, and the
//            longest time between two looks, which says how busy the machine was; and for the longest of
//            each kind which queue it was, and what the threads of its program and of the device did from the
//            silence until it was over: whose thread was not let run explains it.
// Errors     a program that cannot be read (it has gone) is passed over.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "queue-ctl/shared_page.h"
#include "thread_times.h"

namespace {

using xsched_hsa::kQueuesMax;
using xsched_hsa::ProcessPage;
using xsched_hsa::QueueSlot;

constexpr int kLookMs = 1;

enum Kind : std::size_t { kHeld, kSqueezed, kMasked, kSuspended, kKinds };
constexpr const char* kNames[kKinds] = {"held", "squeezed", "masked", "suspended"};

std::uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

struct Watched {
  int memory = -1;
  std::uint64_t page = 0;  // where it has its process page; 0: nowhere
  bool stopped = false;
  std::uint64_t free_since_ns = 0;  // when it could run again
  // By kind and slot: since when, and of which queue. 0: it is not.
  std::vector<std::uint64_t> since_ns = std::vector<std::uint64_t>(kKinds * kQueuesMax);
  std::vector<std::uint32_t> serial = std::vector<std::uint32_t>(kQueuesMax);
  xsched_hsa::ProgramTimes threads;  // when the silence began
};

class Watch {
 public:
  void Command(const char* line) {
    char verb[16] = {};
    int pid = 0, signal = 0;
    std::sscanf(line, "%15s %d %d", verb, &pid, &signal);
    const std::string what = verb;
    if (what == "program") programs_[pid] = {};
    if (what == "device") device_pid_ = pid;
    if (what == "gone") Forget(pid);
    if (what == "stopped") programs_[pid].stopped = true;
    if (what == "continued") {
      programs_[pid].stopped = false;
      programs_[pid].free_since_ns = NowNs();
      std::fill(programs_[pid].since_ns.begin(), programs_[pid].since_ns.end(), 0);
    }
    if (what == "renewing") silent_since_ns_ = 0;
    if (what == "silence" || what == "silent") Silence(pid, signal);
  }

  void Look() {
    if (silent_since_ns_ == 0) return;
    ++looks_;
    const std::uint64_t now = NowNs();
    if (last_look_ns_ > silent_since_ns_) apart_ns_ = std::max(apart_ns_, now - last_look_ns_);
    for (Longest& longest : longest_) longest.was = std::exchange(longest.pid, 0);
    for (auto& [pid, program] : programs_) {
      if (program.page != 0 && !program.stopped) LookAt(pid, &program);
    }
    for (Longest& longest : longest_) Tell(&longest);
    last_look_ns_ = now;
  }

  void Report() const {
    std::printf("{\"silences\": %lu, \"looks\": %lu, \"apart_ms\": %.1f", silences_, looks_,
                Ms(apart_ns_));
    for (std::size_t kind = 0; kind < kKinds; ++kind) {
      const Longest& longest = longest_[kind];
      std::printf(", \"%s_ms\": %.1f, \"%s\": \"%s\"", kNames[kind], Ms(longest.ns), kNames[kind],
                  (longest.queue + longest.threads).c_str());
    }
    std::puts("}");
  }

 private:
  void Silence(int controller, int signal) {
    for (auto& [pid, program] : programs_) {
      FindPage(pid, &program);
      program.threads = xsched_hsa::TimesOf(pid);
      std::fill(program.since_ns.begin(), program.since_ns.end(), 0);
    }
    device_threads_ = xsched_hsa::TimesOf(device_pid_);
    signal_ = signal;
    silent_since_ns_ = NowNs();
    if (controller > 0) kill(controller, signal);
    ++silences_;
    std::puts("silent");
    std::fflush(stdout);
  }

  static double Ms(std::uint64_t ns) { return static_cast<double>(ns) / 1e6; }

  void Forget(int pid) {
    const auto at = programs_.find(pid);
    if (at == programs_.end()) return;
    if (at->second.memory >= 0) close(at->second.memory);
    programs_.erase(at);
  }

  // The newest one: what the layer has left behind is no longer a page.
  static void FindPage(int pid, Watched* program) {
    char name[64], line[512];
    std::snprintf(name, sizeof name, "/proc/%d/maps", pid);
    program->page = 0;
    std::FILE* maps = std::fopen(name, "r");
    if (maps == nullptr) return;
    while (std::fgets(line, sizeof line, maps) != nullptr) {
      if (std::strstr(line, "memfd:xsched-hsa-process") != nullptr) {
        program->page = std::strtoull(line, nullptr, 16);
      }
    }
    std::fclose(maps);
    if (program->memory >= 0) close(program->memory);
    std::snprintf(name, sizeof name, "/proc/%d/mem", pid);
    program->memory = open(name, O_RDONLY | O_CLOEXEC);
  }

  void LookAt(int pid, Watched* program) {
    static std::unique_ptr<QueueSlot[]> slots(new QueueSlot[xsched_hsa::kQueuesMax]);
    constexpr std::size_t kBytes = sizeof(QueueSlot) * xsched_hsa::kQueuesMax;
    const auto at = static_cast<off_t>(program->page + offsetof(ProcessPage, queues));
    if (pread(program->memory, static_cast<void*>(slots.get()), kBytes, at) !=
        static_cast<ssize_t>(kBytes)) {
      program->page = 0;
      return;
    }
    const std::uint64_t now = NowNs();
    for (std::uint32_t i = 0; i < xsched_hsa::kQueuesMax; ++i) {
      const QueueSlot& slot = slots[i];
      const bool live = slot.state.load() == xsched_hsa::kSlotLive;
      const std::uint32_t restriction = slot.restriction.load();
      const bool waits = slot.submitted_index.load() > slot.published_index.load();
      const bool is[kKinds] = {slot.gate_closed.load() != 0 && waits,
                               restriction == xsched_hsa::kSqueezed, slot.masked_units.load() != 0,
                               restriction == xsched_hsa::kSuspended};
      for (std::size_t kind = 0; kind < kKinds; ++kind) {
        std::uint64_t* since = &program->since_ns[kind * kQueuesMax + i];
        if (!live || !is[kind] || program->serial[i] != slot.serial) *since = 0;
        if (!live || !is[kind]) continue;
        // It may have been so since right after the last look.
        if (*since == 0)
          *since = std::max({silent_since_ns_, program->free_since_ns, last_look_ns_});
        if (now > *since) Note(static_cast<Kind>(kind), now - *since, pid, slot);
      }
      program->serial[i] = slot.serial;
    }
  }

  // The longest of a kind so far.
  struct Longest {
    std::uint64_t ns = 0;
    int pid = 0, was = 0;  // whose it grew with at this look, and at the last one
    std::string queue, threads;
  };

  void Note(Kind kind, std::uint64_t lasts, int pid, const QueueSlot& slot) {
    Longest& longest = longest_[kind];
    if (lasts <= longest.ns) return;
    longest.ns = lasts;
    longest.pid = pid;
    longest.queue = std::to_string(pid) + ":" + std::to_string(slot.serial) + ", order " +
                    std::to_string(slot.hold.load()) + ", mode " +
                    std::to_string(slot.mode.load()) + ", after " +
                    (signal_ == 0 ? "its end" : "signal " + std::to_string(signal_)) + ": ";
  }

  // Once more when it is over: a wait counts when it ends.
  void Tell(Longest* longest) {
    const auto at = programs_.find(longest->pid != 0 ? longest->pid : longest->was);
    if (at == programs_.end()) return;
    const auto program = xsched_hsa::TimesOf(at->first);
    const auto device = xsched_hsa::TimesOf(device_pid_);
    longest->threads = WhatTheThreadsDid(at->second.threads, program) +
                       "; device: " + WhatTheThreadsDid(device_threads_, device) + " " +
                       WhatTheHostDid(device_threads_, device);
  }

  std::map<int, Watched> programs_;
  std::uint64_t silent_since_ns_ = 0, silences_ = 0, looks_ = 0;
  Longest longest_[kKinds];
  int device_pid_ = 0;
  xsched_hsa::ProgramTimes device_threads_;        // when the silence began
  std::uint64_t last_look_ns_ = 0, apart_ns_ = 0;  // the longest time between two looks
  int signal_ = 0;                                 // that made the silence
};

}  // namespace

int main() {
  // Between the programs it watches it would look when they let it. Without the right to: as it is.
  setpriority(PRIO_PROCESS, 0, -15);
  Watch watch;
  std::string text;
  char buffer[4096];
  while (true) {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, kLookMs) > 0) {
      const ssize_t size = read(STDIN_FILENO, buffer, sizeof buffer);
      if (size <= 0) break;
      text.append(buffer, static_cast<std::size_t>(size));
      for (std::size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
        watch.Command(text.substr(0, end).c_str());
      }
    }
    watch.Look();
  }
  watch.Report();
  return 0;
}

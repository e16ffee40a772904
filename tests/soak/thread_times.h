// thread_times.h: how long each thread of a program ran, and how long it was ready and waited for a processor.
//
// Why        Whether something stood because of the program or because of the machine can't be told from how long it
//            stood: a thread that is ready and is not let run is the machine's.
// Threads    one at a time.
// Units      _ns, host time.
// Errors     a program or thread that has gone has no times.
// Source     Linux, /proc/PID/task/TID/schedstat (CONFIG_SCHED_INFO): time on a processor, time on a run queue, turns.
//            A wait counts when it ends. /proc/stat, the eighth figure of its first line: time that a virtual machine's
//            processors were ready and its host ran something else, of all of them, in ticks of 10 ms.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

namespace xsched_hsa {

struct ThreadTimes {
  std::string name;
  std::uint64_t ran_ns = 0, waited_ns = 0;
  char state = '?';  // R: runs or waits for a processor; S: sleeps
};

struct ProgramTimes {
  std::map<pid_t, ThreadTimes> threads;
  std::uint64_t machine_stood_ms = 0;
};
ProgramTimes TimesOf(pid_t pid);

// What happened between the two, in words: of the layer's threads, and of the other one that waited longest.
std::string WhatTheThreadsDid(const ProgramTimes& before, const ProgramTimes& after);
// How long the host kept processors from this machine between the two, in words; nothing where it did not.
std::string WhatTheHostDid(const ProgramTimes& before, const ProgramTimes& after);

}  // namespace xsched_hsa

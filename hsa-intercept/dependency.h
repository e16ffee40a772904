// dependency.h: what a queue's first packet waits for, so that preemption can't deadlock.
//
// Why        An urgent queue may wait, by a barrier packet, for a signal that a less urgent queue will
//            complete. Holding that one for the urgent one's sake would hold both for ever. So a queue
//            whose head is a barrier with an unmet dependency counts as follows (pump.cc):
//              the signal is completed by a packet of a queue of this process: that queue inherits the
//              waiting queue's level and goes on, the waiting one stays urgent (no third queue gets
//              between them);
//              otherwise (another process, or a host thread): the waiting queue has nothing that the
//              device could run, so it is not urgent until its head moves.
// Threads    the pump's.
// Safety     the program may destroy a signal as soon as the packet has passed, which may be now: a
//            signal's value is read through a pipe, which fails instead of faulting.
// Limits     a kernel that spins on memory is not seen as waiting; nor is a chain through another
//            process followed.
// Source     HSA Runtime 1.2, 2.9 (barrier packets); amd_signal_t and the barrier-value packet:
//            hsa/amd_hsa_signal.h, hsa/hsa_ext_amd.h
// See        docs/life-of-a-preemption.md, dependency_test.cc
#pragma once

#include <cstdint>

#include "managed_queue.h"
#include "window_gate.h"

namespace xsched_hsa {

inline constexpr int kDependenciesMax = 5;

struct Dependencies {
  std::uint64_t signals[kDependenciesMax] = {};  // unmet ones
  int count = 0;
};

// Reads memory that may have gone.
class SafeReader {
 public:
  constexpr SafeReader() = default;
  bool Read(std::uint64_t address, std::int64_t* value);
  // A fork child shares the pipe with its parent; it makes its own when it needs one.
  void Forget() { fds_[0] = fds_[1] = -1; }

 private:
  int fds_[2] = {-1, -1};
};

// The unmet dependencies of a 64-byte packet; none for anything but a barrier packet.
Dependencies UnmetDependencies(const unsigned char* packet, SafeReader* reader);

// Does the queue have unfinished work, and among what its ring holds a packet that completes this
// signal? Also true for one that was there a lap ago: then the queue goes on needlessly, no more.
bool MayComplete(const WindowGate& gate, const ManagedQueue& queue, std::uint64_t signal);

}  // namespace xsched_hsa

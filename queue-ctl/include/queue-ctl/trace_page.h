// trace_page.h: what a layer tells of its packets and queues while somebody records.
//
// Why        The counters of a slot say how often; a timeline needs when. Off, it costs the packet
//            path nothing: the mode word that every doorbell loads anyway says whether to write.
// Threads    writers: any thread of the program (a ticket from `made`, then the record). Reader: the
//            controller, a few hundred times a second.
// Ownership  part of the process page.
// Units      _ns: CLOCK_MONOTONIC nanoseconds, host time.
// Limits     kTraceEventsMax events between two looks of the reader; older ones are lost, and counted.
// Order      a writer stores `sequence` 0, the fields, then `sequence` = number + 1 (release). A reader
//            copies and looks at `sequence` again, as for Decision.
#pragma once

#include <atomic>
#include <cstdint>

namespace xsched_hsa {

inline constexpr std::uint32_t kTraceEventsMax = 4096;

// a and b by kind. Indexes count AQL packets.
enum TraceKind : std::uint32_t {
  kTracePublish = 1,  // a: from, b: to (exclusive)
  kTraceTaken = 2,    // a: read index
  kTraceClosed = 3,   // a: packets behind the gate
  kTraceOpened = 4,   // a: packets behind the gate
  kTraceSuspend = 5,  // b: the driver call, ns
  kTraceSqueeze = 6,  // a: compute units left, b: the driver call, ns
  kTraceLift = 7,     // b: the driver call, ns
  kTraceRaise = 8,    // a: level (0: it only reports), b: the GPU's index in the user page
  kTraceDrained = 9,
  kTraceRequestBegin = 10,  // a: the request's number, b: deadline, us from now; 0: none
  kTraceRequestEnd = 11,    // a: the request's number, b: 1 if it was late
  kTraceUrgency = 32,       // the controller's own: serial is the GPU's index, a: level
};

struct TraceEvent {
  std::atomic<std::uint64_t> sequence;
  std::atomic<std::uint64_t> at_ns;
  std::atomic<std::uint32_t> kind;
  std::atomic<std::uint32_t> serial;  // of the queue
  std::atomic<std::uint64_t> a, b;
};

struct alignas(64) TraceRing {
  std::atomic<std::uint32_t> on;    // the controller's: write
  std::atomic<std::uint64_t> made;  // so many so far; the last kTraceEventsMax are below
  TraceEvent events[kTraceEventsMax];
};

static_assert(sizeof(TraceEvent) == 40);

}  // namespace xsched_hsa

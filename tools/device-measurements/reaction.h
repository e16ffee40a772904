// reaction.h: how soon a less urgent queue stops publishing, and has left the device, after an urgent doorbell.
//
// Why        What a request waits for is the sum of the layer's reaction and of what the hardware still has to
//            do. Both end somewhere that only the device shows: packets that were published run.
// How        a controller of our own, this program again under the layer (xsched-hsa-ctl run), and in it two
//            queues: one that always has work, of low priority, and one of high priority with a train of
//            short kernels now and then. Meanwhile the low queue's write index as hardware sees it and its
//            finished workgroups are watched; what counts is when each moved last.
// Units      device microseconds from just before the urgent launch; 0: it never moved afterwards.
// Limits     the watching thread sees a change when it is running: on a busy host too late, never too early.
//            Both queues are of one program, so that one clock and one pair of eyes do; between programs
//            the same words in shared memory are read (tests/run --bench measures that, on the host).
// Errors     false and one line. That the low queue went on is a failed check.
#pragma once

#include <string>

#include "measurements.h"

namespace device_measurements {

// Outside of the layer: starts all that, and takes over what comes out.
bool MeasureReaction(const Bench& bench, Record* record, std::string* error);

// Inside: what the program does that MeasureReaction starts.
bool ReactInside(const Bench& bench, Record* record, std::string* error);

}  // namespace device_measurements

// storm_graphs.h: dependencies across queues and processes, each node once and none before what it
// waits for.
//
// Threads    one.
// Errors     one line on stderr, exit 1; a graph that does not end within a minute is an error.
#pragma once

#include <cstdint>

#include "hsa_device.h"

namespace soak {

// A chain over four queues, or a diamond (one, two beside each other, one), `times` times. 0 or 1.
int RunGraph(dual_model::HsaDevice* device, bool diamond, std::uint64_t times);

// One end of a relay over standard input and output; the first one begins.
int RunRelay(dual_model::HsaDevice* device, bool first, std::uint64_t times);

}  // namespace soak

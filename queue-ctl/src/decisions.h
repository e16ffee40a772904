// decisions.h: copies what a layer has recorded of its preemptions, for `xsched-hsa-ctl explain`.
//
// Why        Every preemption says what it chose and why, what it expected, and what came of it.
// Threads    the controller's thread; the layer overwrites records meanwhile.
// Errors     a record that changes while it is copied, or holds impossible words, is left out.
// See        Decision in queue-ctl/shared_page.h
#pragma once

#include <nlohmann/json.hpp>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa {

// Oldest first: {"number","at_us","queue","mechanism","reason","queues","units_left","error",
// "rest_ms","rest_spread_ms","cycle_ms","request_ms","predicted_delay_ms","predicted_cost_ms","driver_ms",
// "measured_ms"|null}. rest_spread_ms is how far off predictions of these kernels were lately, the whole
// of rest_ms where they have not been seen to end. measured_ms is how long the urgent work took, from its doorbell until the
// controller took it for done, linger included; null while it is not over.
nlohmann::json DecisionsJson(const ProcessPage& page);

}  // namespace xsched_hsa

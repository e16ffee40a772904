// plan_export.h: a run's plan as input for virtual-gpu-replay, which has no runtime and no host.
//
// Why        To see what the device model alone makes of a run, in a second and without noise,
//            beside what the whole path makes of it. `dual-model plan --high ... --low ... |
//            virtual-gpu-replay -`
// Limits     for the MI308X's shape (DeviceShape's defaults) only; the format is that of
//            ../../virtual-gpu/device/replay.h.
// Threads    pure.
#pragma once

#include <string>

#include "run.h"

namespace dual_model {

// Prints the replay file to standard output; an exit code as RunExperiment's.
int PrintPlan(const RunOptions& options);

}  // namespace dual_model

// hooks.h: puts our functions into ROCr's core API table.
//
// Why        The packet path: what the program calls instead of ROCr. Every hook's first act is to
//            find out that a queue or signal is not ours and to call the function below.
// Threads    Install: ROCr's, in OnLoad, before any other thread can use the table. Hooks: any.
#pragma once

#include "core_table.h"

namespace xsched_hsa {

// Saves the table's current functions in `real` and stores ours.
void InstallHooks(HsaApiTable* root, RealApi* real);

}  // namespace xsched_hsa

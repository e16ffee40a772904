// manual.h: what xsched-hsad(8) says beyond the options.
#pragma once

#include "cli-help/command_help.h"

namespace xsched_hsa {

ManText Manual();

}  // namespace xsched_hsa

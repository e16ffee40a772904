// show.h: `xsched-hsa-ctl show`: everything that is known of a program or one of its queues.
//
// Why        What the controller knows, what /proc says of the process, and where debugfs has the
//            queue in the hardware, in one place, under both of the process's ids.
// Errors     as commands.h. What can't be read here is said to be so, with the reason.
#pragma once

#include <string>

namespace xsched_hsa {

int Show(const std::string& socket, const std::string& target, bool as_json);

}  // namespace xsched_hsa

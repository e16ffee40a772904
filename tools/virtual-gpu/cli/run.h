// run.h: `virtual-gpu run`: a command under a virtual GPU.
//
// Why        Device process, environment, command, exit code, and nothing left behind.
// Errors     2: bad input or the device process did not start; 126, 127 as a shell; 128 + signal
//            when a signal ended the command.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon.h"

namespace virtual_gpu::cli {

struct RunRequest {
  DaemonOptions options;
  std::string device;          // a named one; started when it does not run
  bool profile_given = false;  // on the command line: must then be that of a joined device
  bool time_scale_given = false;
  std::vector<std::string> faults;  // armed before the command runs
  std::vector<std::string> command;
};

int Run(RunRequest request);

}  // namespace virtual_gpu::cli

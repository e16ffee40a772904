// commands.h: virtual-gpu start, stop, stats and profiles.
//
// Errors     the exit code: 0, or 2 after one line on stderr.
#pragma once

#include <string>
#include <vector>

#include "daemon.h"

namespace virtual_gpu::cli {

int Start(DaemonOptions options, const std::string& device, const std::vector<std::string>& faults);
int Stop(const std::string& device);
// An empty name: the device of VIRTUAL_GPU_SOCKET.
int Stats(const std::string& device, bool json, bool with_cus);
// Makes something go wrong on the device. An empty name: that of VIRTUAL_GPU_SOCKET.
int ArmFault(const std::string& device, const std::string& fault);
int Profiles();

}  // namespace virtual_gpu::cli

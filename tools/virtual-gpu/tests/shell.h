// shell.h: runs a command line and keeps what it said.
//
// Threads    any; each call has its own process, in a process group that is killed at the timeout.
#pragma once

#include <string>

namespace virtual_gpu::test {

struct Outcome {
  int code = -1;       // exit code, 128 + signal, or -1 after the timeout
  std::string output;  // stdout and stderr
};
Outcome Shell(const std::string& command, int timeout_s = 40);

// The programs of the build tree, quoted for a shell.
std::string VirtualGpu();
std::string Exercise(const std::string& name);
// A device name that no other test of this machine uses.
std::string FreshDeviceName();

}  // namespace virtual_gpu::test

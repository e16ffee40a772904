// run.h: `xsched-hsa-ctl run`: a program with the layer in it, and the proof that it was.
//
// Errors     the program's own exit code (128 + signal when killed); kExitNoLayer when the layer
//            did not come up in it; kExitBadInput when it could not be started as asked.
#pragma once

#include <string>
#include <vector>

namespace xsched_hsa {

struct RunOptions {
  int priority = 0;
  std::string socket;  // empty: the default place
  std::string layer;   // empty: found relative to this executable
  bool allow_no_layer = false;
  std::vector<std::string> command;
};

int Run(const RunOptions& options);

// HSA_TOOLS_LIB with the layer in it: names are separated by spaces, and ROCr knows double quotes
// and backslashes. Returned unchanged if the layer is already named.
std::string AppendToolsLib(const std::string& existing, const std::string& layer);

}  // namespace xsched_hsa

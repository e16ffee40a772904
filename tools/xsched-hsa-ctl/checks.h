// checks.h: the doctor's single checks.
//
// Threads    one.
// Errors     a check answers with what it found; `advice` says what to do unless all is well.
#pragma once

#include <string>

namespace xsched_hsa {

enum class Health { kOk, kWarn, kFail };

struct Check {
  std::string name;
  Health health = Health::kOk;
  std::string text;
  std::string advice;
};

Check CheckKfd();                 // /dev/kfd can be opened
Check CheckGpus();                // GPU nodes of the KFD topology
Check CheckRenderNodes();         // their /dev/dri/renderD* can be opened
Check CheckDriver();              // amdgpu's parameters that matter
Check CheckRuntime();             // libhsa-runtime64.so.1 and its version
Check CheckLayer();               // libxsched-hsa.so is there and loads
Check CheckTools();               // other tools that compete for the runtime
Check CheckPriority(bool probe);  // hardware queue priority has an effect; tried only if asked
Check CheckController(const std::string& socket);

}  // namespace xsched_hsa

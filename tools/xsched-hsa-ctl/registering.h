// registering.h: would, or did, a runtime with rocprofiler-register skip the layer?
//
// Why        ROCr from 6.1 on may be built with librocprofiler-register. Where that finds a rocprofiler-sdk
//            tool (rocprofv3, a profiler in PyTorch), ROCr does not look at HSA_TOOLS_LIB, and says
//            nothing. Newer ones do all the same if HSA_TOOLS_ROCPROFILER_V1_TOOLS is set, which `run`
//            does. Debian's runtimes are built without.
// Threads    one.
// Limits     asked beforehand, of the runtime that this process would load: a program may bring another.
//            So a running one is looked at, too, by its mappings: the process itself, not its children.
// Source     ROCr's runtime.cpp, LoadTools; os_linux.cpp; rocprofiler-register's README
#pragma once

#include <sys/types.h>

#include <string>

namespace xsched_hsa {

enum class Skipping {
  kNo,         // no SDK tool, or a runtime that does not register
  kUnlessRun,  // only `run`'s environment, or the same by hand, has the layer loaded
  kAlways,
};

struct Registering {
  std::string tool;         // why we think that a rocprofiler-sdk tool is there; empty: none
  bool has_runtime = true;  // libhsa-runtime64.so.1 can be loaded
  bool registers = false;   // it brings librocprofiler-register
  bool has_switch = false;  // it knows HSA_TOOLS_ROCPROFILER_V1_TOOLS
  bool switched_on = false;
  bool disabled = false;  // by HSA_TOOLS_DISABLE_REGISTER or ROCPROFILER_REGISTER_ENABLED
  Skipping skipping() const;
};

// Reads this process's environment and libraries; loads the runtime, but does not initialise it.
Registering LookAtRegistering();

// ROCr's idea of a variable that is on.
bool IsSwitchOn(const char* value);

// A program of `run` that has not greeted the controller.
class SkipWatch {
 public:
  explicit SkipWatch(pid_t pid) : pid_(pid) {}
  // Now and then. True once: runtime and rocprofiler-register were in it at two looks in a row, and
  // the layer was not.
  bool Look();
  bool skipped() const { return skipped_; }

 private:
  const pid_t pid_;
  bool seen_before_ = false, skipped_ = false;
};

// Why, and what to do: ends both `run`'s line and the doctor's.
inline constexpr char kSkipAdvice[] =
    "a runtime with librocprofiler-register skips HSA_TOOLS_LIB where a rocprofiler-sdk tool is "
    "there; unset ROCP_TOOL_LIBRARIES and ROCPROFILER_REGISTER_FORCE_LOAD, or set "
    "HSA_TOOLS_DISABLE_REGISTER=1";

}  // namespace xsched_hsa

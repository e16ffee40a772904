#include "registering.h"

#include <dlfcn.h>
#include <link.h>
#include <strings.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

namespace xsched_hsa {
namespace {

constexpr char kRuntime[] = "libhsa-runtime64.so.1", kRegister[] = "librocprofiler-register.so.0";
constexpr char kSwitch[] = "HSA_TOOLS_ROCPROFILER_V1_TOOLS";

bool FileHas(const char* path, const char* text) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  return bytes.find(text) != std::string::npos;
}

std::string SdkTool() {
  for (const char* name : {"ROCP_TOOL_LIBRARIES", "ROCPROFILER_REGISTER_FORCE_LOAD"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && value[0] != '\0') return std::string(name) + "=" + value;
  }
  // What is preloaded into the program is preloaded into us.
  Dl_info info;
  const void* configure = dlsym(RTLD_DEFAULT, "rocprofiler_configure");
  if (configure == nullptr || dladdr(configure, &info) == 0) return {};
  return std::string(info.dli_fname) + " has rocprofiler_configure";
}

}  // namespace

bool IsSwitchOn(const char* value) {
  if (value == nullptr || value[0] == '\0') return false;
  char* end = nullptr;
  const long number = std::strtol(value, &end, 10);
  if (*end == '\0') return number != 0;
  for (const char* off : {"off", "false", "no", "n", "f"}) {
    if (strcasecmp(value, off) == 0) return false;
  }
  return true;
}

Skipping Registering::skipping() const {
  if (tool.empty() || !registers || disabled) return Skipping::kNo;
  if (!has_switch) return Skipping::kAlways;
  return switched_on ? Skipping::kNo : Skipping::kUnlessRun;
}

Registering LookAtRegistering() {
  Registering found;
  found.tool = SdkTool();
  const char* enabled = std::getenv("ROCPROFILER_REGISTER_ENABLED");
  found.disabled = IsSwitchOn(std::getenv("HSA_TOOLS_DISABLE_REGISTER")) ||
                   (enabled != nullptr && !IsSwitchOn(enabled));
  found.switched_on = IsSwitchOn(std::getenv(kSwitch));
  // Left loaded: unloading a runtime is a risk without a gain.
  void* runtime = dlopen(kRuntime, RTLD_LAZY | RTLD_LOCAL);
  found.has_runtime = runtime != nullptr;
  if (runtime == nullptr) return found;
  found.registers = dlopen(kRegister, RTLD_LAZY | RTLD_NOLOAD) != nullptr;
  link_map* map = nullptr;
  if (found.registers && dlinfo(runtime, RTLD_DI_LINKMAP, static_cast<void*>(&map)) == 0 &&
      map != nullptr) {
    found.has_switch = FileHas(map->l_name, kSwitch);
  }
  return found;
}

bool SkipWatch::Look() {
  if (skipped_) return false;
  std::ifstream maps("/proc/" + std::to_string(pid_) + "/maps");
  bool runtime = false, registers = false, layer = false;
  for (std::string line; std::getline(maps, line);) {
    runtime |= line.find("/libhsa-runtime64.so") != std::string::npos;
    registers |= line.find("/librocprofiler-register.so") != std::string::npos;
    layer |= line.find("/libxsched-hsa.so") != std::string::npos;
  }
  const bool seen = runtime && registers && !layer;
  skipped_ = seen && seen_before_;
  seen_before_ = seen;
  return skipped_;
}

}  // namespace xsched_hsa

// checks_software.cc: the runtime, the layer, other tools, the controller.
#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <cstring>

#include "checks.h"
#include "locate.h"
#include "queue-ctl/client.h"
#include "queue-ctl/shared_page.h"
#include "registering.h"

namespace xsched_hsa {
namespace {

constexpr char kRuntimeName[] = "libhsa-runtime64.so.1";

std::string FileOf(void* library) {
  link_map* map = nullptr;
  if (dlinfo(library, RTLD_DI_LINKMAP, static_cast<void*>(&map)) != 0 || map == nullptr) return {};
  char resolved[PATH_MAX];
  return realpath(map->l_name, resolved) != nullptr ? resolved : map->l_name;
}

// ".../libhsa-runtime64.so.1.5.50203" -> " (ROCm 5.2.3)"; nothing for other names.
std::string RocmVersion(const std::string& file) {
  const std::string last = file.substr(file.rfind('.') + 1);
  if (last.size() < 5 || last.find_first_not_of("0123456789") != std::string::npos) return {};
  const unsigned long number = std::strtoul(last.c_str(), nullptr, 10);
  return " (ROCm " + std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) +
         "." + std::to_string(number % 100) + ")";
}

const char* Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && value[0] != '\0' ? value : nullptr;
}

Check CheckSdkTool(const Registering& registering) {
  Check check{"tools", Health::kOk, registering.tool + ": a rocprofiler-sdk tool", ""};
  switch (registering.skipping()) {
    case Skipping::kAlways:
      check.health = Health::kFail;
      check.text += ", and this runtime then loads no layer";
      check.advice = kSkipAdvice;
      break;
    case Skipping::kUnlessRun:
      check.health = Health::kWarn;
      check.text += ", and this runtime then loads the layer only if told";
      check.advice =
          "set HSA_TOOLS_ROCPROFILER_V1_TOOLS=1, as 'xsched-hsa-ctl run' does; both tools may "
          "disturb each other";
      break;
    case Skipping::kNo:
      check.text += registering.disabled ? ", and registering is disabled: only the layer is loaded"
                    : registering.registers
                        ? ", and HSA_TOOLS_ROCPROFILER_V1_TOOLS: both are loaded"
                        : ", but this runtime does not register: only the layer "
                          "is loaded";
  }
  return check;
}

}  // namespace

Check CheckRuntime() {
  Check check{"runtime", Health::kOk, "", ""};
  void* library = dlopen(kRuntimeName, RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    check.health = Health::kFail;
    check.text = std::string(kRuntimeName) + " can't be loaded: " + dlerror();
    check.advice = "install ROCr (Debian: libhsa-runtime64-1) or set LD_LIBRARY_PATH to ROCm's lib";
    return check;
  }
  const std::string file = FileOf(library);
  check.text = file + RocmVersion(file);
  // Left loaded: unloading a runtime is a risk without a gain.
  return check;
}

Check CheckLayer() {
  Check check{"layer", Health::kOk, "", ""};
  const std::string path = FindLayer();
  if (path.empty()) {
    check.health = Health::kFail;
    check.text = "libxsched-hsa.so is not in " + SearchedLayerPlaces();
    check.advice = "build or install it";
    return check;
  }
  check.text = path + " loads";
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    check.health = Health::kFail;
    check.text = path + " can't be loaded: " + dlerror();
    check.advice = "it must be built for this machine's C library";
  } else if (dlsym(library, "OnLoad") == nullptr) {
    check.health = Health::kFail;
    check.text = path + " has no OnLoad";
    check.advice = "it is not the layer, or was built without its exports";
  }
  return check;
}

Check CheckTools() {
  Check check{"tools", Health::kOk, "nothing else asks for the runtime's tables", ""};
  if (const char* disabled = Environment("HSA_TOOLS_DISABLE_REGISTER")) {
    check.text = std::string("HSA_TOOLS_DISABLE_REGISTER=") + disabled;
  }
  if (const Registering registering = LookAtRegistering(); !registering.tool.empty())
    return CheckSdkTool(registering);
  const char* tools = Environment("HSA_TOOLS_LIB");
  if (tools == nullptr) return check;
  if (std::strchr(tools, ':') != nullptr) {
    check.health = Health::kWarn;
    check.text = std::string("HSA_TOOLS_LIB=") + tools;
    check.advice = "names are separated by spaces, not colons";
  } else if (std::strstr(tools, "libxsched-hsa.so") != nullptr) {
    check.text = std::string("HSA_TOOLS_LIB=") + tools + " names the layer";
  } else {
    check.health = Health::kWarn;
    check.text = std::string("HSA_TOOLS_LIB=") + tools;
    check.advice = "another tool is loaded first; 'xsched-hsa-ctl run' appends the layer to it";
  }
  return check;
}

Check CheckController(const std::string& socket) {
  Check check{"controller", Health::kOk, "", ""};
  std::string error;
  const std::string path = socket.empty() ? DefaultSocketPath() : socket;
  auto client = Client::Connect(path, &error);
  if (!client) {
    check.health = Health::kWarn;
    check.text = "none answers at " + path;
    check.advice = "start xsched-hsad; 'xsched-hsa-ctl run' starts a private one";
    return check;
  }
  const auto reply = client->Call({{"op", "info"}}, &error);
  try {
    if (!reply || !reply->value("ok", false)) {
      check.health = Health::kFail;
      check.text = path + ": " + (reply ? reply->value("error", "refused") : error);
      check.advice = "restart xsched-hsad";
      return check;
    }
    const nlohmann::json controller = reply->value("controller", nlohmann::json::object());
    check.text = "pid " + std::to_string(controller.value("pid", 0)) + " at " + path +
                 ", version " + controller.value("version", "?") + ", policy " +
                 controller.value("policy", "?");
    if (controller.value("abi_version", 0u) == kAbiVersion) return check;
  } catch (const nlohmann::json::exception&) {
    check.text = path + ": its answer is none that this release reads";
  }
  check.health = Health::kFail;
  check.advice = "it is of another release than this program; install both from one";
  return check;
}

}  // namespace xsched_hsa

#include "gpu_model.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <utility>

namespace virtual_gpu {
namespace {

namespace fs = std::filesystem;

constexpr char kRuntimeName[] = "libhsa-runtime64.so.1";
// libhsa-runtime64.so.1.N: 5 is ROCm 5.2; 12, ROCm 6.0, is the first release that names gfx942.
constexpr int kRuntimeMinorForGfx942 = 12;

// The installed runtime's file, with its version, or an empty path.
fs::path FindRuntime() {
  std::vector<std::string> folders;
  std::string from_environment;
  if (const char* value = std::getenv("LD_LIBRARY_PATH")) from_environment = value;
  for (std::size_t start = 0; start < from_environment.size();) {
    const std::size_t end = std::min(from_environment.find(':', start), from_environment.size());
    folders.push_back(from_environment.substr(start, end - start));
    start = end + 1;
  }
  folders.insert(folders.end(), {"/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/opt/rocm/lib",
                                 "/usr/lib64", "/usr/lib"});
  for (const std::string& folder : folders) {
    std::error_code error;
    const fs::path found = fs::canonical(fs::path(folder) / kRuntimeName, error);
    if (!error) return found;
  }
  return {};
}

// 5 for libhsa-runtime64.so.1.5.0; -1 when the name has no version.
int RuntimeMinor(const fs::path& runtime) {
  int minor = -1;
  const std::string name = runtime.filename();
  return std::sscanf(name.c_str(), "libhsa-runtime64.so.1.%d", &minor) == 1 ? minor : -1;
}

bool ChooseIsa(const std::string& isa, GpuModel* model, std::string* note, std::string* error) {
  const std::uint32_t own = model->part.gfx_target_version;
  const std::uint32_t old = model->part.shown_gfx_target_version;
  std::string why;
  if (isa != "auto") {
    for (const std::uint32_t version : {90008u, 90010u, 90402u, 90500u}) {
      if (GfxName(version) == isa) model->gfx_target_version = version;
    }
    if (model->gfx_target_version == 0) {
      *error = "unknown ISA '" + isa + "'; use auto, gfx908, gfx90a, gfx942 or gfx950";
      return false;
    }
    why = "as asked by --isa";
  } else if (own == old) {
    model->gfx_target_version = own;
    why = "its own";
  } else {
    const fs::path runtime = FindRuntime();
    const bool knows = !runtime.empty() && RuntimeMinor(runtime) >= kRuntimeMinorForGfx942;
    model->gfx_target_version = knows ? own : old;
    why = runtime.empty() ? "no libhsa-runtime64.so.1 found"
                          : runtime.filename().string() +
                                (knows ? " knows it" : " does not know " + GfxName(own));
  }
  *note = "profile " + model->profile + ": " + model->part.marketing_name + ", " +
          std::to_string(model->part.params.xccs) + " XCC, " +
          std::to_string(model->part.CuCount()) + " CUs; shown to the runtime as " +
          GfxName(model->gfx_target_version) + " (" + why + ")";
  return true;
}

bool ParseNumber(const std::string& text, double* value) {
  char* end = nullptr;
  *value = std::strtod(text.c_str(), &end);
  return end != text.c_str() && *end == '\0' && *value >= 0;
}

// One --param: its name and where the number goes.
using Setters = std::map<std::string, std::function<void(double)>>;

template <typename T>
std::function<void(double)> Into(T* field) {
  return [field](double value) { *field = static_cast<T>(value); };
}

Setters SettersOf(GpuModel* model) {
  DeviceParams& p = model->part.params;
  return {
      {"xccs", Into(&p.xccs)},
      {"ses_per_xcc", Into(&p.ses_per_xcc)},
      {"simds_per_cu", Into(&p.simds_per_cu)},
      {"waves_per_simd", Into(&p.waves_per_simd)},
      {"vgprs_per_simd", Into(&p.vgprs_per_simd)},
      {"vgpr_granule", Into(&p.vgpr_granule)},
      {"lds_bytes_per_cu", Into(&p.lds_bytes_per_cu)},
      {"workgroups_per_cu", Into(&p.workgroups_per_cu)},
      {"pipes", Into(&p.pipes)},
      {"hqd_slots_per_pipe", Into(&p.hqd_slots_per_pipe)},
      {"processes_max", Into(&p.processes_max)},
      {"hqd_quantum_ns", Into(&p.hqd_quantum_ns)},
      {"runlist_quantum_ns", Into(&p.runlist_quantum_ns)},
      {"packet_launch_ns", Into(&p.packet_launch_ns)},
      {"packet_other_ns", Into(&p.packet_other_ns)},
      {"pipe_priority_effective", Into(&p.pipe_priority_effective)},
      {"hardware_scheduler", Into(&p.hardware_scheduler)},
      {"cwsr", Into(&p.cwsr)},
      {"workgroup_spread", Into(&p.workgroup_spread)},
      {"grain_ns", Into(&p.grain_ns)},
      {"runlist_cycle_ns", Into(&p.runlist_cycle_ns)},
      {"cwsr_bytes_per_ns", Into(&p.cwsr_bytes_per_ns)},
      {"preempt_timeout_ns", Into(&p.preempt_timeout_ns)},
      {"seed", Into(&p.seed)},
      {"opaque_workgroup_ns", Into(&model->opaque_workgroup_ns)},
      {"interpret", Into(&model->interpret)},
      {"instruction_ns", Into(&model->instruction_ns)},
      {"wave_instructions_max", Into(&model->wave_instructions_max)},
      {"blit_workgroup_ns", Into(&model->blit_workgroup_ns)},
      {"sdma_bytes_per_ns", Into(&model->sdma_bytes_per_ns)},
  };
}

bool ApplyParams(const std::vector<std::string>& params, GpuModel* model, std::string* error) {
  const Setters setters = SettersOf(model);
  for (const std::string& param : params) {
    const std::size_t equals = param.find('=');
    double value = 0;
    if (equals == std::string::npos || !ParseNumber(param.substr(equals + 1), &value)) {
      *error = "--param '" + param + "' is not KEY=NUMBER";
      return false;
    }
    const auto setter = setters.find(param.substr(0, equals));
    if (setter == setters.end()) {
      *error = "unknown --param '" + param.substr(0, equals) + "'; known:";
      for (const auto& [name, set] : setters) *error += " " + name;
      return false;
    }
    setter->second(value);
  }
  if (model->sdma_bytes_per_ns <= 0) {
    *error = "--param sdma_bytes_per_ns must be above 0";
    return false;
  }
  return true;
}

}  // namespace

std::string GfxName(std::uint32_t gfx_target_version) {
  char text[32];
  std::snprintf(text, sizeof(text), "gfx%u%u%x", gfx_target_version / 10000,
                gfx_target_version / 100 % 100, gfx_target_version % 100);
  return text;
}

bool MakeModel(const ModelRequest& request, GpuModel* model, std::string* note,
               std::string* error) {
  const DeviceProfile* profile = FindProfile(request.profile);
  if (profile == nullptr) {
    *error = "unknown profile '" + request.profile + "'; known:";
    for (const std::string& name : ProfileNames()) *error += " " + name;
    return false;
  }
  model->profile = request.profile;
  model->part = *profile;
  return ApplyParams(request.params, model, error) && ChooseIsa(request.isa, model, note, error);
}

}  // namespace virtual_gpu

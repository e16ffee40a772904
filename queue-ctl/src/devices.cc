#include "devices.h"

#include <amdgpu.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

namespace xsched_hsa {
namespace {

constexpr char kNodes[] = "/sys/devices/virtual/kfd/kfd/topology/nodes/";

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  if (file) text << file.rdbuf();
  std::string result = text.str();
  while (!result.empty() && (result.back() == '\n' || result.back() == ' ')) result.pop_back();
  return result;
}

std::optional<std::string> ReadWord(const std::string& path) {
  std::string text = ReadText(path);
  if (text.empty()) return std::nullopt;
  return text;
}

std::optional<std::uint32_t> ReadNumber(const std::string& path) {
  const std::string text = ReadText(path);
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < 0) return std::nullopt;
  return static_cast<std::uint32_t>(value);
}

using Properties = std::map<std::string, std::uint64_t>;

Properties ReadProperties(const std::string& path) {
  Properties properties;
  std::istringstream lines(ReadText(path));
  std::string key;
  std::uint64_t value = 0;
  while (lines >> key >> value) properties[key] = value;
  return properties;
}

std::uint32_t Get(const Properties& properties, const char* key, std::uint32_t otherwise = 0) {
  const auto it = properties.find(key);
  return it != properties.end() ? static_cast<std::uint32_t>(it->second) : otherwise;
}

// Entries of a directory whose names are numbers, in their order.
std::vector<std::uint32_t> NumbersIn(const std::string& path) {
  std::vector<std::uint32_t> numbers;
  DIR* const directory = opendir(path.c_str());
  if (directory == nullptr) return numbers;
  while (const dirent* entry = readdir(directory)) {
    char* end = nullptr;
    const unsigned long number = std::strtoul(entry->d_name, &end, 10);
    if (end != entry->d_name && *end == '\0') numbers.push_back(static_cast<std::uint32_t>(number));
  }
  closedir(directory);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// gfx_target_version 90402 is gfx942: two digits each of major, minor and stepping, which is hex.
std::string GfxName(std::uint32_t version) {
  if (version == 0) return {};
  char text[32];
  std::snprintf(text, sizeof text, "gfx%u%u%x", version / 10000, version / 100 % 100,
                version % 100);
  return text;
}

// Empty if libdrm does not know the device, or we may not open it.
std::string MarketingName(const std::string& render_node) {
  const int fd = open(render_node.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return {};
  std::string name;
  std::uint32_t major = 0, minor = 0;
  amdgpu_device_handle handle = nullptr;
  if (amdgpu_device_initialize(fd, &major, &minor, &handle) == 0) {
    if (const char* text = amdgpu_get_marketing_name(handle)) name = text;
    amdgpu_device_deinitialize(handle);
  }
  close(fd);
  return name;
}

void ReadMemory(const std::string& node, Device* device) {
  for (const std::uint32_t bank : NumbersIn(node + "mem_banks")) {
    const Properties properties =
        ReadProperties(node + "mem_banks/" + std::to_string(bank) + "/properties");
    const std::uint32_t heap = Get(properties, "heap_type");
    if (heap != 1 && heap != 2) continue;  // the device's own, public or private
    const auto size = properties.find("size_in_bytes");
    if (size != properties.end()) device->memory_mb += size->second >> 20;
    if (const std::uint32_t clock = Get(properties, "mem_clk_max")) {
      device->memory_clock_mhz = clock;
    }
  }
}

void ReadPartition(const std::string& root, Device* device) {
  if (!device->render_minor) return;
  const std::string pci =
      root + "/sys/class/drm/renderD" + std::to_string(*device->render_minor) + "/device/";
  device->compute_partition = ReadWord(pci + "current_compute_partition");
  device->memory_partition = ReadWord(pci + "current_memory_partition");
}

std::optional<Device> ReadDevice(const std::string& root, std::uint32_t number) {
  const std::string node = root + kNodes + std::to_string(number) + "/";
  const auto gpu_id = ReadNumber(node + "gpu_id");
  if (!gpu_id || *gpu_id == 0) return std::nullopt;  // a CPU
  const Properties properties = ReadProperties(node + "properties");
  Device device;
  device.node = number;
  device.gpu_id = *gpu_id;
  device.gpu = (static_cast<GpuKey>(Get(properties, "domain")) << 16 |
                (Get(properties, "location_id") & 0xffff)) +
               1;
  device.gfx = GfxName(Get(properties, "gfx_target_version"));
  device.simd_per_cu = Get(properties, "simd_per_cu");
  if (device.simd_per_cu != 0) {
    device.compute_units = Get(properties, "simd_count") / device.simd_per_cu;
  }
  device.xcc = std::max(Get(properties, "num_xcc", 1), 1u);
  device.shader_arrays = Get(properties, "array_count");
  const std::uint32_t per_engine = std::max(Get(properties, "simd_arrays_per_engine", 1), 1u);
  device.shader_engines = device.shader_arrays / per_engine;
  device.cus_per_array = Get(properties, "cu_per_simd_array");
  device.waves_per_simd = Get(properties, "max_waves_per_simd");
  device.lds_kb = Get(properties, "lds_size_in_kb");
  device.clock_mhz = Get(properties, "max_engine_clk_fcompute");
  device.queues_max = Get(properties, "num_cp_queues");
  if (const std::uint32_t minor = Get(properties, "drm_render_minor")) device.render_minor = minor;
  ReadMemory(node, &device);
  ReadPartition(root, &device);
  const std::string parameters = root + "/sys/module/amdgpu/parameters/";
  device.cwsr_enable = ReadNumber(parameters + "cwsr_enable");
  device.sched_policy = ReadNumber(parameters + "sched_policy");
  if (device.render_minor && root.empty()) {
    device.name = MarketingName("/dev/dri/renderD" + std::to_string(*device.render_minor));
  }
  if (device.name.empty()) device.name = ReadText(node + "name");
  if (device.name.empty()) device.name = device.gfx;
  return device;
}

}  // namespace

std::vector<Device> ListDevices(const std::string& root) {
  std::vector<Device> devices;
  for (const std::uint32_t node : NumbersIn(root + kNodes)) {
    if (auto device = ReadDevice(root, node)) devices.push_back(std::move(*device));
  }
  return devices;
}

}  // namespace xsched_hsa

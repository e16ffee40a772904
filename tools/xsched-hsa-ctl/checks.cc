// checks.cc: device, topology and driver are read with plain open, fopen and opendir, which is also
// what the virtual GPU serves. Libraries and the controller are in checks_software.cc.
#include "checks.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

namespace xsched_hsa {
namespace {

constexpr char kNodesDirectory[] = "/sys/class/kfd/kfd/topology/nodes";

struct GpuNode {
  std::string node;
  std::map<std::string, unsigned long long> properties;

  unsigned long long Get(const char* key) const {
    const auto it = properties.find(key);
    return it != properties.end() ? it->second : 0;
  }
};

std::string ReadLine(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return {};
  char line[256] = {};
  if (std::fgets(line, sizeof line, file) == nullptr) line[0] = '\0';
  std::fclose(file);
  line[std::strcspn(line, "\n")] = '\0';
  return line;
}

std::map<std::string, unsigned long long> ReadProperties(const std::string& path) {
  std::map<std::string, unsigned long long> properties;
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return properties;
  char key[64];
  unsigned long long value = 0;
  while (std::fscanf(file, "%63s %llu", key, &value) == 2) properties[key] = value;
  std::fclose(file);
  return properties;
}

std::vector<GpuNode> ReadGpuNodes() {
  std::vector<GpuNode> gpus;
  DIR* directory = opendir(kNodesDirectory);
  if (directory == nullptr) return gpus;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    GpuNode gpu{entry->d_name,
                ReadProperties(std::string(kNodesDirectory) + "/" + entry->d_name + "/properties")};
    if (gpu.Get("simd_count") > 0) gpus.push_back(gpu);
  }
  closedir(directory);
  std::sort(gpus.begin(), gpus.end(),
            [](const GpuNode& a, const GpuNode& b) { return a.node < b.node; });
  return gpus;
}

// 90402 -> "gfx942", 90010 -> "gfx90a": the last two figures are hexadecimal digits.
std::string GfxName(unsigned long long version) {
  char text[32];
  std::snprintf(text, sizeof text, "gfx%llu%llx%llx", version / 10000, version / 100 % 100,
                version % 100);
  return text;
}

bool UnderVirtualGpu() {
  const char* preload = std::getenv("LD_PRELOAD");
  return preload != nullptr && std::strstr(preload, "libvirtual-gpu") != nullptr;
}

std::string Describe(const GpuNode& gpu) {
  const unsigned long long simd_per_cu = std::max(1ull, gpu.Get("simd_per_cu"));
  return "node " + gpu.node + " " + GfxName(gpu.Get("gfx_target_version")) + " " +
         std::to_string(gpu.Get("simd_count") / simd_per_cu) + " CUs " +
         std::to_string(std::max(1ull, gpu.Get("num_xcc"))) + " XCC";
}

}  // namespace

Check CheckKfd() {
  Check check{"device", Health::kOk, "/dev/kfd can be opened", ""};
  const int fd = open("/dev/kfd", O_RDWR | O_CLOEXEC);
  if (fd >= 0) {
    close(fd);
    if (UnderVirtualGpu()) check.text += " (virtual GPU)";
    return check;
  }
  check.health = Health::kFail;
  check.text = std::string("/dev/kfd can't be opened: ") + std::strerror(errno);
  check.advice =
      errno == EACCES || errno == EPERM
          ? "add the user to the groups render and video, or pass the device to the container"
          : "load amdgpu on a machine with an AMD GPU, pass /dev/kfd to the container, or "
            "use 'virtual-gpu run'";
  return check;
}

Check CheckGpus() {
  Check check{"gpus", Health::kOk, "", ""};
  const std::vector<GpuNode> gpus = ReadGpuNodes();
  if (gpus.empty()) {
    check.health = Health::kFail;
    check.text = std::string("no GPU node in ") + kNodesDirectory;
    check.advice = "see 'dmesg | grep amdgpu', or use 'virtual-gpu run'";
    return check;
  }
  check.text = std::to_string(gpus.size()) + " GPU" + (gpus.size() > 1 ? "s: " : ": ");
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    check.text += (i > 0 ? ", " : "") + Describe(gpus[i]);
  }
  return check;
}

Check CheckRenderNodes() {
  Check check{"render", Health::kOk, "", ""};
  for (const GpuNode& gpu : ReadGpuNodes()) {
    const std::string path = "/dev/dri/renderD" + std::to_string(gpu.Get("drm_render_minor"));
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
      close(fd);
      check.text += (check.text.empty() ? "" : ", ") + path;
      continue;
    }
    check.health = Health::kFail;
    check.text = path + " can't be opened: " + std::strerror(errno);
    check.advice = "add the user to the group render, or pass the device to the container";
    return check;
  }
  if (check.text.empty()) {
    check.health = Health::kWarn;
    check.text = "not looked at: there is no GPU";
  } else {
    check.text += " can be opened";
  }
  return check;
}

Check CheckDriver() {
  Check check{"driver", Health::kOk, "", ""};
  for (const char* name : {"cwsr_enable", "mes", "sched_policy", "hws_max_conc_proc"}) {
    const std::string value = ReadLine(std::string("/sys/module/amdgpu/parameters/") + name);
    if (!value.empty())
      check.text += (check.text.empty() ? "" : " ") + std::string(name) + "=" + value;
  }
  if (check.text.empty()) {
    check.health = Health::kWarn;
    check.text = "amdgpu's parameters can't be read";
    check.advice = UnderVirtualGpu() ? "there is no driver under the virtual GPU"
                                     : "is amdgpu loaded? holding packets works without them";
    return check;
  }
  check.text = "amdgpu " + check.text;
  if (check.text.find("sched_policy=2") != std::string::npos) {
    check.health = Health::kWarn;
    check.advice = "the hardware scheduler is off (sched_policy=2): queue priorities do nothing";
  }
  return check;
}

}  // namespace xsched_hsa

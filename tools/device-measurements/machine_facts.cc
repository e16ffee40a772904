#include "machine_facts.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>

namespace device_measurements {
namespace {

namespace fs = std::filesystem;

// One line of a small file; empty if it can't be read.
std::string ReadLine(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool HasQueueOn(const fs::path& process, const std::string& gpu_id) {
  std::error_code ignored;
  for (const auto& queue : fs::directory_iterator(process / "queues", ignored)) {
    if (ReadLine(queue.path() / "gpuid") == gpu_id) return true;
  }
  return false;
}

}  // namespace

nlohmann::json MachineFacts() {
  utsname names{};
  uname(&names);
  nlohmann::json facts = {{"kernel", names.release}};
  const fs::path module = "/sys/module/amdgpu";
  const std::string version = ReadLine(module / "version");
  if (!version.empty()) facts["amdgpu"]["version"] = version;
  for (const char* name : {"cwsr_enable", "sched_policy", "hws_max_conc_proc", "num_kcq", "mes",
                           "queue_preemption_timeout_ms"}) {
    const std::string value = ReadLine(module / "parameters" / name);
    if (!value.empty()) facts["amdgpu"][name] = value;
  }
  return facts;
}

bool OtherUsers(std::uint32_t gpu_id, std::vector<int>* pids) {
  std::error_code error;
  fs::directory_iterator processes("/sys/class/kfd/kfd/proc", error);
  if (error) return false;
  for (const auto& process : processes) {
    const std::string name = process.path().filename();
    int pid = 0;
    std::from_chars(name.data(), name.data() + name.size(), pid);
    if (pid == 0 || pid == getpid() || !HasQueueOn(process.path(), std::to_string(gpu_id)))
      continue;
    pids->push_back(pid);
  }
  return true;
}

}  // namespace device_measurements

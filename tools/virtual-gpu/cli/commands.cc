#include "commands.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "device_client.h"
#include "gpu_model.h"

namespace virtual_gpu::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kBadInput = 2;
constexpr int kStopTimeoutMs = 5'000;

int NotRunning(const std::string& device) {
  std::fprintf(stderr, "virtual-gpu: no device '%s' runs; start it with virtual-gpu start\n",
               device.c_str());
  return kBadInput;
}

// The named device, or the one that this command runs under. False: said why.
bool Find(const std::string& device, DeviceClient* client) {
  const char* inherited = std::getenv(rpc::kSocketEnv);
  const std::string which = !device.empty() ? device : inherited != nullptr ? inherited : "";
  if (which.empty()) {
    std::fprintf(stderr,
                 "virtual-gpu: which device? use --device NAME, or run this under "
                 "virtual-gpu run\n");
    return false;
  }
  const fs::path socket =
      device.empty() ? fs::path(which) : DeviceDirectory(device) / rpc::kSocketName;
  if (client->Connect(socket)) return true;
  NotRunning(which);
  return false;
}

unsigned long long Number(const Json& json, const char* key) { return json.value(key, 0ull); }

void PrintGpu(const Json& gpu) {
  const Json& lag = gpu.at("lag");
  std::printf("GPU %llu: %s (%s), %llu CUs, shown as %s: %llu queues, %llu runlist cycles\n",
              Number(gpu, "index"), gpu.value("name", "").c_str(), gpu.value("profile", "").c_str(),
              Number(gpu, "cus"), gpu.value("shown_as", "").c_str(), Number(gpu, "queues"),
              Number(gpu, "runlist_cycles"));
  std::printf(
      "  device lag behind simulated time: p50 %.1f us, p99 %.1f us, max %.1f us (%llu "
      "events)\n",
      lag.value("p50_us", 0.0), lag.value("p99_us", 0.0), lag.value("max_us", 0.0),
      Number(lag, "events"));
}

void PrintProcess(const Json& process) {
  std::printf("process %llu (%s): %llu allocations\n", Number(process, "pid"),
              process.value("command", "").c_str(), Number(process, "allocations"));
  for (const Json& queue : process.at("queues")) {
    if (queue.value("type", "") == "sdma") {
      std::printf("  queue %llu: sdma, %llu packets, %llu bytes copied\n", Number(queue, "id"),
                  Number(queue, "packets"), Number(queue, "copied_bytes"));
      continue;
    }
    std::printf(
        "  queue %llu: %s, priority %llu, %s, %llu packets, %llu workgroups; kernels: %llu "
        "work, %llu blit, %llu interpreted, %llu not modelled; %llu order errors\n",
        Number(queue, "id"), queue.value("type", "").c_str(), Number(queue, "priority"),
        queue.value("active", false) ? "active" : "suspended", Number(queue, "packets"),
        Number(queue, "workgroups"), Number(queue, "work_kernels"), Number(queue, "blit_kernels"),
        Number(queue, "interpreted_kernels"), Number(queue, "opaque_kernels"),
        Number(queue, "order_errors"));
  }
}

}  // namespace

int ArmFault(const std::string& device, const std::string& fault) {
  DeviceClient client;
  if (!Find(device, &client)) return kBadInput;
  std::string error;
  if (client.ArmFault(fault, &error)) return 0;
  std::fprintf(stderr, "virtual-gpu: %s\n", error.c_str());
  return kBadInput;
}

int Start(DaemonOptions options, const std::string& device,
          const std::vector<std::string>& faults) {
  const fs::path directory = DeviceDirectory(device);
  DeviceClient client;
  if (client.Connect(directory / rpc::kSocketName)) {
    std::fprintf(stderr, "virtual-gpu: device '%s' runs already; stop it or join it with run\n",
                 device.c_str());
    return kBadInput;
  }
  if (!CheckOptions(&options)) return kBadInput;
  if (StartDaemon(options, directory, true, true) <= 0) return kBadInput;
  for (const std::string& fault : faults) {
    if (ArmFault(device, fault) == 0) continue;
    Stop(device);
    return kBadInput;
  }
  return 0;
}

int Stop(const std::string& device) {
  const fs::path directory = DeviceDirectory(device);
  DeviceClient client;
  if (!client.Connect(directory / rpc::kSocketName)) return NotRunning(device);
  if (!client.Shutdown() || !client.WaitForEnd(kStopTimeoutMs)) {
    std::fprintf(stderr, "virtual-gpu: device '%s' does not stop\n", device.c_str());
    return kBadInput;
  }
  std::error_code ignored;
  fs::remove_all(directory, ignored);
  return 0;
}

int Stats(const std::string& device, bool json, bool with_cus) {
  DeviceClient client;
  std::string text;
  if (!Find(device, &client)) return kBadInput;
  if (!client.Stats(with_cus, &text)) return NotRunning(device);
  if (json) {
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  const Json stats = Json::parse(text);
  std::printf("simulated, time scale %g, %llu processes so far\n", stats.value("time_scale", 1.0),
              Number(stats, "processes_seen"));
  for (const Json& gpu : stats.at("gpus")) PrintGpu(gpu);
  for (const Json& process : stats.at("processes")) PrintProcess(process);
  return 0;
}

int Profiles() {
  for (const std::string& name : ProfileNames()) {
    const DeviceProfile& p = *FindProfile(name);
    std::printf("%-8s %-22s %s  %2u XCC  %3u CUs  %3llu GiB\n", name.c_str(),
                p.marketing_name.c_str(), GfxName(p.gfx_target_version).c_str(), p.params.xccs,
                p.CuCount(), static_cast<unsigned long long>(p.vram_bytes >> 30));
  }
  return 0;
}

}  // namespace virtual_gpu::cli

#include "proc_files.h"

#include <fstream>
#include <system_error>

#include "kfd_abi.h"
#include "report.h"

namespace virtual_gpu {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kFirstPasid = 0x8000;  // amdgpu's PASIDs start there

// enum kfd_queue_type, which is not the ioctl's numbering.
unsigned InternalType(std::uint32_t type) {
  switch (type) {
    case kfd::kQueueSdma:
      return 1;
    case kfd::kQueueSdmaXgmi:
      return 4;
    case kfd::kQueueSdmaByEngine:
      return 5;
    default:
      return 0;
  }
}

std::string Line(std::uint64_t value) { return std::to_string(value) + "\n"; }

std::uint64_t SdmaMicroseconds(const Process& process, const Gpu& gpu) {
  double bytes = 0;
  for (const auto& [id, queue] : process.queues) {
    if (queue->gpu_index != gpu.index() || queue->sdma == nullptr) continue;
    bytes += static_cast<double>(queue->sdma->copied_bytes());
  }
  return static_cast<std::uint64_t>(bytes / gpu.model().sdma_bytes_per_ns / 1000);
}

// As get_cu_occupancy: the process's waves, in full CUs, rounded up.
std::uint64_t CuOccupancy(const Process& process, Gpu* gpu) {
  std::uint64_t waves = 0;
  for (const auto& [id, queue] : process.queues) {
    if (queue->gpu_index == gpu->index() && queue->aql != nullptr) {
      waves += gpu->ResidentWaves(*queue->aql);
    }
  }
  const DeviceParams& params = gpu->model().part.params;
  const std::uint64_t full = std::uint64_t{params.simds_per_cu} * params.waves_per_simd;
  return (waves + full - 1) / full;
}

std::uint64_t EvictedMs(const Process& process) {
  std::int64_t ns = process.evicted_ns;
  if (process.evicted) ns += RawNs() - process.evicted_since_ns;
  return static_cast<std::uint64_t>(ns / 1'000'000);
}

}  // namespace

void ProcFiles::Start(const fs::path& root, const std::vector<std::unique_ptr<Gpu>>* gpus) {
  proc_ = root / "sys/devices/virtual/kfd/kfd/proc";
  staging_ = root / "staging";
  gpus_ = gpus;
  debugfs_ = root / "sys/kernel/debug/kfd";
  fs::create_directories(proc_);
  fs::create_directories(debugfs_);
  fs::create_directories(staging_);
  for (const char* name : {"hqds", "mqds", "rls"}) WriteDebugfs(name, "");
}

void ProcFiles::WriteDebugfs(const std::string& name, const std::string& text) {
  Write(debugfs_ / name, text);
}

std::uint32_t ProcFiles::PasidOf(const Process& process) {
  return static_cast<std::uint32_t>(kFirstPasid + process.key);
}

fs::path ProcFiles::Directory(const Process& process) const {
  return proc_ / std::to_string(process.pid);
}

fs::path ProcFiles::Staging() { return staging_ / std::to_string(staged_++); }

bool ProcFiles::IsOwner(const Process& process) const {
  const auto it = owners_.find(process.pid);
  return it != owners_.end() && it->second == process.key;
}

// World-readable and nobody's to write, as KFD_SYSFS_FILE_MODE; replaced by a rename.
void ProcFiles::Write(const fs::path& path, const std::string& text) {
  const fs::path fresh = Staging();
  std::error_code error;
  {
    std::ofstream out(fresh);
    out << text;
    if (!out) ReportOnce("proc:write", "cannot write " + path.string());
  }
  constexpr auto kAllRead = fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read;
  fs::permissions(fresh, kAllRead, error);
  fs::rename(fresh, path, error);
  if (error) ReportOnce("proc:rename", "cannot make " + path.string() + ": " + error.message());
}

void ProcFiles::MoveIn(const fs::path& staged, const fs::path& path) {
  std::error_code error;
  fs::rename(staged, path, error);
  if (error) ReportOnce("proc:rename", "cannot make " + path.string() + ": " + error.message());
}

void ProcFiles::MoveOut(const fs::path& path) {
  const fs::path doomed = Staging();
  std::error_code error;
  fs::rename(path, doomed, error);
  if (!error) fs::remove_all(doomed, error);
}

void ProcFiles::AddProcess(const Process& process) {
  std::error_code error;
  const fs::path staged = Staging();
  fs::create_directories(staged / "queues", error);
  for (const auto& gpu : *gpus_) {
    fs::create_directories(staged / ("stats_" + std::to_string(gpu->gpu_id())), error);
    fs::create_directories(staged / ("counters_" + std::to_string(gpu->gpu_id())), error);
  }
  Write(staged / "pasid", Line(PasidOf(process)));
  WriteCounters(staged, process);
  if (owners_.contains(process.pid)) MoveOut(Directory(process));
  owners_[process.pid] = process.key;
  MoveIn(staged, Directory(process));
}

void ProcFiles::RemoveProcess(const Process& process) {
  if (!IsOwner(process)) return;
  owners_.erase(process.pid);
  MoveOut(Directory(process));
}

void ProcFiles::AddQueue(const Process& process, const KfdQueue& queue) {
  if (!IsOwner(process)) return;
  std::error_code error;
  const fs::path staged = Staging();
  fs::create_directories(staged, error);
  // Without a newline, as the kernel's.
  Write(staged / "gpuid", std::to_string((*gpus_)[queue.gpu_index]->gpu_id()));
  Write(staged / "size", std::to_string(queue.ring_bytes));
  Write(staged / "type", std::to_string(InternalType(queue.type)));
  MoveIn(staged, Directory(process) / "queues" / std::to_string(queue.id));
}

void ProcFiles::RemoveQueue(const Process& process, std::uint32_t queue_id) {
  if (IsOwner(process)) MoveOut(Directory(process) / "queues" / std::to_string(queue_id));
}

void ProcFiles::Refresh(const Process& process) {
  if (IsOwner(process)) WriteCounters(Directory(process), process);
}

void ProcFiles::WriteCounters(const fs::path& directory, const Process& process) {
  for (const auto& gpu : *gpus_) {
    const std::string id = std::to_string(gpu->gpu_id());
    Write(directory / ("vram_" + id),
          Line(process.memory.UsedBytes(Allocation::Kind::kVram, gpu->index())));
    Write(directory / ("sdma_" + id), Line(SdmaMicroseconds(process, *gpu)));
    const fs::path stats = directory / ("stats_" + id);
    Write(stats / "evicted_ms", Line(EvictedMs(process)));
    Write(stats / "cu_occupancy", Line(CuOccupancy(process, gpu.get())));
    const fs::path counters = directory / ("counters_" + id);
    for (const char* name : {"faults", "page_in", "page_out"}) Write(counters / name, Line(0));
  }
}

}  // namespace virtual_gpu

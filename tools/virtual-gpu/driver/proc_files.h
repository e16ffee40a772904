// proc_files.h: /sys/class/kfd/kfd/proc/PID: what anybody may read about the processes on the GPUs.
//
// Why        Plain files below the generated root, so that readdir and reads need no hook. Those of
//            a queue never change; the counters are written again whenever somebody opens one (the
//            interposer asks for that: rpc::Kind::kRefresh).
// Threads    the server's only.
// Ownership  everything below its root's proc directory. A queue's directory appears and vanishes
//            whole: it is made elsewhere and renamed.
// Units      bytes; sdma_* microseconds of simulated copying, evicted_ms milliseconds,
//            cu_occupancy CUs' worth of waves
// Errors     a file that cannot be written is reported once; nobody's ioctl fails for it, as in KFD.
// See        kfd_process.c:kfd_procfs_show, kfd_procfs_queue_show, kfd_procfs_stats_show
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gpu.h"
#include "process.h"

namespace virtual_gpu {

class ProcFiles {
 public:
  // `root` stands for "/". Makes the empty directory.
  void Start(const std::filesystem::path& root, const std::vector<std::unique_ptr<Gpu>>* gpus);

  void AddProcess(const Process& process);
  void RemoveProcess(const Process& process);
  void AddQueue(const Process& process, const KfdQueue& queue);
  void RemoveQueue(const Process& process, std::uint32_t queue_id);
  // Writes a file of /sys/kernel/debug/kfd.
  void WriteDebugfs(const std::string& name, const std::string& text);
  static std::uint32_t PasidOf(const Process& process);
  // Brings the process's counters up to date.
  void Refresh(const Process& process);

 private:
  std::filesystem::path Directory(const Process& process) const;
  bool IsOwner(const Process& process) const;
  void Write(const std::filesystem::path& path, const std::string& text);
  void MoveIn(const std::filesystem::path& staged, const std::filesystem::path& path);
  void MoveOut(const std::filesystem::path& path);
  void WriteCounters(const std::filesystem::path& directory, const Process& process);
  std::filesystem::path Staging();

  std::filesystem::path proc_, debugfs_, staging_;
  const std::vector<std::unique_ptr<Gpu>>* gpus_ = nullptr;
  // An exec leaves the old process for a moment beside the new one of the same pid.
  std::map<pid_t, std::uint64_t> owners_;  // pid -> Process::key
  std::uint64_t staged_ = 0;
};

}  // namespace virtual_gpu

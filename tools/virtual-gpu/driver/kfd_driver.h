// kfd_driver.h: the ioctls of /dev/kfd and the AMDGPU_INFO queries of the render nodes.
//
// Why        Plays amdkfd for the processes under the virtual GPU: a table of handlers by ioctl
//            number, each with the argument checks and errno of the kernel function it stands for.
// Threads    the server's only. Answers may be sent later (WAIT_EVENTS, runlist changes).
// Ownership  borrows the GPUs, timers and proc files.
// Errors     errno in the reply. What is not modelled is named once on stderr and fails as in a
//            kernel without it; with `strict` the device process ends.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "connection.h"
#include "gpu.h"
#include "proc_files.h"
#include "process.h"
#include "runlist_gate.h"
#include "timers.h"

namespace virtual_gpu {

inline constexpr std::uint32_t kKfdMajor = 1;
inline constexpr std::uint32_t kKfdMinor = 14;

class KfdDriver {
 public:
  KfdDriver(std::vector<std::unique_ptr<Gpu>>* gpus, const SimClock* clock, Timers* timers,
            ProcFiles* proc_files, bool strict);

  // Both answer the request, now or later.
  void Ioctl(const Request& request);
  void DrmInfo(const Request& request);

  // Takes a dead process's queues off the GPUs and gives back its memory.
  void EndProcess(Process* process);

 private:
  using Handler = void (KfdDriver::*)(const Request&, Process&);
  struct Entry {
    std::uint32_t number;
    const char* name;
    Handler handler;
  };
  static const Entry kTable[];

  void Unknown(const Request& request, const char* name, int error);
  Gpu* FindGpu(std::uint32_t gpu_id);

  // kfd_driver.cc
  void GetVersion(const Request& request, Process& process);
  void GetClockCounters(const Request& request, Process& process);
  void GetApertures(const Request& request, Process& process);
  void CheckGpuOnly(const Request& request, Process& process);
  void SetXnackMode(const Request& request, Process& process);
  void GetTileConfig(const Request& request, Process& process);
  void RuntimeEnable(const Request& request, Process& process);
  void NotPermitted(const Request& request, Process& process);
  void NotModelled(const Request& request, Process& process);
  void NotKnown(const Request& request, Process& process);

  // kfd_memory.cc
  void AllocMemory(const Request& request, Process& process);
  void FreeMemory(const Request& request, Process& process);
  void MapMemory(const Request& request, Process& process);
  void UnmapMemory(const Request& request, Process& process);
  void AvailableMemory(const Request& request, Process& process);
  void ChangeMapping(const Request& request, Process& process, bool map);
  int PlaceMemory(Gpu* gpu, Allocation* allocation);

  // kfd_queues.cc
  void CreateQueue(const Request& request, Process& process);
  void DestroyQueue(const Request& request, Process& process);
  void UpdateQueue(const Request& request, Process& process);
  void SetCuMask(const Request& request, Process& process);
  void GetQueueWaveState(const Request& request, Process& process);
  void AllocQueueGws(const Request& request, Process& process);
  int MakeQueue(Process& process, Gpu* gpu, KfdQueue* queue, std::uint64_t write_pointer,
                std::uint64_t read_pointer);
  TimeNs ApplyUpdate(Gpu* gpu, KfdQueue* queue, bool ring_changed, int* error);

  // kfd_events_ioctls.cc
  void CreateEvent(const Request& request, Process& process);
  void DestroyEvent(const Request& request, Process& process);
  void SetEvent(const Request& request, Process& process);
  void ResetEvent(const Request& request, Process& process);
  void WaitEvents(const Request& request, Process& process);

  std::vector<std::unique_ptr<Gpu>>* const gpus_;
  const SimClock* const clock_;
  Timers* const timers_;
  ProcFiles* const proc_files_;
  const bool strict_;
  std::vector<std::unique_ptr<RunlistGate>> gates_;  // one per GPU
};

}  // namespace virtual_gpu

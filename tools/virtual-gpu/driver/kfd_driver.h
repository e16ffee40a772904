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
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "connection.h"
#include "faults.h"
#include "gpu.h"
#include "kfd_abi.h"
#include "proc_files.h"
#include "process.h"
#include "runlist_gate.h"
#include "timers.h"

namespace virtual_gpu {

inline constexpr std::uint32_t kKfdMajor = 1;
inline constexpr std::uint32_t kKfdMinor = 14;

// What a queue that is off the device has in its save area.
struct WaveState {
  std::uint32_t control_stack_bytes = 0, save_area_bytes = 0;
};

class KfdDriver {
 public:
  KfdDriver(std::vector<std::unique_ptr<Gpu>>* gpus, const SimClock* clock, Timers* timers,
            ProcFiles* proc_files, const ProcessTable* processes, bool strict);

  // Both answer the request, now or later.
  void Ioctl(const Request& request);
  void DrmInfo(const Request& request);

  // A fault on request; answers with one line when the text is no fault, else nothing.
  std::string ArmFault(const std::string& text);

  const Faults& faults() const { return faults_; }

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
  static kfd::ProcessApertures AperturesOf(const Gpu& gpu);
  // One cycle on each GPU, one after the other; then `done`.
  void RefreshRunlists(std::function<void()> done, std::size_t gpu_index = 0);

  // kfd_driver.cc
  void GetVersion(const Request& request, Process& process);
  void GetClockCounters(const Request& request, Process& process);
  void GetApertures(const Request& request, Process& process);
  void CheckGpuOnly(const Request& request, Process& process);
  void SetXnackMode(const Request& request, Process& process);
  void GetTileConfig(const Request& request, Process& process);
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

  // kfd_create_queue.cc
  void CreateQueue(const Request& request, Process& process);
  void DestroyQueue(const Request& request, Process& process);
  int CheckCreate(const Process& process, kfd::CreateQueueArgs* args);
  int SdmaRoom(const Gpu& gpu, const kfd::CreateQueueArgs& args) const;
  int MakeQueue(Process& process, Gpu* gpu, KfdQueue* queue);
  void SubmitCreate(const Request& request, Gpu* gpu, const kfd::CreateQueueArgs& args);
  void SubmitDestroy(const Request& request, std::uint32_t id);
  void Forget(Process* process, std::uint32_t queue_id);

  // kfd_update_queue.cc
  void UpdateQueue(const Request& request, Process& process);
  void SetCuMask(const Request& request, Process& process);
  void GetQueueWaveState(const Request& request, Process& process);
  void AllocQueueGws(const Request& request, Process& process);
  static QueueConfig ConfigOf(const Process& process, const KfdQueue& queue);
  static WaveState WaveStateOf(const Gpu& gpu, const KfdQueue& queue);
  static int ApplyUpdate(const Process& process, Gpu* gpu, KfdQueue* queue,
                         const kfd::UpdateQueueArgs& args, TimeNs* returns_at);
  // Whether the queues are active has changed: one cycle. Under the GPU's gate.
  int ApplyActivity(Gpu* gpu, const Process& process, const std::vector<KfdQueue*>& queues,
                    TimeNs* returns_at);
  // `change` under the gate of the queue's GPU; `unknown` answers when the queue is gone by then.
  void SubmitChange(const Request& request, std::uint32_t queue_id, int unknown,
                    std::function<int(Gpu*, KfdQueue*, TimeNs*)> change);

  // kfd_debug.cc
  void RuntimeEnable(const Request& request, Process& process);
  void DbgTrap(const Request& request, Process& caller);
  std::shared_ptr<Process> DebugTarget(const Request& request, const Process& caller, int* error);
  void DebugEnable(const Request& request, const Process& caller,
                   const std::shared_ptr<Process>& target);
  void DebugDisable(const std::shared_ptr<Process>& target, std::function<void()> done);
  void DebugSendRuntimeEvent(const Request& request, const std::shared_ptr<Process>& target);
  void DebugSetExceptions(const Request& request, const std::shared_ptr<Process>& target);
  void DebugSetFlags(const Request& request, const std::shared_ptr<Process>& target);
  void DebugQueryEvent(const Request& request, const std::shared_ptr<Process>& target);
  void DebugQueueSnapshot(const Request& request, const std::shared_ptr<Process>& target);
  void DebugDeviceSnapshot(const Request& request, const std::shared_ptr<Process>& target);
  void Deactivate(const std::shared_ptr<Process>& target, std::function<void()> done);
  // `queue` null: an exception of the process.
  void RaiseException(Process* process, KfdQueue* queue, std::uint64_t mask);

  // kfd_debug_queues.cc
  struct QueueJob;
  void DebugSuspendQueues(const Request& request, const std::shared_ptr<Process>& target);
  void DebugResumeQueues(const Request& request, const std::shared_ptr<Process>& target);
  void SubmitNamed(const Request& request, const std::shared_ptr<QueueJob>& job);
  void ResumeAll(const std::shared_ptr<Process>& target, std::function<void()> done);
  void RunJob(std::shared_ptr<QueueJob> job, std::size_t gpu_index);
  void WakeDestroyers(Process* process);
  void RunJobOn(Gpu* gpu, QueueJob* job, TimeNs* returns_at);
  void WriteSaveAreaHeader(Gpu* gpu, Process* process, const KfdQueue& queue);

  // kfd_faults.cc
  std::string SetEvicted(pid_t pid, bool evicted);
  void OnHang(std::uint32_t gpu_index, TimeNs noticed_at);

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
  const ProcessTable* const processes_;
  const bool strict_;
  Faults faults_;
  std::vector<std::unique_ptr<RunlistGate>> gates_;  // one per GPU
};

}  // namespace virtual_gpu

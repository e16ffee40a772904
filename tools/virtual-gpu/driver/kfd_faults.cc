// kfd_faults.cc: faults on request: what the driver does when one comes true.
//
// A hung scheduler: unmap_queues_cpsch fails with -ETIME after the preemption timeout, amdkfd marks
// the hardware scheduler as hung (everything is -EIO from then on), resets the GPU, and tells the
// processes by their HW_EXCEPTION events. The queues of before are gone; new ones can be made.

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include <memory>

#include "kfd_driver.h"
#include "report.h"
#include "sim_timer.h"

namespace virtual_gpu {

std::string KfdDriver::ArmFault(const std::string& text) {
  FaultRequest request;
  std::string error;
  if (!ParseFault(text, &request, &error)) return error;
  if (request.gpu >= gpus_->size()) return "fault '" + text + "': no such GPU";
  Report("fault on request: %s", text.c_str());
  switch (request.fault) {
    case FaultKind::kDie:
      timers_->Add(RawNs() + request.number * 1'000'000, [] { kill(getpid(), SIGKILL); });
      return "";
    case FaultKind::kEvict:
    case FaultKind::kRestore:
      return SetEvicted(static_cast<pid_t>(request.number), request.fault == FaultKind::kEvict);
    default:
      faults_.Arm(request);
      return "";
  }
}

// evict_process_queues_cpsch, restore_process_queues_cpsch: one cycle per GPU for all its queues.
std::string KfdDriver::SetEvicted(pid_t pid, bool evicted) {
  bool any = false;
  for (const auto& [name, process] : *processes_) {
    if (process->pid != pid || process->finished) continue;
    any = true;
    if (evicted && !process->evicted) process->evicted_since_ns = RawNs();
    if (!evicted && process->evicted) {
      process->evicted_ns += RawNs() - process->evicted_since_ns;
    }
    process->evicted = evicted;
    for (std::uint32_t i = 0; i < gpus_->size(); ++i) {
      gates_[i]->Submit({[this, i, evicted, shared = process] {
                           TimeNs returns_at = clock_->Now();
                           std::vector<KfdQueue*> changed;
                           for (auto& [id, queue] : shared->queues) {
                             queue->evicted = evicted;
                             if (queue->gpu_index == i) changed.push_back(queue.get());
                           }
                           if (!changed.empty()) {
                             ApplyActivity((*gpus_)[i].get(), *shared, changed, &returns_at);
                           }
                           return returns_at;
                         },
                         [] {}});
    }
  }
  return any ? "" : "no process " + std::to_string(pid) + " has the device open";
}

void KfdDriver::OnHang(std::uint32_t gpu_index, TimeNs noticed_at) {
  const std::uint32_t gpu_id = (*gpus_)[gpu_index]->gpu_id();
  AddAtSimTime(timers_, clock_, noticed_at, [this, gpu_id] {
    Report("GPU 0x%x: the queue preemption timed out; reset, all its queues are lost", gpu_id);
    for (const auto& [name, process] : *processes_) process->events.RaiseReset(gpu_id);
  });
}

}  // namespace virtual_gpu

#include "process.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kUnrungDoorbell = ~0ull;

}  // namespace

std::shared_ptr<Process> Process::Create(std::uint64_t key, pid_t pid, std::uint64_t nonce,
                                         std::uint32_t gpus) {
  std::shared_ptr<Process> process(new Process(key, pid, nonce));
  process->doorbells = Arena::Create("virtual-gpu-doorbells", std::uint64_t{gpus} << kGpuShift);
  if (process->doorbells == nullptr) return nullptr;
  process->doorbell_slots_.resize(gpus);
  process->pid_fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
  std::getline(comm, process->command);
  for (std::uint32_t gpu = 0; gpu < gpus; ++gpu) {
    for (std::uint32_t slot = 0; slot < kQueuesMax; ++slot) {
      *process->Doorbell(gpu, slot) = kUnrungDoorbell;
    }
  }
  return process;
}

Process::~Process() {
  queues.clear();
  if (pid_fd >= 0) close(pid_fd);
  if (debug.event_fd >= 0) close(debug.event_fd);
}

std::uint64_t* Process::Doorbell(std::uint32_t gpu_index, std::uint32_t slot) const {
  const std::uint64_t offset = (std::uint64_t{gpu_index} << kGpuShift) + std::uint64_t{slot} * 8;
  return reinterpret_cast<std::uint64_t*>(doorbells->At(offset));
}

std::uint64_t Process::DoorbellOffset(std::uint32_t gpu_index, std::uint32_t slot) const {
  return (std::uint64_t{gpu_index} << kGpuShift) + std::uint64_t{slot} * 8;
}

bool Process::TakeDoorbell(std::uint32_t gpu_index, std::uint32_t* slot) {
  auto& taken = doorbell_slots_[gpu_index];
  for (std::uint32_t i = 0; i < kQueuesMax; ++i) {
    if (taken[i]) continue;
    taken[i] = true;
    *slot = i;
    std::atomic_ref(*Doorbell(gpu_index, i)).store(kUnrungDoorbell);
    return true;
  }
  return false;
}

void Process::GiveDoorbell(std::uint32_t gpu_index, std::uint32_t slot) {
  doorbell_slots_[gpu_index][slot] = false;
}

bool Process::FreeQueueId(std::uint32_t* id) const {
  for (std::uint32_t candidate = 0; candidate < kQueuesMax; ++candidate) {
    if (queues.contains(candidate)) continue;
    *id = candidate;
    return true;
  }
  return false;
}

KfdQueue* Process::FindQueue(std::uint32_t id) {
  const auto it = queues.find(id);
  return it == queues.end() ? nullptr : it->second.get();
}

}  // namespace virtual_gpu

#include "kfd_driver.h"

#include <errno.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "kfd_abi.h"
#include "report.h"

namespace virtual_gpu {
namespace {

// As kfd_init_apertures_v9; a limit of 47 bits makes GPU addresses equal CPU addresses.
constexpr std::uint64_t kLdsBase = 1ull << 48;
constexpr std::uint64_t kScratchBase = 2ull << 48;
constexpr std::uint64_t kApertureLast = 0xffffffffull;
constexpr std::uint64_t kGpuvmBase = 0x1003000;
constexpr std::uint64_t kGpuvmLimit = (1ull << 47) - 1;

constexpr std::uint32_t kStagingFirst = 0x80;      // numbers that only AMD's DKMS tree has
constexpr std::uint32_t kStagingDebugTrap = 0x82;  // ROCr 5 asks at every start; ENOTTY is its cue

}  // namespace

const KfdDriver::Entry KfdDriver::kTable[] = {
    {0x01, "GET_VERSION", &KfdDriver::GetVersion},
    {0x02, "CREATE_QUEUE", &KfdDriver::CreateQueue},
    {0x03, "DESTROY_QUEUE", &KfdDriver::DestroyQueue},
    {0x04, "SET_MEMORY_POLICY", &KfdDriver::CheckGpuOnly},
    {0x05, "GET_CLOCK_COUNTERS", &KfdDriver::GetClockCounters},
    {0x06, "GET_PROCESS_APERTURES", &KfdDriver::NotModelled},
    {0x07, "UPDATE_QUEUE", &KfdDriver::UpdateQueue},
    {0x08, "CREATE_EVENT", &KfdDriver::CreateEvent},
    {0x09, "DESTROY_EVENT", &KfdDriver::DestroyEvent},
    {0x0a, "SET_EVENT", &KfdDriver::SetEvent},
    {0x0b, "RESET_EVENT", &KfdDriver::ResetEvent},
    {0x0c, "WAIT_EVENTS", &KfdDriver::WaitEvents},
    {0x0d, "DBG_REGISTER", &KfdDriver::NotPermitted},
    {0x0e, "DBG_UNREGISTER", &KfdDriver::NotPermitted},
    {0x0f, "DBG_ADDRESS_WATCH", &KfdDriver::NotPermitted},
    {0x10, "DBG_WAVE_CONTROL", &KfdDriver::NotPermitted},
    {0x11, "SET_SCRATCH_BACKING_VA", &KfdDriver::CheckGpuOnly},
    {0x12, "GET_TILE_CONFIG", &KfdDriver::GetTileConfig},
    {0x13, "SET_TRAP_HANDLER", &KfdDriver::CheckGpuOnly},
    {0x14, "GET_PROCESS_APERTURES_NEW", &KfdDriver::GetApertures},
    {0x15, "ACQUIRE_VM", &KfdDriver::CheckGpuOnly},
    {0x16, "ALLOC_MEMORY_OF_GPU", &KfdDriver::AllocMemory},
    {0x17, "FREE_MEMORY_OF_GPU", &KfdDriver::FreeMemory},
    {0x18, "MAP_MEMORY_TO_GPU", &KfdDriver::MapMemory},
    {0x19, "UNMAP_MEMORY_FROM_GPU", &KfdDriver::UnmapMemory},
    {0x1a, "SET_CU_MASK", &KfdDriver::SetCuMask},
    {0x1b, "GET_QUEUE_WAVE_STATE", &KfdDriver::GetQueueWaveState},
    {0x1c, "GET_DMABUF_INFO", &KfdDriver::NotModelled},
    {0x1d, "IMPORT_DMABUF", &KfdDriver::NotModelled},
    {0x1e, "ALLOC_QUEUE_GWS", &KfdDriver::AllocQueueGws},
    {0x1f, "SMI_EVENTS", &KfdDriver::NotModelled},
    {0x20, "SVM", &KfdDriver::NotPermitted},
    {0x21, "SET_XNACK_MODE", &KfdDriver::SetXnackMode},
    {0x22, "CRIU_OP", &KfdDriver::NotPermitted},
    {0x23, "AVAILABLE_MEMORY", &KfdDriver::AvailableMemory},
    {0x24, "EXPORT_DMABUF", &KfdDriver::NotModelled},
    {0x25, "RUNTIME_ENABLE", &KfdDriver::RuntimeEnable},
    {0x26, "DBG_TRAP", &KfdDriver::DbgTrap},
    {0x80, "IPC_IMPORT_HANDLE (DKMS)", &KfdDriver::NotKnown},
    {0x81, "IPC_EXPORT_HANDLE (DKMS)", &KfdDriver::NotKnown},
};

KfdDriver::KfdDriver(std::vector<std::unique_ptr<Gpu>>* gpus, const SimClock* clock, Timers* timers,
                     ProcFiles* proc_files, const ProcessTable* processes, bool strict)
    : gpus_(gpus),
      clock_(clock),
      timers_(timers),
      proc_files_(proc_files),
      processes_(processes),
      strict_(strict) {
  for (std::size_t i = 0; i < gpus->size(); ++i) {
    gates_.push_back(std::make_unique<RunlistGate>(clock, timers));
    (*gpus)[i]->SetFaults(&faults_, [this](std::uint32_t gpu, TimeNs at) { OnHang(gpu, at); });
  }
}

void KfdDriver::Ioctl(const Request& request) {
  Process& process = *request.connection->process;
  const std::uint32_t number = request.header.number;
  for (const Entry& entry : kTable) {
    if (entry.number == number) return (this->*entry.handler)(request, process);
  }
  if (number == kStagingDebugTrap) return request.Reply(ENOTTY);
  Unknown(request, number >= kStagingFirst ? "of AMD's DKMS tree" : "unknown", ENOTTY);
}

void KfdDriver::Unknown(const Request& request, const char* name, int error) {
  const std::uint32_t number = request.header.number;
  char line[160];
  std::snprintf(line, sizeof(line), "KFD ioctl 0x%02x (%s) is not modelled; it fails with %s",
                number, name, strerrorname_np(error));
  ReportOnce("ioctl:" + std::to_string(number) + name, line);
  request.Reply(error);
  if (strict_) StrictAbort();
}

Gpu* KfdDriver::FindGpu(std::uint32_t gpu_id) {
  for (auto& gpu : *gpus_) {
    if (gpu->gpu_id() == gpu_id) return gpu.get();
  }
  return nullptr;
}

void KfdDriver::GetVersion(const Request& request, Process&) {
  request.ReplyWith(0, kfd::GetVersionArgs{kKfdMajor, kKfdMinor});
}

void KfdDriver::GetClockCounters(const Request& request, Process&) {
  auto args = request.Arg<kfd::GetClockCountersArgs>();
  args.cpu_clock_counter = static_cast<std::uint64_t>(RawNs());
  args.gpu_clock_counter = args.cpu_clock_counter / kGpuTickNs;
  args.system_clock_counter = static_cast<std::uint64_t>(ClockNs(CLOCK_BOOTTIME));
  args.system_clock_freq = 1'000'000'000;
  request.ReplyWith(0, args);
}

kfd::ProcessApertures KfdDriver::AperturesOf(const Gpu& gpu) {
  kfd::ProcessApertures a = {};
  a.lds_base = kLdsBase;
  a.lds_limit = kLdsBase + kApertureLast;
  a.scratch_base = kScratchBase;
  a.scratch_limit = kScratchBase + kApertureLast;
  a.gpuvm_base = kGpuvmBase;
  a.gpuvm_limit = kGpuvmLimit;
  a.gpu_id = gpu.gpu_id();
  return a;
}

void KfdDriver::GetApertures(const Request& request, Process&) {
  auto args = request.Arg<kfd::GetAperturesNewArgs>();
  std::vector<kfd::ProcessApertures> apertures;
  for (const auto& gpu : *gpus_) {
    apertures.push_back(AperturesOf(*gpu));
  }
  const std::size_t wanted = args.num_of_nodes;
  args.num_of_nodes = static_cast<std::uint32_t>(apertures.size());
  apertures.resize(std::min(wanted, apertures.size()));
  request.ReplyWith(0, args, std::as_bytes(std::span(apertures)));
}

// Accepted without effect: the device has no caches, scratch or trap handler of its own.
void KfdDriver::CheckGpuOnly(const Request& request, Process&) {
  std::size_t at = 16;  // of gpu_id: SET_MEMORY_POLICY, SET_TRAP_HANDLER
  if (request.header.number == 0x11) at = 8;
  if (request.header.number == 0x15) at = 4;
  std::uint32_t gpu_id = 0;
  if (request.arg.size() >= at + sizeof(gpu_id)) {
    std::memcpy(&gpu_id, request.arg.data() + at, sizeof(gpu_id));
  }
  request.Reply(FindGpu(gpu_id) == nullptr ? EINVAL : 0);
}

void KfdDriver::SetXnackMode(const Request& request, Process& process) {
  auto args = request.Arg<kfd::SetXnackModeArgs>();
  if (args.xnack_enabled > 0) return request.Reply(EPERM);  // no retry faults on this device
  if (args.xnack_enabled == 0 && !process.queues.empty()) return request.Reply(EBUSY);
  args.xnack_enabled = 0;
  request.ReplyWith(0, args);
}

void KfdDriver::GetTileConfig(const Request& request, Process&) {
  auto args = request.Arg<kfd::GetTileConfigArgs>();
  if (FindGpu(args.gpu_id) == nullptr) return request.Reply(EINVAL);
  args.num_tile_configs = 0;
  args.num_macro_tile_configs = 0;
  args.gb_addr_config = 0x2a114042;  // gfx_v9_0.c, Arcturus and Aldebaran
  args.num_banks = 0;
  args.num_ranks = 0;
  request.ReplyWith(0, args);
}

void KfdDriver::RefreshRunlists(std::function<void()> done, std::size_t gpu_index) {
  if (gpu_index == gpus_->size()) return done();
  Gpu* gpu = (*gpus_)[gpu_index].get();
  gates_[gpu_index]->Submit({[gpu, this] {
                               TimeNs returns_at = clock_->Now();
                               gpu->BareCycle(&returns_at);
                               return returns_at;
                             },
                             [this, gpu_index, done = std::move(done)]() mutable {
                               RefreshRunlists(std::move(done), gpu_index + 1);
                             }});
}

void KfdDriver::NotPermitted(const Request& request, Process&) {
  for (const Entry& entry : kTable) {
    if (entry.number == request.header.number) return Unknown(request, entry.name, EPERM);
  }
}

void KfdDriver::NotModelled(const Request& request, Process&) {
  for (const Entry& entry : kTable) {
    if (entry.number == request.header.number) return Unknown(request, entry.name, EINVAL);
  }
}

void KfdDriver::NotKnown(const Request& request, Process&) {
  for (const Entry& entry : kTable) {
    if (entry.number == request.header.number) return Unknown(request, entry.name, ENOTTY);
  }
}

void KfdDriver::EndProcess(Process* process) {
  if (process->finished) return;
  process->finished = true;
  // A debugger that dies lets its targets go on.
  for (const auto& [name, target] : *processes_) {
    if (target.get() != process && target->debug.enabled &&
        target->debug.debugger == process->key) {
      DebugDisable(target, [] {});
    }
  }
  proc_files_->RemoveProcess(*process);
  for (auto& gpu : *gpus_) {
    gpu->DropProcess(process->key);
    gpu->vram_used -= process->memory.UsedBytes(Allocation::Kind::kVram, gpu->index());
  }
  for (auto& [id, queue] : process->queues) {
    if (queue->sdma != nullptr) (*gpus_)[queue->gpu_index]->sdma()->Remove(queue->sdma.get());
  }
  process->queues.clear();
}

}  // namespace virtual_gpu

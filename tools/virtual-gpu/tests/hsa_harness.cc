#include "hsa_harness.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/ioctl.h>
#include <time.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kfd_abi.h"

namespace virtual_gpu::test {
namespace {

// The last compute queue that the runtime has created; test programs make queues on one thread.
KfdQueueInfo g_last_queue;

struct Pools {
  hsa_amd_memory_pool_t pool = {};
  bool found = false;
};

hsa_status_t FindGlobalPool(hsa_amd_memory_pool_t pool, void* data) {
  auto* pools = static_cast<Pools*>(data);
  hsa_amd_segment_t segment;
  bool allocatable = false;
  HSA_CHECK(hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment));
  HSA_CHECK(hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_ALLOWED,
                                         &allocatable));
  if (segment != HSA_AMD_SEGMENT_GLOBAL || !allocatable || pools->found) return HSA_STATUS_SUCCESS;
  pools->pool = pool;
  pools->found = true;
  return HSA_STATUS_SUCCESS;
}

hsa_amd_memory_pool_t GlobalPool(hsa_agent_t agent) {
  Pools pools;
  HSA_CHECK(hsa_amd_agent_iterate_memory_pools(agent, FindGlobalPool, &pools));
  if (!pools.found) Die("an agent has no global memory pool");
  return pools.pool;
}

hsa_status_t FindAgents(hsa_agent_t agent, void* data) {
  auto* runtime = static_cast<Runtime*>(data);
  hsa_device_type_t type;
  HSA_CHECK(hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type));
  hsa_agent_t* slot = type == HSA_DEVICE_TYPE_GPU ? &runtime->gpu : &runtime->cpu;
  if (slot->handle == 0) *slot = agent;
  return HSA_STATUS_SUCCESS;
}

}  // namespace

int KfdIoctl(int fd, std::uint32_t number, void* args, unsigned bytes) {
  const unsigned long request = _IOC(_IOC_READ | _IOC_WRITE, 'K', number, bytes);
  return ioctl(fd, request, args) == 0 ? 0 : errno;
}

std::string VirtualGpuProgram() { return "'" XSCHED_HSA_BIN_DIR "/virtual-gpu'"; }

int KfdIoctlResult(int fd, std::uint32_t number, void* args, unsigned bytes) {
  const unsigned long request = _IOC(_IOC_READ | _IOC_WRITE, 'K', number, bytes);
  const int result = ioctl(fd, request, args);
  return result >= 0 ? result : -errno;
}

std::uint32_t GpuIdOfNode(int node) {
  const std::string path = "/sys/class/kfd/kfd/topology/nodes/" + std::to_string(node) + "/gpu_id";
  FILE* file = fopen(path.c_str(), "r");
  unsigned id = 0;
  if (file == nullptr || std::fscanf(file, "%u", &id) != 1) Die("no %s", path.c_str());
  std::fclose(file);
  return id;
}

std::string StatsText(const std::string& flags) {
  FILE* pipe = popen((VirtualGpuProgram() + " stats " + flags).c_str(), "r");
  std::string text;
  char buffer[4096];
  for (std::size_t got; (got = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    text.append(buffer, got);
  }
  pclose(pipe);
  return text;
}

void WaitUntilRunning(const Queue& queue) {
  const std::string id = "\"id\": " + std::to_string(queue.kfd().queue_id) + ",";
  const std::string key = "\"resident_workgroups\": ";
  for (;;) {
    const std::string text = StatsText("--json");
    const std::size_t at = text.find(key, text.find(id));
    if (at != std::string::npos && std::atoll(text.c_str() + at + key.size()) > 0) return;
    SleepMs(1);
  }
}

long long Stat(const std::string& name, long pid) {
  const std::string text = StatsText("--json");
  const std::size_t process = pid == 0 ? 0 : text.find("\"pid\": " + std::to_string(pid) + ",");
  const std::string key = "\"" + name + "\": ";
  const std::size_t at = process == std::string::npos ? process : text.find(key, process);
  return at == std::string::npos ? -1 : std::atoll(text.c_str() + at + key.size());
}

void NoteIoctl(int fd, unsigned long request, const void* arg) {
  if (_IOC_TYPE(request) != 'K' || _IOC_NR(request) != kfd::kCreateQueue) return;
  kfd::CreateQueueArgs args = {};
  std::memcpy(&args, arg, std::min<std::size_t>(_IOC_SIZE(request), sizeof(args)));
  if (args.queue_type != kfd::kQueueComputeAql) return;
  g_last_queue = {fd, args.queue_id, args.ring_base_address, args.ring_size};
}

void Die(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
  std::_Exit(1);
}

void Check(hsa_status_t status, const char* call) {
  if (status == HSA_STATUS_SUCCESS || status == HSA_STATUS_INFO_BREAK) return;
  const char* text = "unknown status";
  hsa_status_string(status, &text);
  Die("%s: %s", call, text);
}

void Expect(bool holds, const char* what) {
  if (!holds) Die("does not hold: %s", what);
}

Runtime::Runtime() {
  HSA_CHECK(hsa_init());
  HSA_CHECK(hsa_iterate_agents(FindAgents, this));
  if (gpu.handle == 0) Die("no GPU agent");
  vram = GlobalPool(gpu);
  host = GlobalPool(cpu);
}

void* Runtime::Vram(std::size_t bytes) const {
  void* memory = nullptr;
  HSA_CHECK(hsa_amd_memory_pool_allocate(vram, bytes, 0, &memory));
  return memory;
}

void* Runtime::Host(std::size_t bytes) const {
  void* memory = nullptr;
  HSA_CHECK(hsa_amd_memory_pool_allocate(host, bytes, 0, &memory));
  HSA_CHECK(hsa_amd_agents_allow_access(1, &gpu, nullptr, memory));
  std::memset(memory, 0, bytes);
  return memory;
}

hsa_signal_t Runtime::Signal(std::int64_t value) const {
  hsa_signal_t signal;
  HSA_CHECK(hsa_signal_create(value, 0, nullptr, &signal));
  return signal;
}

Queue::Queue(const Runtime& runtime, std::uint32_t packets) {
  HSA_CHECK(hsa_queue_create(runtime.gpu, packets, HSA_QUEUE_TYPE_MULTI, nullptr, nullptr,
                             UINT32_MAX, UINT32_MAX, &queue_));
  HSA_CHECK(hsa_amd_profiling_set_profiler_enabled(queue_, 1));
  kfd_ = g_last_queue;
  if (kfd_.ring != reinterpret_cast<std::uint64_t>(queue_->base_address)) {
    Die("the queue's CREATE_QUEUE ioctl was not seen");
  }
}

Queue::~Queue() { hsa_queue_destroy(queue_); }

void Queue::Submit(const void* packet, std::uint8_t type, bool barrier) {
  const std::uint64_t index = hsa_queue_add_write_index_relaxed(queue_, 1);
  while (index - hsa_queue_load_read_index_scacquire(queue_) >= queue_->size) SleepMs(0);
  auto* slot = static_cast<char*>(queue_->base_address) + index % queue_->size * 64;
  std::memcpy(slot + 2, static_cast<const char*>(packet) + 2, 62);
  const auto header = static_cast<std::uint16_t>(
      type | (barrier ? 1u << HSA_PACKET_HEADER_BARRIER : 0) |
      (HSA_FENCE_SCOPE_SYSTEM << HSA_PACKET_HEADER_SCACQUIRE_FENCE_SCOPE) |
      (HSA_FENCE_SCOPE_SYSTEM << HSA_PACKET_HEADER_SCRELEASE_FENCE_SCOPE));
  __atomic_store_n(reinterpret_cast<std::uint16_t*>(slot), header, __ATOMIC_RELEASE);
  hsa_signal_store_screlease(queue_->doorbell_signal, static_cast<std::int64_t>(index));
}

void Queue::SubmitBarrierAnd(hsa_signal_t dependency, hsa_signal_t completion) {
  hsa_barrier_and_packet_t packet = {};
  packet.dep_signal[0] = dependency;
  packet.completion_signal = completion;
  Submit(&packet, HSA_PACKET_TYPE_BARRIER_AND);
}

void Queue::SubmitBarrierOr(hsa_signal_t first, hsa_signal_t second, hsa_signal_t completion) {
  hsa_barrier_or_packet_t packet = {};
  packet.dep_signal[0] = first;
  packet.dep_signal[3] = second;
  packet.completion_signal = completion;
  Submit(&packet, HSA_PACKET_TYPE_BARRIER_OR);
}

int Queue::SetPercentage(std::uint32_t percentage) const {
  kfd::UpdateQueueArgs args = {kfd_.ring, kfd_.queue_id, kfd_.ring_bytes, percentage, 7};
  return KfdIoctl(kfd_.fd, kfd::kUpdateQueue, &args, sizeof(args));
}

int Queue::SetRingNull() const {
  kfd::UpdateQueueArgs args = {0, kfd_.queue_id, kfd_.ring_bytes, 100, 7};
  return KfdIoctl(kfd_.fd, kfd::kUpdateQueue, &args, sizeof(args));
}

int Queue::SetCuMask(const std::uint32_t* words, std::uint32_t bits) const {
  kfd::SetCuMaskArgs args = {kfd_.queue_id, bits, reinterpret_cast<std::uint64_t>(words)};
  return KfdIoctl(kfd_.fd, kfd::kSetCuMask, &args, sizeof(args));
}

bool WaitZero(hsa_signal_t signal, hsa_wait_state_t state) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::uint64_t kTimeoutTicks = 100'000'000'000;  // the device is several times slower
#else
  constexpr std::uint64_t kTimeoutTicks = 20'000'000'000;  // HSA's clock counts nanoseconds
#endif
  return hsa_signal_wait_scacquire(signal, HSA_SIGNAL_CONDITION_LT, 1, kTimeoutTicks, state) < 1;
}

void SleepMs(int ms) {
  const timespec time = {ms / 1000, ms % 1000 * 1'000'000L};
  nanosleep(&time, nullptr);
}

std::uint64_t KernelNs(const Runtime& runtime, hsa_signal_t signal) {
  hsa_amd_profiling_dispatch_time_t time = {};
  HSA_CHECK(hsa_amd_profiling_get_dispatch_time(runtime.gpu, signal, &time));
  return time.end - time.start;  // the runtime's clock counts nanoseconds
}

}  // namespace virtual_gpu::test

// The executable's ioctl comes before every library's: that is how a tool learns KFD's queue ids.
extern "C" int ioctl(int fd, unsigned long request, ...) {
  using Ioctl = int (*)(int, unsigned long, ...);
  static const auto next = reinterpret_cast<Ioctl>(dlsym(RTLD_NEXT, "ioctl"));
  va_list arguments;
  va_start(arguments, request);
  void* arg = va_arg(arguments, void*);
  va_end(arguments);
  const int rc = next(fd, request, arg);
  if (rc == 0) virtual_gpu::test::NoteIoctl(fd, request, arg);
  return rc;
}

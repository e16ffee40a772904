// queue_programs.cc: programs that look at, suspend and mask their own queues below the runtime.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "hsa_harness.h"
#include "kfd_abi.h"
#include "programs.h"

namespace virtual_gpu::test {
namespace {

constexpr hsa_signal_t kNoSignal = {0};
constexpr char kProc[] = "/sys/class/kfd/kfd/proc/";

std::set<std::string> Names(const std::string& directory) {
  std::set<std::string> names;
  DIR* open_directory = opendir(directory.c_str());
  if (open_directory == nullptr) return names;
  while (const dirent* entry = readdir(open_directory)) {
    if (entry->d_name[0] != '.') names.insert(entry->d_name);
  }
  closedir(open_directory);
  return names;
}

std::string ReadAt(int directory, const std::string& path) {
  const int fd = openat(directory, path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "no " + path;
  char text[128];
  const ssize_t got = read(fd, text, sizeof(text));
  close(fd);
  return std::string(text, got > 0 ? static_cast<std::size_t>(got) : 0);
}

// What a layer does that wants to know the KFD id of the queue that it has just made.
void QueueFiles() {
  const Runtime runtime;
  const std::string mine = kProc + std::to_string(getpid());
  const std::string queues = mine + "/queues";
  const std::string gpu_id = std::to_string(GpuIdOfNode(1));
  {
    const Queue first(runtime);
    const std::set<std::string> before = Names(queues);
    const std::set<std::string> same =
        Names("/sys/devices/virtual/kfd/kfd/proc/" + std::to_string(getpid()) + "/queues");
    EXPECT_THAT(before == same && before.contains(std::to_string(first.kfd().queue_id)));
    const Queue second(runtime, 1024);
    std::set<std::string> fresh = Names(queues);
    for (const std::string& name : before) fresh.erase(name);
    EXPECT_THAT(fresh == std::set{std::to_string(second.kfd().queue_id)});

    const std::string id = *fresh.begin();
    const std::string size = std::to_string(second.kfd().ring_bytes);
    EXPECT_THAT(ReadAt(AT_FDCWD, queues + "/" + id + "/size") == size);
    EXPECT_THAT(ReadAt(AT_FDCWD, queues + "/" + id + "/type") == "0");
    const int proc = open(kProc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    EXPECT_THAT(proc >= 0);
    EXPECT_THAT(ReadAt(proc, std::to_string(getpid()) + "/queues/" + id + "/gpuid") == gpu_id);
    close(proc);
    // Relative to a directory that the host has too.
    const int above = open("/sys/class", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const std::string below = "kfd/kfd/proc/" + std::to_string(getpid()) + "/queues/" + id;
    EXPECT_THAT(ReadAt(above, below + "/size") == size);
    EXPECT_THAT(open((queues + "/" + id + "/size").c_str(), O_WRONLY | O_CLOEXEC) < 0 ||
                geteuid() == 0);
    close(above);
  }
  const std::set<std::string> after = Names(queues);
  const Queue third(runtime);  // ids are used again, as KFD's
  EXPECT_THAT(Names(queues).size() == after.size() + 1);
}

// The counters are of the moment at which they are read.
void ProcessCounters() {
  const Runtime runtime;
  const std::string mine = kProc + std::to_string(getpid());
  const std::string gpu_id = std::to_string(GpuIdOfNode(1));
  const auto number = [&](const std::string& name) {
    const std::string text = ReadAt(AT_FDCWD, mine + "/" + name);
    EXPECT_THAT(text.size() > 1 && text.back() == '\n');
    return std::atoll(text.c_str());
  };
  const long long before = number("vram_" + gpu_id);
  constexpr long long kBytes = 64 << 20;
  EXPECT_THAT(runtime.Vram(kBytes) != nullptr);
  EXPECT_THAT(number("vram_" + gpu_id) == before + kBytes);
  EXPECT_THAT(number("pasid") > 0 && number("sdma_" + gpu_id) >= 0);
  EXPECT_THAT(number("stats_" + gpu_id + "/evicted_ms") == 0);
  EXPECT_THAT(number("stats_" + gpu_id + "/cu_occupancy") == 0);
  Queue queue(runtime);
  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const hsa_signal_t done = runtime.Signal(1);
  // One wave on each CU: 80 waves are two and a half full CUs.
  kernel.Dispatch(&queue, counters, 0, 80, 500'000'000, done, 65536);
  while (number("stats_" + gpu_id + "/cu_occupancy") == 0) SleepMs(1);
  EXPECT_THAT(number("stats_" + gpu_id + "/cu_occupancy") == 3);
  EXPECT_THAT(WaitZero(done));
  EXPECT_THAT(number("stats_" + gpu_id + "/cu_occupancy") == 0);
}

std::string Whole(const char* path) {
  std::string text;
  char buffer[4096];
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  EXPECT_THAT(fd >= 0);
  for (ssize_t got; (got = read(fd, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  close(fd);
  return text;
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) {
    ++count;
  }
  return count;
}

// Parses hqds as the tools do: a block for each slot of each XCC, active ones by the third
// register.
void Debugfs() {
  const Runtime runtime;
  const Queue first(runtime), second(runtime);
  EXPECT_THAT(second.SetPercentage(0) == 0);
  const std::uint32_t mask[3] = {0x0000ffff, 0, 0};  // CU 0 of each SE
  EXPECT_THAT(first.SetCuMask(mask, 96) == 0);
  SleepMs(20);  // the remap comes after the ioctl
  const std::string hqds = Whole("/sys/kernel/debug/kfd/hqds");
  char node[32], base[64];
  std::snprintf(node, sizeof(node), "Node 1, gpu_id %x:", GpuIdOfNode(1));
  EXPECT_THAT(hqds.find(node) == 0);
  EXPECT_THAT(Count(hqds, "HIQ on MEC 2 Pipe 0 Queue 0\n") == 4 && Count(hqds, "CP Pipe") == 96);
  EXPECT_THAT(Count(hqds, "    0000c914: ") == 100 && Count(hqds, ", Queue 2\n") == 16);
  std::snprintf(base, sizeof(base), " %08x %08x", static_cast<unsigned>(first.kfd().ring >> 8),
                static_cast<unsigned>(first.kfd().ring >> 40));
  EXPECT_THAT(Count(hqds, base) == 4);  // on every XCC
  const auto active = [&](std::size_t block) {
    unsigned value = 2;
    const std::size_t row = hqds.find("0000c914: ", block);
    EXPECT_THAT(std::sscanf(hqds.c_str() + row, "0000c914: %*x %*x %x", &value) == 1);
    return value;
  };
  EXPECT_THAT(active(hqds.rfind("CP Pipe", hqds.find(base))) == 1);
  EXPECT_THAT(active(hqds.rfind("CP Pipe")) == 0);  // the last slot
  std::snprintf(base, sizeof(base), " %08x %08x", static_cast<unsigned>(second.kfd().ring >> 8),
                static_cast<unsigned>(second.kfd().ring >> 40));
  EXPECT_THAT(Count(hqds, base) == 0);                             // suspended
  EXPECT_THAT(Count(hqds, " 00000001 00000007 00000111\n") >= 4);  // priorities, quantum
  const std::string mqds = Whole("/sys/kernel/debug/kfd/mqds");
  EXPECT_THAT(mqds.find("Process " + std::to_string(getpid()) + " PASID ") == 0);
  EXPECT_THAT(Count(mqds, "  Compute queue on device ") >= 2);
  EXPECT_THAT(Count(mqds, "    00000000: c0310800") >= 2);
  EXPECT_THAT(Count(mqds, "    00000060: 00000001 00000000 00000001 00000001") == 1);  // the mask
  EXPECT_THAT(Whole("/sys/kernel/debug/kfd/rls").find("c005a200") != std::string::npos);
}

int Update(int fd, const Queue& queue, bool with_ring, std::uint32_t percentage,
           std::uint32_t priority = 7) {
  const KfdQueueInfo& kfd = queue.kfd();
  kfd::UpdateQueueArgs args = {with_ring ? kfd.ring : 0, kfd.queue_id, kfd.ring_bytes, percentage,
                               priority};
  return KfdIoctl(fd, kfd::kUpdateQueue, &args, sizeof(args));
}

// A second descriptor, opened by the program itself, is the same KFD process.
void SecondDescriptor() {
  const Runtime runtime;
  const int kfd = open("/dev/kfd", O_RDWR | O_CLOEXEC);
  EXPECT_THAT(kfd >= 0);
  Queue low(runtime), high(runtime);
  EXPECT_THAT(kfd != low.kfd().fd);
  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  auto* others = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const auto now = [&] { return std::atomic_ref(counters->done).load(std::memory_order_acquire); };
  constexpr std::uint64_t kWorkgroups = 80 * 32 * 10;
  std::uint64_t sequence = 0;
  for (const bool with_ring : {true, false}) {
    const hsa_signal_t done = runtime.Signal(1);
    const std::uint64_t before = now();
    kernel.Dispatch(&low, counters, sequence, kWorkgroups, 10'000'000, done);
    while (now() == before) SleepMs(1);
    EXPECT_THAT(Update(kfd, low, with_ring, with_ring ? 0 : 100) == 0);
    const std::uint64_t stopped_at = now();
    EXPECT_THAT(stopped_at < before + kWorkgroups);
    const hsa_signal_t other_done = runtime.Signal(1);
    kernel.Dispatch(&high, others, sequence, kWorkgroups / 10, 10'000'000, other_done);
    EXPECT_THAT(WaitZero(other_done));  // the other queue has the device
    EXPECT_THAT(now() == stopped_at);
    EXPECT_THAT(Update(kfd, low, true, 100) == 0);
    EXPECT_THAT(WaitZero(done));
    EXPECT_THAT(now() == before + kWorkgroups);
    ++sequence;
  }
  EXPECT_THAT(counters->order_errors == 0 && others->order_errors == 0);
  close(kfd);
  EXPECT_THAT(low.SetPercentage(100) == 0);  // closing it leaves the runtime's alone
}

std::string CusOf(std::uint32_t queue_id) {
  const std::string text = StatsText("--cus");
  const std::size_t queue = text.find("\"id\": " + std::to_string(queue_id) + ",");
  const std::size_t at = text.find("\"cus\": \"", queue);
  if (queue == std::string::npos || at == std::string::npos) return "";
  const std::size_t begin = at + std::strlen("\"cus\": \"");
  return text.substr(begin, text.find('"', begin) - begin);
}

// SET_CU_MASK from the second descriptor moves running workgroups to the CUs of the mask.
void MaskMoves() {
  const Runtime runtime;
  const int kfd = open("/dev/kfd", O_RDWR | O_CLOEXEC);
  Queue queue(runtime);
  WorkKernel kernel(runtime);
  auto* counters = static_cast<WorkKernel::Counters*>(runtime.Host(sizeof(WorkKernel::Counters)));
  const hsa_signal_t done = runtime.Signal(1);
  // 64 KiB of LDS: one workgroup on a CU; 80 CUs, 16 of which the mask leaves.
  kernel.Dispatch(&queue, counters, 0, 160, 400'000'000, done, 65536);
  while (CusOf(queue.kfd().queue_id).empty()) SleepMs(1);
  const std::string all = CusOf(queue.kfd().queue_id);
  EXPECT_THAT(all.find("0.0.0") == 0 && all.find("3.3.4") != std::string::npos);
  const std::uint32_t first_of_each_se[3] = {0x0000ffff, 0, 0};  // 4 XCCs x 4 SEs, CU 0
  kfd::SetCuMaskArgs args = {queue.kfd().queue_id, 96,
                             reinterpret_cast<std::uint64_t>(first_of_each_se)};
  EXPECT_THAT(KfdIoctl(kfd, kfd::kSetCuMask, &args, sizeof(args)) == 0);
  std::string masked;
  while ((masked = CusOf(queue.kfd().queue_id)).empty()) SleepMs(1);
  std::string wanted;
  for (int xcc = 0; xcc < 4; ++xcc) {
    for (int se = 0; se < 4; ++se) {
      wanted += (wanted.empty() ? "" : " ") + std::to_string(xcc) + "." + std::to_string(se) + ".0";
    }
  }
  std::printf("before: %s\nmasked: %s\n", all.c_str(), masked.c_str());
  EXPECT_THAT(masked == wanted);
  const std::uint32_t every[3] = {0xffffffff, 0xffffffff, 0x0000ffff};
  args.cu_mask_ptr = reinterpret_cast<std::uint64_t>(every);
  EXPECT_THAT(KfdIoctl(kfd, kfd::kSetCuMask, &args, sizeof(args)) == 0);
  EXPECT_THAT(WaitZero(done));
  EXPECT_THAT(counters->done == 160);
}

hsa_status_t CollectGpus(hsa_agent_t agent, void* data) {
  hsa_device_type_t type;
  HSA_CHECK(hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type));
  if (type == HSA_DEVICE_TYPE_GPU) static_cast<std::vector<hsa_agent_t>*>(data)->push_back(agent);
  return HSA_STATUS_SUCCESS;
}

// What each GPU's entry of the statistics says of its runlist cycles.
std::vector<long long> RunlistCycles() {
  const std::string text = StatsText("--json"), key = "\"runlist_cycles\": ";
  std::vector<long long> cycles;
  for (std::size_t at = 0; (at = text.find(key, at)) != std::string::npos;) {
    cycles.push_back(std::atoll(text.c_str() + (at += key.size())));
  }
  return cycles;
}

// A packet on every GPU; a change to one GPU's queue leaves the others' runlists alone.
void EveryGpu() {
  Runtime runtime;
  std::vector<hsa_agent_t> gpus;
  HSA_CHECK(hsa_iterate_agents(CollectGpus, &gpus));
  std::printf("gpus %zu\n", gpus.size());
  const hsa_signal_t done = runtime.Signal(static_cast<std::int64_t>(gpus.size()));
  std::vector<std::unique_ptr<Queue>> queues;
  std::set<std::string> owners;
  for (const hsa_agent_t gpu : gpus) {
    runtime.gpu = gpu;
    queues.push_back(std::make_unique<Queue>(runtime));
    queues.back()->SubmitBarrierAnd(kNoSignal, done);
    owners.insert(ReadAt(AT_FDCWD, kProc + std::to_string(getpid()) + "/queues/" +
                                       std::to_string(queues.back()->kfd().queue_id) + "/gpuid"));
  }
  EXPECT_THAT(WaitZero(done));
  EXPECT_THAT(owners.size() == gpus.size());
  // ROCR_VISIBLE_DEVICES may hide some: the one that changes is the one that the queue is on.
  const std::vector<long long> before = RunlistCycles();
  EXPECT_THAT(before.size() >= gpus.size());
  for (int i = 0; i < 3; ++i) EXPECT_THAT(queues.back()->SetPercentage(100) == 0);
  const std::vector<long long> after = RunlistCycles();
  int changed = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_THAT(after[i] == before[i] || after[i] == before[i] + 3);
    changed += after[i] != before[i];
  }
  EXPECT_THAT(changed == 1);
}

// In a container's PID namespace: the files are under the pid that the device's host sees.
void Container() {
  const Runtime runtime;
  const Queue queue(runtime);
  std::printf("own pid %d\n", getpid());
  EXPECT_THAT(queue.SetPercentage(0) == 0 && queue.SetPercentage(100) == 0);
  const auto processes = Names(kProc);
  EXPECT_THAT(processes.size() == 1);
  std::printf("seen as %s\n", processes.begin()->c_str());
  EXPECT_THAT(
      Names(kProc + *processes.begin() + "/queues").contains(std::to_string(queue.kfd().queue_id)));
}

}  // namespace

void AddQueuePrograms(Programs* programs) {
  programs->insert({
      {"queue-files", QueueFiles},
      {"process-counters", ProcessCounters},
      {"second-descriptor", SecondDescriptor},
      {"mask-moves", MaskMoves},
      {"debugfs", Debugfs},
      {"every-gpu", EveryGpu},
      {"container", Container},
  });
}

}  // namespace virtual_gpu::test

#include "debugfs_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <span>

#include "../device/geometry.h"
#include "kfd_abi.h"
#include "proc_files.h"

namespace virtual_gpu {
namespace {

constexpr std::size_t kHqdRegisters = 56;
constexpr std::uint32_t kFirstRegister = 0xc914;   // byte offset of CP_MQD_BASE_ADDR
constexpr std::uint32_t kKernelQueuesPerPipe = 2;  // num_kcq = 8: slots 0 and 1 of each pipe
constexpr std::size_t kMqdWords = 512, kMqdHqdAt = 128, kSdmaMqdWords = 128;
constexpr std::uint32_t kMqdHeader = 0xc0310800;
constexpr std::uint32_t kPersistentState = 0x40005301, kQuantum = 0x111;
constexpr std::uint32_t kFirstVmid = 3;
constexpr std::uint32_t kDwordsPerPacket = 16;  // AQL; a PM4 ring counts words itself

using Registers = std::array<std::uint32_t, kHqdRegisters>;
enum Register : std::size_t {  // from CP_MQD_BASE_ADDR
  kActive = 2,
  kVmid = 3,
  kPersistent = 4,
  kPipePriority = 5,
  kQueuePriority = 6,
  kQuantumRegister = 7,
  kPqBase = 8,
  kPqRptr = 10,
  kPqRptrReport = 11,
  kPqWptrPoll = 13,
  kPqDoorbell = 15,
  kPqControl = 17,
  kSaveBase = 43,
  kStackOffset = 46,
  kStackBytes = 47,
  kWaveStateOffset = 48,
  kSaveBytes = 49,
  kPqWptr = 54,
};

std::uint32_t Low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t High(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

std::uint64_t WordAt(const Process& process, std::uint64_t address) {
  std::uint64_t value = 0;
  process.memory.Load64(address, &value);
  return value;
}

// pipe_priority_map of kfd_mqd_manager.c.
std::uint32_t PipePriority(std::uint32_t priority) {
  return priority <= 6 ? 0 : priority <= 10 ? 1 : 2;
}

std::uint32_t VmidOf(const Process& process) {
  constexpr std::uint32_t kVmids = 13;
  return kFirstVmid + static_cast<std::uint32_t>(process.key % kVmids);
}

Registers RegistersOf(const Process& process, const KfdQueue& queue, const QueueStats& stats) {
  Registers r{};
  const std::uint64_t base = queue.ring_base >> 8;
  const std::uint64_t unit = queue.type == kfd::kQueueComputeAql ? kDwordsPerPacket : 1;
  r[kActive] = stats.mapped ? 1 : 0;
  r[kVmid] = stats.mapped ? VmidOf(process) | VmidOf(process) << 8 : 0;
  r[kPersistent] = kPersistentState;
  r[kPipePriority] = PipePriority(queue.priority);
  r[kQueuePriority] = queue.priority;
  r[kQuantumRegister] = kQuantum;
  r[kPqBase] = Low(base);
  r[kPqBase + 1] = High(base);
  r[kPqRptr] = Low(WordAt(process, queue.read_pointer) * unit);
  r[kPqRptrReport] = Low(queue.read_pointer);
  r[kPqRptrReport + 1] = High(queue.read_pointer);
  r[kPqWptrPoll] = Low(queue.write_pointer);
  r[kPqWptrPoll + 1] = High(queue.write_pointer);
  r[kPqDoorbell] = queue.doorbell_slot << 3 | 1u << 30;  // offset in words, enable
  std::uint32_t log2_words = 0;
  while ((8u << log2_words) < queue.ring_bytes) ++log2_words;
  r[kPqControl] = log2_words;
  r[kSaveBase] = Low(queue.save_area);
  r[kSaveBase + 1] = High(queue.save_area);
  r[kStackOffset] = r[kStackBytes] = r[kWaveStateOffset] = queue.control_stack_bytes;
  r[kSaveBytes] = queue.save_area_bytes;
  const std::uint64_t wptr = WordAt(process, queue.write_pointer) * unit;
  r[kPqWptr] = Low(wptr);
  r[kPqWptr + 1] = High(wptr);
  return r;
}

void AppendWords(std::string* text, std::span<const std::uint32_t> words, std::uint32_t offset) {
  constexpr std::size_t kPerLine = 8;
  char number[16];
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i % kPerLine == 0) {
      std::snprintf(number, sizeof(number), "    %08x:", offset + Low(i * 4));
      *text += (i == 0 ? "" : "\n") + std::string(number);
    }
    std::snprintf(number, sizeof(number), " %08x", words[i]);
    *text += number;
  }
  *text += "\n";
}

std::string NodeLine(const Gpu& gpu) {
  char line[64];
  std::snprintf(line, sizeof(line), "Node %u, gpu_id %x:\n", gpu.index() + 1, gpu.gpu_id());
  return line;
}

struct Mapped {
  const Process* process;
  const KfdQueue* queue;
  QueueStats stats;
};

std::vector<Mapped> QueuesOn(const KfdView& view, const Gpu& gpu) {
  std::vector<Mapped> found;
  for (const auto& [name, process] : *view.processes) {
    for (const auto& [id, queue] : process->queues) {
      if (queue->gpu_index != gpu.index() || queue->aql == nullptr) continue;
      Mapped entry = {process.get(), queue.get(), {}};
      if (gpu.QueueStatsOf(*queue->aql, &entry.stats)) found.push_back(entry);
    }
  }
  return found;
}

std::vector<std::uint32_t> MqdOf(const Process& process, const KfdQueue& queue, const Gpu& gpu) {
  std::vector<std::uint32_t> mqd(queue.aql != nullptr ? kMqdWords : kSdmaMqdWords);
  if (queue.aql == nullptr) return mqd;
  mqd[0] = kMqdHeader;
  // COMPUTE_STATIC_THREAD_MGMT_SE0, 1, 2, 3 and 4..7: the CU mask, of the first XCC.
  constexpr std::size_t kMaskAt[] = {23, 24, 26, 27, 39, 40, 41, 42};
  CuMask mask;
  if (!queue.cu_mask.empty()) {
    mask = Geometry(gpu.model().part.params).MaskFromKfd(queue.cu_mask);
  }
  for (std::size_t se = 0; se < std::size(kMaskAt); ++se) {
    const bool known = se < mask.se_bits.size() && se < gpu.model().part.params.ses_per_xcc;
    mqd[kMaskAt[se]] = known ? mask.se_bits[se] : 0xffffffff;
  }
  QueueStats stats;
  gpu.QueueStatsOf(*queue.aql, &stats);
  const Registers registers = RegistersOf(process, queue, stats);
  std::copy(registers.begin(), registers.end(), mqd.begin() + kMqdHqdAt);
  return mqd;
}

}  // namespace

std::string HqdsText(const KfdView& view) {
  std::string text;
  for (const auto& gpu : *view.gpus) {
    text += NodeLine(*gpu);
    const DeviceParams& params = gpu->model().part.params;
    const std::vector<Mapped> queues = QueuesOn(view, *gpu);
    for (std::uint32_t xcc = 0; xcc < params.xccs; ++xcc) {
      const std::string inst = " Inst " + std::to_string(xcc) + ", ";
      Registers hiq{};
      hiq[kActive] = hiq[kQueuePriority] = 1;
      hiq[kPersistent] = kPersistentState;
      hiq[kQuantumRegister] = kQuantum;
      text += "  " + inst + "HIQ on MEC 2 Pipe 0 Queue 0\n";
      AppendWords(&text, hiq, kFirstRegister);
      for (std::uint32_t pipe = 0; pipe < params.pipes; ++pipe) {
        for (std::uint32_t slot = 0; slot < params.hqd_slots_per_pipe; ++slot) {
          Registers registers{};
          for (const Mapped& one : queues) {
            if (one.stats.mapped && one.stats.pipe == pipe && one.stats.slot == slot) {
              registers = RegistersOf(*one.process, *one.queue, one.stats);
            }
          }
          text += inst + " CP Pipe " + std::to_string(pipe) + ", Queue " +
                  std::to_string(slot + kKernelQueuesPerPipe) + "\n";
          AppendWords(&text, registers, kFirstRegister);
        }
      }
    }
  }
  return text;
}

std::string MqdsText(const KfdView& view) {
  std::string text;
  char line[80];
  for (const auto& [name, process] : *view.processes) {
    std::snprintf(line, sizeof(line), "Process %d PASID %u:\n", process->pid,
                  ProcFiles::PasidOf(*process));
    text += line;
    for (const auto& [id, queue] : process->queues) {
      const Gpu& gpu = *(*view.gpus)[queue->gpu_index];
      std::snprintf(line, sizeof(line), "  %s queue on device %x\n",
                    queue->aql != nullptr ? "Compute" : "SDMA", gpu.gpu_id());
      text += line;
      AppendWords(&text, MqdOf(*process, *queue, gpu), 0);
    }
  }
  return text;
}

// MAP_PROCESS and MAP_QUEUES packets of what is active, by their headers.
std::string RunlistsText(const KfdView& view) {
  constexpr std::uint32_t kMapProcess = 0xc00da100, kMapQueues = 0xc005a200;
  constexpr std::size_t kMapProcessWords = 15, kMapQueuesWords = 7;
  std::string text;
  for (const auto& gpu : *view.gpus) {
    text += NodeLine(*gpu);
    std::vector<std::uint32_t> words;
    const Process* last = nullptr;
    for (const Mapped& one : QueuesOn(view, *gpu)) {
      if (!one.queue->Active()) continue;
      if (one.process != last) {
        last = one.process;
        words.resize(words.size() + kMapProcessWords);
        words[words.size() - kMapProcessWords] = kMapProcess;
        words[words.size() - kMapProcessWords + 1] = ProcFiles::PasidOf(*last) | 10u << 24;
      }
      words.resize(words.size() + kMapQueuesWords);
      std::uint32_t* packet = &words[words.size() - kMapQueuesWords];
      packet[0] = kMapQueues;
      packet[2] = one.queue->doorbell_slot << 2;
      packet[5] = Low(one.queue->write_pointer);
      packet[6] = High(one.queue->write_pointer);
    }
    if (words.empty()) {
      text += "  No active runlist\n";
    } else {
      AppendWords(&text, words, 0);
    }
  }
  return text;
}

}  // namespace virtual_gpu

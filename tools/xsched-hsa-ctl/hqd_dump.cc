#include "hqd_dump.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <sstream>

namespace xsched_hsa {
namespace {

// In an MQD the HQD's registers begin at this word; in an HQD's dump at its first.
constexpr std::size_t kMqdHqdAt = 128;
// Words from CP_MQD_BASE_ADDR on.
constexpr std::size_t kActive = 2, kVmid = 3, kPipePriority = 5, kQueuePriority = 6, kQuantum = 7,
                      kPqBase = 8, kDoorbell = 15, kRegistersMin = 16;
// COMPUTE_STATIC_THREAD_MGMT_SE0, 1, 2, 3 and 4..7.
constexpr std::size_t kMaskAt[] = {23, 24, 26, 27, 39, 40, 41, 42};
constexpr std::uint32_t kDoorbellMask = 0x0ffffffc;

using Words = std::vector<std::uint32_t>;

std::uint64_t RingBase(const Words& words, std::size_t at) {
  return (static_cast<std::uint64_t>(words[at + kPqBase + 1]) << 32 | words[at + kPqBase]) << 8;
}

// "    0000c914: 01234567 ...": appends its words. False for any other line.
bool AppendDumpLine(const std::string& line, Words* words) {
  unsigned offset = 0;
  int used = 0;
  if (line.empty() || line[0] != ' ' || std::sscanf(line.c_str(), " %8x:%n", &offset, &used) != 1 ||
      used == 0) {
    return false;
  }
  std::istringstream rest(line.substr(static_cast<std::size_t>(used)));
  for (std::string word; rest >> word;) {
    words->push_back(static_cast<std::uint32_t>(std::strtoul(word.c_str(), nullptr, 16)));
  }
  return true;
}

// Calls `heading` for each line that is no dump, and `dump` with the words between two of them.
void Walk(const std::string& text, const std::function<void(const std::string&)>& heading,
          const std::function<void(const Words&)>& dump) {
  std::istringstream lines(text);
  Words words;
  const auto flush = [&] {
    if (!words.empty()) dump(words);
    words.clear();
  };
  for (std::string line; std::getline(lines, line);) {
    if (AppendDumpLine(line, &words)) continue;
    flush();
    heading(line);
  }
  flush();
}

std::optional<std::string> ReadFile(const char* path, std::string* why) {
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) {
    *why = std::string(path) + ": " + std::strerror(errno) +
           "; it needs root, and debugfs mounted where this tool runs";
    return std::nullopt;
  }
  std::string text;
  char buffer[16384];
  while (std::feof(file) == 0 && std::ferror(file) == 0) {
    text.append(buffer, std::fread(buffer, 1, sizeof buffer, file));
  }
  const bool whole = std::ferror(file) == 0;
  if (!whole) *why = std::string("cannot read ") + path + ": " + std::strerror(errno);
  std::fclose(file);
  return whole ? std::optional(text) : std::nullopt;
}

}  // namespace

std::vector<Mqd> MqdsOfProcess(const std::string& mqds, int pid) {
  std::vector<Mqd> found;
  bool ours = false, compute = false;
  unsigned gpu_id = 0;
  const auto heading = [&](const std::string& line) {
    int process = 0;
    char kind[32] = {};
    if (std::sscanf(line.c_str(), "Process %d", &process) == 1) ours = process == pid;
    compute = std::sscanf(line.c_str(), " %31s queue on device %x", kind, &gpu_id) == 2 &&
              std::strcmp(kind, "Compute") == 0;
  };
  const auto dump = [&](const Words& words) {
    if (!ours || !compute || words.size() < kMqdHqdAt + kRegistersMin) return;
    Mqd mqd;
    mqd.ring_base = RingBase(words, kMqdHqdAt);
    mqd.doorbell = words[kMqdHqdAt + kDoorbell] & kDoorbellMask;
    mqd.pipe_priority = words[kMqdHqdAt + kPipePriority];
    mqd.queue_priority = words[kMqdHqdAt + kQueuePriority];
    mqd.quantum = words[kMqdHqdAt + kQuantum];
    mqd.gpu_id = gpu_id;
    for (const std::size_t at : kMaskAt) mqd.se_masks.push_back(words[at]);
    found.push_back(std::move(mqd));
  };
  Walk(mqds, heading, dump);
  return found;
}

std::vector<HqdSlot> FindSlots(const std::string& hqds, const Mqd& mqd) {
  std::vector<HqdSlot> found;
  bool on_gpu = false, in_slot = false;
  HqdSlot slot;
  const auto heading = [&](const std::string& line) {
    unsigned node = 0, gpu_id = 0, xcc = 0, pipe = 0, queue = 0;
    if (std::sscanf(line.c_str(), "Node %u, gpu_id %x", &node, &gpu_id) == 2) {
      on_gpu = gpu_id == mqd.gpu_id;
    }
    in_slot = std::sscanf(line.c_str(), " Inst %u, CP Pipe %u, Queue %u", &xcc, &pipe, &queue) == 3;
    slot.xcc = xcc;
    slot.pipe = pipe;
    slot.queue = queue;
  };
  const auto dump = [&](const Words& words) {
    if (!on_gpu || !in_slot || words.size() < kRegistersMin || words[kActive] == 0) return;
    if ((words[kDoorbell] & kDoorbellMask) != mqd.doorbell || RingBase(words, 0) != mqd.ring_base) {
      return;
    }
    slot.vmid = words[kVmid] & 0xf;
    found.push_back(slot);
  };
  Walk(hqds, heading, dump);
  return found;
}

std::optional<Dumps> ReadDumps(std::string* why) {
  auto mqds = ReadFile("/sys/kernel/debug/kfd/mqds", why);
  if (!mqds) return std::nullopt;
  auto hqds = ReadFile("/sys/kernel/debug/kfd/hqds", why);
  if (!hqds) return std::nullopt;
  return Dumps{std::move(*mqds), std::move(*hqds)};
}

}  // namespace xsched_hsa

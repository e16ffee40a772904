// hqd_dump.h: where a queue sits in the hardware, out of the driver's register dumps.
//
// Why        The packet processor's firmware, not the driver, gives queues their pipes and slots; only
//            /sys/kernel/debug/kfd tells. A process's MQDs (mqds) name ring, doorbell, priorities and
//            CU mask; the doorbell, which no two queues of a device share, finds the slots (hqds).
// Threads    pure functions, and a reader of two files.
// Units      ring addresses in bytes; register words as the driver prints them.
// Errors     Place* give nothing for what isn't found; ReadDumps says why it can't read.
// Limits     layout of gfx9 (v9_mqd; MI100 … MI355X).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace xsched_hsa {

struct Mqd {
  std::uint64_t ring_base = 0;
  std::uint32_t doorbell = 0;  // offset in words; the enable bit is not in it
  std::uint32_t pipe_priority = 0, queue_priority = 0, quantum = 0;
  std::vector<std::uint32_t> se_masks;  // of each shader engine of an XCC
  std::uint32_t gpu_id = 0;
};

struct HqdSlot {
  std::uint32_t xcc = 0, pipe = 0, queue = 0;
  std::uint32_t vmid = 0;
};

// The compute MQDs that `mqds` has of that process.
std::vector<Mqd> MqdsOfProcess(const std::string& mqds, int pid);
// The active slots of that GPU that hold the queue.
std::vector<HqdSlot> FindSlots(const std::string& hqds, const Mqd& mqd);

struct Dumps {
  std::string mqds, hqds;
};
// Nothing, and one line, if they can't be read.
std::optional<Dumps> ReadDumps(std::string* why);

}  // namespace xsched_hsa

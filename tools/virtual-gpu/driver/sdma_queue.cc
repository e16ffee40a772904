#include "sdma_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "report.h"

namespace virtual_gpu {
namespace {

// gfx9 packet headers: operation in bits 7:0, sub-operation in 15:8.
enum Operation : std::uint32_t {
  kNop = 0,
  kCopy = 1,
  kWrite = 2,
  kFence = 5,
  kTrap = 6,
  kPoll = 8,
  kAtomic = 10,
  kConstantFill = 11,
  kTimestamp = 13,
};
constexpr std::uint32_t kCopyLinear = 0;
constexpr std::uint32_t kCopyRect = 4;
constexpr std::uint32_t kAtomicAdd64 = 47;
constexpr std::uint32_t kBlocked = ~0u;
constexpr std::uint32_t kWordBytes = 4;
constexpr std::uint32_t kWriteWordsMax = 1u << 20;

std::uint64_t Address(std::uint32_t low, std::uint32_t high) {
  return (std::uint64_t{high} << 32) | low;
}

}  // namespace

SdmaQueue::SdmaQueue(Context context, const Ring& ring, std::uint64_t* doorbell)
    : context_(std::move(context)), ring_(ring), doorbell_(doorbell) {
  std::byte* write = context_.memory->HostPointer(ring.write_pointer, sizeof(std::uint64_t));
  std::byte* read = context_.memory->HostPointer(ring.read_pointer, sizeof(std::uint64_t));
  if (write == nullptr || read == nullptr) return;
  if (ring.write_pointer % 8 != 0 || ring.read_pointer % 8 != 0) return;
  write_word_ = reinterpret_cast<std::uint64_t*>(write);
  read_word_ = reinterpret_cast<std::uint64_t*>(read);
  read_ = write_ = std::atomic_ref(*read_word_).load(std::memory_order_acquire);
  valid_ = ring.base == 0 || SetRing(ring.base, ring.bytes);
}

bool SdmaQueue::SetRing(std::uint64_t base, std::uint32_t bytes) {
  std::byte* host = context_.memory->HostPointer(base, bytes);
  if (host == nullptr || bytes < kWordBytes) return false;
  ring_.base = base;
  ring_.bytes = bytes;
  bytes_ = host;
  return true;
}

void SdmaQueue::SetActive(bool active) {
  active_ = active;
  // Mapped again, the engine re-reads the write pointer: a doorbell rung meanwhile is not lost.
  if (active) last_doorbell_ = ~0ull;
}

std::uint32_t SdmaQueue::Word(std::uint64_t position) const {
  std::uint32_t word;
  std::memcpy(&word, bytes_ + position % ring_.bytes / kWordBytes * kWordBytes, sizeof(word));
  return word;
}

void SdmaQueue::Load(std::uint32_t* words, std::uint32_t count) const {
  for (std::uint32_t i = 0; i < count; ++i) words[i] = Word(read_ + std::uint64_t{i} * kWordBytes);
}

bool SdmaQueue::Step(TimeNs now) {
  const std::uint32_t trap = std::exchange(trap_, kNoTrap);
  const bool stepped = StepPacket(now);
  if (trap != kNoTrap) context_.events->Interrupt(trap);
  return stepped || trap != kNoTrap;
}

bool SdmaQueue::StepPacket(TimeNs now) {
  if (!active_ || dead_ || bytes_ == nullptr || now < busy_until_) return false;
  const std::uint64_t rung = std::atomic_ref(*doorbell_).load(std::memory_order_acquire);
  if (rung != last_doorbell_) {
    last_doorbell_ = rung;
    write_ = std::atomic_ref(*write_word_).load(std::memory_order_acquire);
  }
  if (read_ >= write_) return false;
  const std::uint32_t words = Execute(now);
  if (words == kBlocked || dead_) return false;
  if (words == 0) {
    Stop("unknown SDMA packet, operation " + std::to_string(Word(read_) & 0xff) +
         ", sub-operation " + std::to_string((Word(read_) >> 8) & 0xff));
    return false;
  }
  read_ += std::uint64_t{words} * kWordBytes;
  std::atomic_ref(*read_word_).store(read_, std::memory_order_release);
  ++packets_;
  return true;
}

std::uint32_t SdmaQueue::Execute(TimeNs now) {
  std::uint32_t words[kPacketWordsMax];
  Load(words, kPacketWordsMax);
  const std::uint64_t address = Address(words[1], words[2]);
  switch (words[0] & 0xff) {
    case kNop:
      return 1 + ((words[0] >> 16) & 0x3fff);
    case kCopy:
      return Copy(words, now);
    case kWrite:
      return Write();
    case kFence:
      if (!context_.memory->WriteValue(address, words[3])) Fault(address);
      return 4;
    case kTrap:
      trap_ = words[1] & 0x0fffffff;
      return 2;
    case kPoll:
      return Poll(words);
    case kAtomic:
      return Atomic(words);
    case kConstantFill:
      return Fill(words, now);
    case kTimestamp:
      if (!context_.memory->WriteValue(address, context_.clock->GpuTicks(now))) Fault(address);
      return 3;
    default:
      return 0;
  }
}

std::uint32_t SdmaQueue::Copy(const std::uint32_t* words, TimeNs now) {
  const std::uint32_t kind = (words[0] >> 8) & 0xff;
  if (kind == kCopyLinear) {
    const std::uint64_t bytes = (words[1] & 0x3fffffff) + 1;
    const std::uint64_t from = Address(words[3], words[4]);
    const std::uint64_t to = Address(words[5], words[6]);
    TakeTime(now, bytes);
    if (!context_.memory->Copy(to, from, bytes)) Fault(to);
    return 7;
  }
  if (kind != kCopyRect) return 0;
  const unsigned element_shift = words[0] >> 29;
  const std::uint64_t from = Address(words[1], words[2]), to = Address(words[6], words[7]);
  const auto start =
      [&](const std::uint32_t* w) {  // byte offset of the window, words 3..5 or 8..10
        const std::uint64_t pitch = (w[1] >> 13) + 1, slice = (w[2] & 0x0fffffff) + 1;
        return (((w[0] & 0x3fff) + ((w[0] >> 16) & 0x3fff) * pitch + (w[1] & 0x7ff) * slice))
               << element_shift;
      };
  const std::uint64_t from_pitch = ((words[4] >> 13) + 1ull) << element_shift;
  const std::uint64_t from_slice = ((words[5] & 0x0fffffff) + 1ull) << element_shift;
  const std::uint64_t to_pitch = ((words[9] >> 13) + 1ull) << element_shift;
  const std::uint64_t to_slice = ((words[10] & 0x0fffffff) + 1ull) << element_shift;
  const std::uint64_t row_bytes = ((words[11] & 0x3fff) + 1ull) << element_shift;
  const std::uint64_t rows = ((words[11] >> 16) & 0x3fff) + 1, slices = (words[12] & 0x7ff) + 1;
  TakeTime(now, row_bytes * rows * slices);
  for (std::uint64_t z = 0; z < slices && !dead_; ++z) {
    for (std::uint64_t y = 0; y < rows && !dead_; ++y) {
      const std::uint64_t row_to = to + start(words + 8) + y * to_pitch + z * to_slice;
      const std::uint64_t row_from = from + start(words + 3) + y * from_pitch + z * from_slice;
      if (!context_.memory->Copy(row_to, row_from, row_bytes)) Fault(row_to);
    }
  }
  return 13;
}

std::uint32_t SdmaQueue::Fill(const std::uint32_t* words, TimeNs now) {
  const std::uint64_t to = Address(words[1], words[2]);
  const unsigned element_bytes = 1u << (words[0] >> 30);
  const std::uint64_t bytes = (words[4] & 0x3fffff) + element_bytes;
  TakeTime(now, bytes);
  if (!context_.memory->Fill(to, words[3], bytes)) Fault(to);
  return 5;
}

std::uint32_t SdmaQueue::Write() {
  std::uint32_t head[4];
  Load(head, 4);
  const std::uint32_t count = (head[3] & 0xfffff) + 1;
  std::vector<std::uint32_t> data(std::min(count, kWriteWordsMax));
  for (std::uint32_t i = 0; i < data.size(); ++i) {
    data[i] = Word(read_ + (4 + std::uint64_t{i}) * kWordBytes);
  }
  const std::uint64_t to = Address(head[1], head[2]);
  if (!context_.memory->Write(to, data.data(), data.size() * kWordBytes)) Fault(to);
  return 4 + count;
}

std::uint32_t SdmaQueue::Poll(const std::uint32_t* words) {
  constexpr std::uint32_t kMemory = 1u << 31;
  constexpr std::uint32_t kWords = 6;
  if ((words[0] & kMemory) == 0) return kWords;  // a register: HDP flush, nothing to wait for
  // Half of a signal, say, that others add to: read in one piece.
  std::uint64_t both = 0;
  const std::uint64_t address = Address(words[1], words[2]);
  if (!context_.memory->Load64(address & ~std::uint64_t{7}, &both)) {
    Fault(address);
    return kWords;
  }
  const auto value = static_cast<std::uint32_t>(both >> (address & 4) * 8);
  const std::uint32_t masked = value & words[4], reference = words[3];
  bool met = true;
  switch ((words[0] >> 28) & 7) {
    case 1:
      met = masked < reference;
      break;
    case 2:
      met = masked <= reference;
      break;
    case 3:
      met = masked == reference;
      break;
    case 4:
      met = masked != reference;
      break;
    case 5:
      met = masked >= reference;
      break;
    case 6:
      met = masked > reference;
      break;
    default:
      break;
  }
  return met ? kWords : kBlocked;
}

std::uint32_t SdmaQueue::Atomic(const std::uint32_t* words) {
  if ((words[0] >> 25) != kAtomicAdd64) return 0;
  const std::uint64_t address = Address(words[1], words[2]);
  std::uint64_t old = 0;
  if (!context_.memory->AtomicAdd64(address, Address(words[3], words[4]), &old)) Fault(address);
  return 8;
}

void SdmaQueue::TakeTime(TimeNs now, std::uint64_t bytes) {
  copied_bytes_ += bytes;
  busy_until_ = now + static_cast<TimeNs>(static_cast<double>(bytes) / context_.bytes_per_ns);
}

void SdmaQueue::Fault(std::uint64_t address) {
  if (dead_) return;
  context_.events->RaiseMemoryFault(address, context_.gpu_id, true, false);
  Stop("memory fault at or near 0x" + [&] {
    char hex[20];
    std::snprintf(hex, sizeof(hex), "%llx", static_cast<unsigned long long>(address));
    return std::string(hex);
  }());
}

void SdmaQueue::Stop(const std::string& why) {
  dead_ = true;
  Report("%s: %s; the queue stops", context_.label.c_str(), why.c_str());
  if (context_.strict) StrictAbort();
}

}  // namespace virtual_gpu

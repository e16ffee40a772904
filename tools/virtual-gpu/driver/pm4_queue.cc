#include "pm4_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "report.h"

namespace virtual_gpu {
namespace {

enum Opcode : std::uint32_t {
  kNop = 0x10,
  kDispatchDirect = 0x15,
  kWriteData = 0x37,
  kWaitRegMem = 0x3c,
  kIndirectBuffer = 0x3f,
  kEventWrite = 0x46,
  kReleaseMem = 0x49,
  kAcquireMem = 0x58,
  kSetShReg = 0x76,
};
constexpr std::uint32_t kType2 = 2, kType3 = 3;  // bits 31:30 of a header
constexpr std::uint32_t kNopOneDword = 0x3fff;   // a NOP with this count has no body
constexpr std::uint32_t kWordBytes = 4;
constexpr std::uint32_t kMemorySpace = 1;  // WAIT_REG_MEM, bits 5:4

// Registers, as offsets into SET_SH_REG's space (0x2c00).
constexpr std::uint32_t kNumThreadX = 0x207, kRsrc1 = 0x212, kRsrc2 = 0x213;
constexpr std::uint32_t kWaveItems = 64, kLdsGranuleBytes = 512;

std::uint32_t OpcodeOf(std::uint32_t header) { return (header >> 8) & 0xff; }

std::uint32_t DwordsOf(std::uint32_t header) {
  const std::uint32_t count = (header >> 16) & 0x3fff;
  if (header >> 30 == kType2) return 1;
  return OpcodeOf(header) == kNop && count == kNopOneDword ? 1 : count + 2;
}

bool Compare(std::uint32_t function, std::uint32_t value, std::uint32_t reference) {
  switch (function) {
    case 1:
      return value < reference;
    case 2:
      return value <= reference;
    case 3:
      return value == reference;
    case 4:
      return value != reference;
    case 5:
      return value >= reference;
    case 6:
      return value > reference;
    default:
      return true;
  }
}

}  // namespace

Pm4Queue::Pm4Queue(Context context, const Ring& ring, std::uint64_t* doorbell)
    : context_(std::move(context)), ring_(ring), doorbell_(doorbell) {
  std::byte* write = context_.memory->HostPointer(ring.write_pointer, sizeof(std::uint64_t));
  std::byte* read = context_.memory->HostPointer(ring.read_pointer, sizeof(std::uint64_t));
  if (write == nullptr || read == nullptr) return;
  if (ring.write_pointer % 8 != 0 || ring.read_pointer % 8 != 0) return;
  write_word_ = reinterpret_cast<std::uint64_t*>(write);
  read_word_ = reinterpret_cast<std::uint64_t*>(read);
  valid_ = ring.base == 0 || SetRing(ring.base, ring.bytes);
}

bool Pm4Queue::SetRing(std::uint64_t base, std::uint32_t bytes) {
  std::byte* host = context_.memory->HostPointer(base, bytes);
  if (host == nullptr || bytes < kWordBytes || base % kWordBytes != 0) return false;
  ring_.base = base;
  ring_.bytes = bytes;
  bytes_ = host;
  return true;
}

bool Pm4Queue::PollDoorbell() {
  const std::uint64_t value = std::atomic_ref(*doorbell_).load(std::memory_order_acquire);
  if (value == last_doorbell_) return false;
  last_doorbell_ = value;
  RereadWriteIndex();
  return true;
}

void Pm4Queue::RereadWriteIndex() {
  write_ = std::atomic_ref(*write_word_).load(std::memory_order_acquire);
}

std::uint32_t Pm4Queue::RingWord(std::uint64_t position) const {
  std::uint32_t word;
  std::memcpy(&word, bytes_ + position % (ring_.bytes / kWordBytes) * kWordBytes, sizeof(word));
  return word;
}

std::uint32_t Pm4Queue::Word(std::uint32_t offset) {
  if (!in_indirect_) return RingWord(read_ + offset);
  std::uint32_t word = 0;
  const std::uint64_t address =
      indirect_.address + std::uint64_t{indirect_.at + offset} * kWordBytes;
  if (!dead_ && !context_.memory->ReadValue(address, &word)) Fault(address);
  return word;
}

std::uint64_t Pm4Queue::AddressAt(std::uint32_t offset) {
  return (std::uint64_t{Word(offset + 1)} << 32) | Word(offset);
}

std::uint32_t Pm4Queue::DwordsAvailable() const {
  const std::uint64_t left = in_indirect_ ? indirect_.dwords - indirect_.at : write_ - read_;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(left, UINT32_MAX));
}

bool Pm4Queue::Next(Packet* packet) {
  if (dead_ || bytes_ == nullptr || !HasWork()) return false;
  if (!decoded_ && !Decode()) return false;
  *packet = packet_;
  return true;
}

bool Pm4Queue::Decode() {
  const std::uint32_t header = Word(0);
  if (dead_) return false;
  dwords_ = DwordsOf(header);
  if (dwords_ > DwordsAvailable()) {
    Stop("PM4 packet of " + std::to_string(dwords_) + " dwords, header " + std::to_string(header) +
         ", goes beyond what was submitted");
    return false;
  }
  packet_ = Packet{};
  packet_.index = packet_.cookie = next_index_++;
  decoded_ = Classify(header) && !dead_;
  return decoded_;
}

bool Pm4Queue::Classify(std::uint32_t header) {
  if (header >> 30 == kType2) return true;
  if (header >> 30 != kType3) {
    Stop("no PM4 packet: header " + std::to_string(header));
    return false;
  }
  switch (OpcodeOf(header)) {
    case kNop:
    case kWriteData:
    case kAcquireMem:
    case kSetShReg:
      return true;
    case kIndirectBuffer:
      if (in_indirect_) Stop("PM4 indirect buffer in an indirect buffer");
      return !dead_;
    case kEventWrite:
    case kReleaseMem:  // end of pipe: after the dispatches before it
      packet_.barrier_bit = true;
      return true;
    case kWaitRegMem:
      if (((Word(1) >> 4) & 3) != kMemorySpace) Stop("PM4 WAIT_REG_MEM on a register");
      packet_.kind = Packet::Kind::kBarrierValue;
      ++counters_.barriers;
      return !dead_;
    case kDispatchDirect:
      packet_.kind = Packet::Kind::kDispatch;
      packet_.cost = DispatchCost();
      ++counters_.dispatches;
      ++counters_.opaque_kernels;
      return true;
    default:
      Stop("unknown PM4 packet, opcode " + std::to_string(OpcodeOf(header)));
      return false;
  }
}

KernelCost Pm4Queue::DispatchCost() {
  ReportOnce(
      "pm4 dispatch",
      "shaders of PM4 queues are not modelled: they take the time of unknown kernels and have "
      "no effect on memory");
  const auto threads = [&](std::uint32_t dimension) {
    return std::max(registers_[kNumThreadX + dimension] & 0xffff, 1u);
  };
  const std::uint32_t items = threads(0) * threads(1) * threads(2);
  constexpr std::uint32_t kUseThreadDimensions = 1u << 5;
  const bool in_threads = (Word(4) & kUseThreadDimensions) != 0;
  KernelCost cost;
  for (std::uint32_t i = 0; i < 3; ++i) {
    const std::uint32_t size = Word(1 + i), unit = in_threads ? threads(i) : 1;
    cost.workgroups *= (std::uint64_t{size} + unit - 1) / unit;
  }
  cost.waves = std::clamp((items + kWaveItems - 1) / kWaveItems, 1u, 16u);
  cost.vgprs = ((registers_[kRsrc1] & 0x3f) + 1) * context_.limits.vgpr_granule;
  cost.lds_bytes =
      std::min(((registers_[kRsrc2] >> 15) & 0x1ff) * kLdsGranuleBytes, context_.limits.lds_bytes);
  cost.workgroup_ns = context_.limits.opaque_workgroup_ns;
  return cost;
}

bool Pm4Queue::DependenciesMet(const Packet&) {
  const std::uint64_t address = AddressAt(2) & ~3ull;
  std::uint32_t value = 0;
  if (!context_.memory->ReadValue(address, &value)) Fault(address);
  return !dead_ && Compare(Word(1) & 7, value & Word(5), Word(4));
}

// The read pointer passes an end-of-pipe packet before its effects are seen: whoever waits for them
// may at once use its place in the ring.
void Pm4Queue::Consume(const Packet&) {
  const std::uint32_t header = Word(0);
  const bool ends_pipe = header >> 30 == kType3 && OpcodeOf(header) == kReleaseMem;
  const EndOfPipe end = ends_pipe ? LoadEndOfPipe() : EndOfPipe{};
  if (!ends_pipe) Execute();
  decoded_ = false;
  ++counters_.packets;
  if (!dead_) Advance();
  if (ends_pipe && !dead_) Apply(end);
}

// The indirect buffer's packet is consumed when what it holds has been.
void Pm4Queue::Advance() {
  if (in_indirect_) {
    indirect_.at += dwords_;
    in_indirect_ = indirect_.at < indirect_.dwords;
    if (in_indirect_) return;
    dwords_ = DwordsOf(RingWord(read_));
  } else if (OpcodeOf(RingWord(read_)) == kIndirectBuffer) {
    EnterIndirect();
    if (in_indirect_) return;
  }
  read_ += dwords_;
  std::atomic_ref(*read_word_).store(read_ % (ring_.bytes / kWordBytes), std::memory_order_release);
}

void Pm4Queue::EnterIndirect() {
  constexpr std::uint32_t kSizeMask = 0xfffff;
  indirect_ = {AddressAt(1) & ~3ull, Word(3) & kSizeMask, 0};
  in_indirect_ = indirect_.dwords > 0;
}

void Pm4Queue::Execute() {
  const std::uint32_t header = Word(0);
  if (dead_ || header >> 30 == kType2) return;
  switch (OpcodeOf(header)) {
    case kWriteData:
      return WriteData();
    case kSetShReg:
      return SetShRegisters();
    default:
      return;
  }
}

void Pm4Queue::WriteData() {
  constexpr std::uint32_t kSameAddress = 1u << 16;
  const std::uint64_t address = AddressAt(2) & ~3ull;
  const std::uint32_t step = (Word(1) & kSameAddress) != 0 ? 0 : kWordBytes;
  for (std::uint32_t i = 4; i < dwords_ && !dead_; ++i) {
    const std::uint64_t to = address + std::uint64_t{i - 4} * step;
    if (!context_.memory->WriteValue(to, Word(i))) Fault(to);
  }
}

Pm4Queue::EndOfPipe Pm4Queue::LoadEndOfPipe() {
  constexpr std::uint32_t kContextIdMask = 0x0fffffff;
  const std::uint32_t select = Word(2);
  return {select >> 29, (select >> 24) & 7, AddressAt(3) & ~3ull, AddressAt(5),
          Word(7) & kContextIdMask};
}

void Pm4Queue::Apply(const EndOfPipe& end) {
  enum DataSelect : std::uint32_t { kNone = 0, kLow32 = 1, k64 = 2, kGpuClock = 3 };
  enum InterruptSelect : std::uint32_t { kInterruptOnly = 1, kInterruptAfterWrite = 2 };
  AddressSpace& memory = *context_.memory;
  bool written = true;
  if (end.data == kLow32) {
    written = memory.WriteValue(end.address, static_cast<std::uint32_t>(end.value));
  } else if (end.data == k64) {
    written = memory.WriteValue(end.address, end.value);
  } else if (end.data == kGpuClock) {
    written = memory.WriteValue(end.address, context_.clock->GpuTicks(context_.clock->Now()));
  } else if (end.data != kNone) {
    return Stop("PM4 RELEASE_MEM with data selection " + std::to_string(end.data));
  }
  if (!written) return Fault(end.address);
  if (end.interrupt == kInterruptOnly || end.interrupt == kInterruptAfterWrite) {
    context_.events->Interrupt(end.context_id);
  }
}

void Pm4Queue::SetShRegisters() {
  const std::uint32_t first = Word(1) & 0xffff;
  for (std::uint32_t i = 2; i < dwords_ && !dead_; ++i) {
    const std::uint32_t at = first + i - 2;
    if (at < kShRegisters) registers_[at] = Word(i);
  }
}

void Pm4Queue::WorkgroupsDone(const Packet&, std::uint64_t count, bool) {
  counters_.workgroups += count;
}

void Pm4Queue::Complete(const Packet&, TimeNs, TimeNs) { ++counters_.completed; }

void Pm4Queue::Fault(std::uint64_t address) {
  if (std::exchange(dead_, true)) return;
  Report("%s: memory fault at 0x%llx (not mapped to the GPU); the queue stops",
         context_.label.c_str(), static_cast<unsigned long long>(address));
  context_.events->RaiseMemoryFault(address, context_.gpu_id, true, false);
  if (context_.strict) StrictAbort();
}

void Pm4Queue::Stop(const std::string& why) {
  if (std::exchange(dead_, true)) return;
  Report("%s: %s; the queue stops", context_.label.c_str(), why.c_str());
  if (context_.strict) StrictAbort();
}

}  // namespace virtual_gpu

#include "aql_queue.h"

#include <hsa/amd_hsa_queue.h>
#include <hsa/amd_hsa_signal.h>
#include <hsa/hsa_ext_amd.h>

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <utility>

#include "../isa/interpreter.h"
#include "data_effects.h"
#include "report.h"

namespace virtual_gpu {
namespace {

constexpr std::uint32_t kPacketBytes = 64;
constexpr std::uint16_t kInvalidHeader = HSA_PACKET_TYPE_INVALID << HSA_PACKET_HEADER_TYPE;
constexpr std::uint8_t kAmdFormatPm4Ib = 1;
constexpr TimeNs kHungWorkgroupNs = 1'000'000'000'000'000;  // eleven days: never

unsigned HeaderType(std::uint16_t header) { return header & 0xff; }
bool HeaderBarrier(std::uint16_t header) {
  return ((header >> HSA_PACKET_HEADER_BARRIER) & 1) != 0;
}

// kfd_dbg_trap_exception_code, EC_QUEUE_PACKET_*.
unsigned ExceptionCode(DispatchError error) {
  switch (error) {
    case DispatchError::kAbort:
      return 1;  // EC_QUEUE_WAVE_ABORT
    case DispatchError::kIllegalInstruction:
      return 4;  // EC_QUEUE_WAVE_ILLEGAL_INSTRUCTION
    case DispatchError::kBadDimensions:
      return 16;
    case DispatchError::kBadGroupMemory:
      return 17;
    case DispatchError::kBadCode:
      return 18;
    case DispatchError::kWorkgroupTooLarge:
      return 21;
    case DispatchError::kBadVendorPacket:
      return 23;
    default:
      return 20;
  }
}

std::uint64_t* Words(std::byte* bytes) { return reinterpret_cast<std::uint64_t*>(bytes); }

}  // namespace

AqlQueue::AqlQueue(Context context, const AqlRing& ring, std::uint64_t* doorbell)
    : context_(std::move(context)), ring_(ring), doorbell_(doorbell) {
  std::byte* write = context_.memory->HostPointer(ring.write_index, sizeof(std::uint64_t));
  std::byte* read = context_.memory->HostPointer(ring.read_index, sizeof(std::uint64_t));
  if (write == nullptr || read == nullptr) return;
  if (ring.write_index % 8 != 0 || ring.read_index % 8 != 0) return;
  write_word_ = Words(write);
  read_word_ = Words(read);
  read_index_ = std::atomic_ref(*read_word_).load(std::memory_order_acquire);
  known_write_index_ = read_index_;
  valid_ = ring.base == 0 || SetRing(ring.base, ring.bytes);
}

bool AqlQueue::SetRing(std::uint64_t base, std::uint32_t bytes) {
  std::byte* packets = context_.memory->HostPointer(base, bytes);
  if (packets == nullptr || base % kPacketBytes != 0 || bytes < kPacketBytes) return false;
  ring_.base = base;
  ring_.bytes = bytes;
  packets_ = packets;
  return true;
}

bool AqlQueue::PollDoorbell() {
  const std::uint64_t value = std::atomic_ref(*doorbell_).load(std::memory_order_acquire);
  if (value != last_doorbell_) {
    last_doorbell_ = value;
    RereadWriteIndex();
    return true;
  }
  if (!waits_for_header_ || HeaderType(LoadHeader(read_index_)) == HSA_PACKET_TYPE_INVALID) {
    return false;
  }
  waits_for_header_ = false;
  return true;
}

void AqlQueue::RereadWriteIndex() {
  known_write_index_ = std::atomic_ref(*write_word_).load(std::memory_order_acquire);
}

std::uint16_t AqlQueue::LoadHeader(std::uint64_t index) const {
  const std::uint64_t slot = index % (ring_.bytes / kPacketBytes);
  auto* header = reinterpret_cast<std::uint16_t*>(packets_ + slot * kPacketBytes);
  return std::atomic_ref(*header).load(std::memory_order_acquire);
}

bool AqlQueue::Next(Packet* packet) {
  if (dead_ || packets_ == nullptr || read_index_ >= known_write_index_) return false;
  if (!decoded_) {
    const std::uint16_t header = LoadHeader(read_index_);
    if (HeaderType(header) == HSA_PACKET_TYPE_INVALID) {
      waits_for_header_ = true;
      return false;
    }
    InFlight flight;
    if (!Decode(read_index_, header, &flight)) return false;
    in_flight_[read_index_] = std::move(flight);
    decoded_ = true;
  }
  *packet = in_flight_.at(read_index_).packet;
  return true;
}

bool AqlQueue::Decode(std::uint64_t index, std::uint16_t header, InFlight* flight) {
  const std::uint64_t slot = index % (ring_.bytes / kPacketBytes);
  std::memcpy(&flight->raw, packets_ + slot * kPacketBytes, kPacketBytes);
  // Every packet has its completion signal in the last eight bytes.
  flight->completion_signal = flight->raw.completion_signal.handle;
  flight->packet.index = index;
  flight->packet.cookie = index;
  flight->packet.barrier_bit = HeaderBarrier(header);
  switch (HeaderType(header)) {
    case HSA_PACKET_TYPE_KERNEL_DISPATCH:
      return DecodeDispatch(flight);
    case HSA_PACKET_TYPE_BARRIER_AND:
      flight->packet.kind = Packet::Kind::kBarrierAnd;
      ++counters_.barriers;
      return true;
    case HSA_PACKET_TYPE_BARRIER_OR:
      flight->packet.kind = Packet::Kind::kBarrierOr;
      ++counters_.barriers;
      return true;
    case HSA_PACKET_TYPE_VENDOR_SPECIFIC:
      return DecodeVendor(flight);
    case HSA_PACKET_TYPE_AGENT_DISPATCH:
      StopWithError(DispatchError::kBadPacket,
                    "AGENT_DISPATCH packet (type 4); GPU queues do not take it");
      return false;
    default:
      StopWithError(DispatchError::kBadPacket,
                    "unknown packet type " + std::to_string(HeaderType(header)));
      return false;
  }
}

bool AqlQueue::DecodeVendor(InFlight* flight) {
  std::uint8_t format;
  std::memcpy(&format, reinterpret_cast<const char*>(&flight->raw) + 2, sizeof(format));
  ++counters_.vendor;
  if (format == HSA_AMD_PACKET_TYPE_BARRIER_VALUE) {
    flight->packet.kind = Packet::Kind::kBarrierValue;
    return true;
  }
  if (format == kAmdFormatPm4Ib) {  // cache control: nothing to do, but it retires
    flight->packet.kind = Packet::Kind::kVendor;
    return true;
  }
  StopWithError(DispatchError::kBadVendorPacket,
                "unknown vendor packet, AMD format " + std::to_string(format));
  return false;
}

bool AqlQueue::DecodeDispatch(InFlight* flight) {
  hsa_kernel_dispatch_packet_t dispatch;
  std::memcpy(&dispatch, &flight->raw, sizeof(dispatch));
  std::uint64_t fault_address = 0;
  const DispatchError error =
      Recognise(dispatch, *context_.memory, context_.limits, &flight->run, &fault_address);
  if (error == DispatchError::kMemoryFault) {
    Fault(fault_address);
    return false;
  }
  if (error != DispatchError::kOk) {
    StopWithError(error, "invalid kernel dispatch");
    return false;
  }
  std::string why;
  if (flight->run.kind == KernelKind::kOpaque) {
    const std::uint64_t at = ring_.base + flight->packet.index * kPacketBytes % ring_.bytes;
    const DispatchError failed =
        Interpret(dispatch, at, context_.memory, context_.limits, &flight->run, &why);
    if (failed != DispatchError::kOk) {
      StopWithError(failed, why);
      return false;
    }
  }
  flight->packet.kind = Packet::Kind::kDispatch;
  flight->packet.cost = flight->run.cost;
  if (GoesWrong(FaultKind::kHungWave)) flight->packet.cost.workgroup_ns = kHungWorkgroupNs;
  ++counters_.dispatches;
  switch (flight->run.kind) {
    case KernelKind::kWork:
    case KernelKind::kFill:
    case KernelKind::kCopy:
    case KernelKind::kVectorAdd:
      ++counters_.work_kernels;
      break;
    case KernelKind::kBlitCopy:
    case KernelKind::kBlitFill:
      ++counters_.blit_kernels;
      break;
    case KernelKind::kInterpreted:
      ++counters_.interpreted_kernels;
      break;
    case KernelKind::kOpaque:
      ++counters_.opaque_kernels;
      ReportOpaque(flight->run.kernel_object, why);
      break;
  }
  return true;
}

void AqlQueue::ReportOpaque(std::uint64_t kernel_object, const std::string& why) {
  if (!opaque_seen_.insert(kernel_object).second) return;
  const std::string name = KernelName(kernel_object, *context_.memory);
  ReportOnce("kernel:" + name, "kernel " + name + " is not modelled: it takes " +
                                   std::to_string(context_.limits.opaque_workgroup_ns) +
                                   " ns per workgroup and has no effect on memory (" + why + ")");
  if (context_.strict) StrictAbort();
}

bool AqlQueue::SignalValue(std::uint64_t signal, std::int64_t* value) {
  const std::uint64_t at = signal + offsetof(amd_signal_t, value);
  std::uint64_t word = 0;
  if (!context_.memory->Load64(at, &word)) {
    Fault(at);
    return false;
  }
  *value = static_cast<std::int64_t>(word);
  return true;
}

bool AqlQueue::DependenciesMet(const Packet& packet) {
  if (dead_) return false;
  const InFlight& flight = in_flight_.at(packet.cookie);
  if (packet.kind == Packet::Kind::kBarrierValue) return BarrierValueMet(flight);
  const bool any = packet.kind == Packet::Kind::kBarrierOr;
  bool has_dependency = false;
  for (const hsa_signal_t& signal : flight.raw.dep_signal) {
    if (signal.handle == 0) continue;
    has_dependency = true;
    std::int64_t value = 0;
    if (!SignalValue(signal.handle, &value)) return false;
    if (any && value == 0) return true;
    if (!any && value != 0) return false;
  }
  return !any || !has_dependency;
}

bool AqlQueue::BarrierValueMet(const InFlight& flight) {
  hsa_amd_barrier_value_packet_t barrier;
  std::memcpy(&barrier, &flight.raw, sizeof(barrier));
  if (barrier.signal.handle == 0) return true;
  std::int64_t value = 0;
  if (!SignalValue(barrier.signal.handle, &value)) return false;
  value &= barrier.mask;
  switch (barrier.cond) {
    case HSA_SIGNAL_CONDITION_EQ:
      return value == barrier.value;
    case HSA_SIGNAL_CONDITION_NE:
      return value != barrier.value;
    case HSA_SIGNAL_CONDITION_LT:
      return value < barrier.value;
    default:
      return value >= barrier.value;
  }
}

void AqlQueue::Consume(const Packet& packet) {
  const std::uint64_t slot = packet.index % (ring_.bytes / kPacketBytes);
  auto* header = reinterpret_cast<std::uint16_t*>(packets_ + slot * kPacketBytes);
  std::atomic_ref(*header).store(kInvalidHeader, std::memory_order_release);
  read_index_ = packet.index + 1;
  decoded_ = false;
  ++counters_.packets;
  if (const auto it = in_flight_.find(packet.cookie);
      it != in_flight_.end() && it->second.run.kind == KernelKind::kWork) {
    CheckOrder(it->second);
  }
  std::atomic_ref(*read_word_).store(read_index_, std::memory_order_release);
}

// The queue launches in order, so what the hardware does when workgroup 0 starts may be done here.
void AqlQueue::CheckOrder(const InFlight& flight) {
  std::uint64_t old = 0, unused = 0;
  Add(flight.run.work.sequence, 1, &old);
  if (dead_ || old == flight.run.work.expected_sequence) return;
  ++counters_.order_errors;
  Add(flight.run.work.order_errors, 1, &unused);
}

void AqlQueue::Add(std::uint64_t address, std::uint64_t amount, std::uint64_t* old) {
  if (!dead_ && !context_.memory->AtomicAdd64(address, amount, old)) Fault(address);
}

void AqlQueue::WorkgroupsDone(const Packet& packet, std::uint64_t count, bool) {
  FinishWorkgroups(packet, count, nullptr);
}

void AqlQueue::WorkgroupDoneOn(const Packet& packet, const CuLocation& cu, bool) {
  FinishWorkgroups(packet, 1, &cu);
}

void AqlQueue::FinishWorkgroups(const Packet& packet, std::uint64_t count,
                                const CuLocation* place) {
  counters_.workgroups += count;
  const auto it = in_flight_.find(packet.cookie);
  if (it == in_flight_.end() || dead_) return;
  InFlight& flight = it->second;
  // The device counts workgroups and does not name them: the next ones in order stand for those.
  const std::uint64_t first = std::exchange(flight.workgroups_done, flight.workgroups_done + count);
  std::uint64_t old = 0, fault = 0;
  if (flight.run.kind == KernelKind::kWork) Add(flight.run.work.workgroups_done, count, &old);
  if (IsDataKernel(flight.run.kind) &&
      !ApplyDataWorkgroups(flight.run, first, count, context_.memory, &fault)) {
    Fault(fault);
  }
  if (flight.run.kind == KernelKind::kInterpreted) Execute(&flight, first, count, place);
}

void AqlQueue::Execute(InFlight* flight, std::uint64_t first, std::uint64_t count,
                       const CuLocation* place) {
  const isa::Outcome outcome = flight->run.interpreted->Run(first, count, place, context_.memory);
  counters_.instructions += outcome.instructions;
  switch (outcome.kind) {
    case isa::Outcome::Kind::kDone:
      return;
    case isa::Outcome::Kind::kMemoryFault:
      return Fault(outcome.fault_address);
    case isa::Outcome::Kind::kAborted:
      return StopWithError(DispatchError::kAbort, outcome.what);
    default:
      return StopWithError(DispatchError::kIllegalInstruction, outcome.what);
  }
}

void AqlQueue::ApplyBlit(const InFlight& flight) {
  const KernelRun& run = flight.run;
  if (run.kind == KernelKind::kBlitCopy && !context_.memory->Copy(run.to, run.from, run.bytes)) {
    Fault(context_.memory->HostPointer(run.to, 1) == nullptr ? run.to : run.from);
  }
  if (run.kind == KernelKind::kBlitFill && !context_.memory->Fill(run.to, run.pattern, run.bytes)) {
    Fault(run.to);
  }
}

void AqlQueue::Complete(const Packet& packet, TimeNs start, TimeNs end) {
  const auto it = in_flight_.find(packet.cookie);
  if (it == in_flight_.end()) return;
  const InFlight flight = std::move(it->second);
  in_flight_.erase(it);
  ApplyBlit(flight);
  if (dead_) return;
  ++counters_.completed;
  if (flight.completion_signal != 0) CompleteSignal(flight.completion_signal, start, end);
}

void AqlQueue::CompleteSignal(std::uint64_t signal, TimeNs start, TimeNs end) {
  amd_signal_t copy;
  static_assert(sizeof(copy) == 64);
  AddressSpace& memory = *context_.memory;
  // Read whole before the decrement: the waiter may destroy the signal the moment it sees the
  // value.
  if (!memory.ReadValue(signal, &copy)) return Fault(signal);
  memory.Store64(signal + offsetof(amd_signal_t, start_ts), context_.clock->GpuTicks(start));
  memory.Store64(signal + offsetof(amd_signal_t, end_ts), context_.clock->GpuTicks(end));
  std::uint64_t old = 0;
  Add(signal + offsetof(amd_signal_t, value), ~0ull, &old);
  if (copy.event_mailbox_ptr == 0) return;
  const std::uint64_t event_id = copy.event_id;
  if (!memory.Store64(copy.event_mailbox_ptr, event_id)) return Fault(copy.event_mailbox_ptr);
  if (!GoesWrong(FaultKind::kLostEvent)) context_.events->Interrupt(copy.event_id);
}

bool AqlQueue::GoesWrong(FaultKind fault) {
  return context_.faults != nullptr && context_.faults->Take(fault, context_.gpu_index);
}

void AqlQueue::Fault(std::uint64_t address) {
  if (dead_) return;
  dead_ = true;
  Report("%s: memory fault at 0x%llx (not mapped to the GPU); the queue stops",
         context_.label.c_str(), static_cast<unsigned long long>(address));
  context_.events->RaiseMemoryFault(address, context_.gpu_id, true, false);
  if (context_.strict) StrictAbort();
}

void AqlQueue::StopWithError(DispatchError error, const std::string& why) {
  dead_ = true;
  Report("%s: %s; the queue stops with error code %u", context_.label.c_str(), why.c_str(),
         static_cast<unsigned>(error));
  const std::uint64_t queue = ring_.write_index - offsetof(amd_queue_t, write_dispatch_id);
  std::uint64_t signal = 0;
  context_.memory->ReadValue(queue + offsetof(amd_queue_t, queue_inactive_signal), &signal);
  amd_signal_t copy;
  if (signal != 0 && context_.memory->ReadValue(signal, &copy)) {
    context_.memory->Store64(signal + offsetof(amd_signal_t, value),
                             static_cast<std::uint64_t>(error));
    if (copy.event_mailbox_ptr != 0) {
      const std::uint64_t event_id = copy.event_id;
      context_.memory->Store64(copy.event_mailbox_ptr, event_id);
      context_.events->Interrupt(copy.event_id);
    }
  }
  TellRuntime(error);
  if (context_.strict) StrictAbort();
}

// What KFD does for runtimes that have called RUNTIME_ENABLE (kfd_send_exception_to_runtime): the
// error's bit into the payload that the save area's header names, then the header's event.
void AqlQueue::TellRuntime(DispatchError error) {
  struct SaveAreaHeader {  // kfd_context_save_area_header
    std::uint32_t wave_state[4];
    std::uint32_t debug_offset, debug_bytes;
    std::uint64_t payload;
    std::uint32_t event_id, reserved;
  } header;
  static_assert(sizeof(header) == 40);
  if (context_.save_area == 0 || !context_.memory->ReadValue(context_.save_area, &header)) return;
  std::uint64_t bits = 0;
  if (header.payload == 0 || !context_.memory->ReadValue(header.payload, &bits)) return;
  context_.memory->Store64(header.payload, bits | 1ull << (ExceptionCode(error) - 1));
  context_.events->Set(header.event_id);
}

}  // namespace virtual_gpu

// kfd_memory.cc: allocating, freeing and mapping memory of the virtual GPUs.

#include <errno.h>

#include <algorithm>
#include <cstring>

#include "kfd_abi.h"
#include "kfd_driver.h"
#include "report.h"

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kLargePageBytes = 2ull << 20;

Allocation::Kind KindOf(std::uint32_t flags) {
  if ((flags & kfd::kMemoryVram) != 0) return Allocation::Kind::kVram;
  if ((flags & kfd::kMemoryUserptr) != 0) return Allocation::Kind::kUserptr;
  if ((flags & kfd::kMemoryDoorbell) != 0) return Allocation::Kind::kDoorbell;
  if ((flags & kfd::kMemoryMmioRemap) != 0) return Allocation::Kind::kMmio;
  return Allocation::Kind::kGtt;
}

}  // namespace

int KfdDriver::PlaceMemory(Gpu* gpu, Allocation* allocation) {
  const bool vram = allocation->kind == Allocation::Kind::kVram;
  if (vram && gpu->vram_used + allocation->bytes > gpu->model().part.vram_bytes) return ENOMEM;
  const std::uint64_t alignment =
      allocation->bytes >= kLargePageBytes ? kLargePageBytes : kPageBytes;
  if (!gpu->arena()->Allocate(allocation->bytes, alignment, &allocation->offset)) return ENOMEM;
  allocation->arena = gpu->arena();
  if (vram) gpu->vram_used += allocation->bytes;
  return 0;
}

void KfdDriver::AllocMemory(const Request& request, Process& process) {
  auto args = request.Arg<kfd::AllocMemoryArgs>();
  Gpu* gpu = FindGpu(args.gpu_id);
  if (gpu == nullptr || args.size == 0) return request.Reply(EINVAL);
  Allocation allocation;
  allocation.kind = KindOf(args.flags);
  allocation.va = args.va_addr;
  allocation.bytes = RoundUp(args.size, kPageBytes);
  allocation.gpu_id = args.gpu_id;
  allocation.gpu_index = gpu->index();
  allocation.handle = (std::uint64_t{args.gpu_id} << 32) | process.next_handle++;
  switch (allocation.kind) {
    case Allocation::Kind::kVram:
    case Allocation::Kind::kGtt:
      if (const int error = PlaceMemory(gpu, &allocation); error != 0) return request.Reply(error);
      args.mmap_offset = allocation.offset;
      break;
    case Allocation::Kind::kUserptr:
      allocation.offset = args.mmap_offset;  // the process's own address
      break;
    case Allocation::Kind::kDoorbell:
      args.mmap_offset = process.DoorbellOffset(gpu->index(), 0);
      break;
    case Allocation::Kind::kMmio:
      args.mmap_offset = process.DoorbellOffset(gpu->index(), 0) + kMmioOffset;
      break;
  }
  if (!process.memory.Add(allocation)) {
    Report("pid %d: address range 0x%llx, %llu bytes, is allocated already", process.pid,
           static_cast<unsigned long long>(allocation.va),
           static_cast<unsigned long long>(allocation.bytes));
    if (allocation.arena != nullptr) allocation.arena->Free(allocation.offset, allocation.bytes);
    if (allocation.kind == Allocation::Kind::kVram) gpu->vram_used -= allocation.bytes;
    return request.Reply(ENOMEM);
  }
  args.handle = allocation.handle;
  request.ReplyWith(0, args);
}

void KfdDriver::FreeMemory(const Request& request, Process& process) {
  Allocation freed;
  const auto args = request.Arg<kfd::FreeMemoryArgs>();
  if (!process.memory.Free(args.handle, &freed)) return request.Reply(EINVAL);
  if (freed.kind == Allocation::Kind::kVram) (*gpus_)[freed.gpu_index]->vram_used -= freed.bytes;
  request.Reply(0);
}

void KfdDriver::ChangeMapping(const Request& request, Process& process, bool map) {
  auto args = request.Arg<kfd::MapMemoryArgs>();
  const std::size_t count = request.payload.size() / sizeof(std::uint32_t);
  if (count == 0 || count != args.n_devices || args.n_success > args.n_devices) {
    return request.Reply(EINVAL);
  }
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t gpu_id;
    std::memcpy(&gpu_id, request.payload.data() + i * sizeof(gpu_id), sizeof(gpu_id));
    const Gpu* gpu = FindGpu(gpu_id);
    if (gpu == nullptr) return request.Reply(EINVAL);
    bits |= 1u << gpu->index();
  }
  if (!process.memory.SetMapped(args.handle, bits, map)) return request.Reply(EINVAL);
  args.n_success = args.n_devices;
  request.ReplyWith(0, args);
}

void KfdDriver::MapMemory(const Request& request, Process& process) {
  ChangeMapping(request, process, true);
}

void KfdDriver::UnmapMemory(const Request& request, Process& process) {
  ChangeMapping(request, process, false);
}

void KfdDriver::AvailableMemory(const Request& request, Process&) {
  auto args = request.Arg<kfd::AvailableMemoryArgs>();
  const Gpu* gpu = FindGpu(args.gpu_id);
  if (gpu == nullptr) return request.Reply(EINVAL);
  args.available =
      gpu->model().part.vram_bytes - std::min(gpu->vram_used, gpu->model().part.vram_bytes);
  request.ReplyWith(0, args);
}

}  // namespace virtual_gpu

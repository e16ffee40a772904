#include "data_effects.h"

#include <algorithm>
#include <vector>

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kElementBytes = sizeof(std::uint32_t);
constexpr std::uint64_t kBlockElements =
    16384;  // of a vector add, per copy out of the GPU's memory

bool AddVectors(const dual_model::DataKernarg& data, std::uint64_t begin, std::uint64_t end,
                AddressSpace* memory, std::uint64_t* fault) {
  std::vector<std::uint32_t> a, b;
  for (std::uint64_t at = begin; at < end; at += kBlockElements) {
    const std::uint64_t elements = std::min(kBlockElements, end - at);
    const std::uint64_t bytes = elements * kElementBytes, offset = at * kElementBytes;
    a.resize(elements);
    b.resize(elements);
    *fault = data.from + offset;
    if (!memory->Read(data.from + offset, a.data(), bytes)) return false;
    *fault = data.other + offset;
    if (!memory->Read(data.other + offset, b.data(), bytes)) return false;
    for (std::uint64_t i = 0; i < elements; ++i) a[i] += b[i];
    *fault = data.to + offset;
    if (!memory->Write(data.to + offset, a.data(), bytes)) return false;
  }
  return true;
}

}  // namespace

bool ApplyDataWorkgroups(const KernelRun& run, std::uint64_t first, std::uint64_t count,
                         AddressSpace* memory, std::uint64_t* fault) {
  const dual_model::DataKernarg& data = run.data;
  const std::uint64_t elements = data.elements, items = data.workgroup_items;
  const std::uint64_t begin = std::min(first * items, elements);
  const std::uint64_t end = std::min((first + count) * items, elements);
  if (begin == end) return true;
  const std::uint64_t offset = begin * kElementBytes, bytes = (end - begin) * kElementBytes;
  switch (run.kind) {
    case KernelKind::kFill:
      *fault = data.to + offset;
      return memory->Fill(data.to + offset, data.value, bytes);
    case KernelKind::kCopy:
      *fault = memory->HostPointer(data.to + offset, 1) == nullptr ? data.to : data.from;
      return memory->Copy(data.to + offset, data.from + offset, bytes);
    case KernelKind::kVectorAdd:
      return AddVectors(data, begin, end, memory, fault);
    default:
      return true;
  }
}

}  // namespace virtual_gpu

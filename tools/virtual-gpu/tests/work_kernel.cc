// work_kernel.cc: loads the load generator's code object, when the build has it.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "hsa_harness.h"

#ifdef VIRTUAL_GPU_HAS_WORK_KERNELS
#include "dual-model/work_code_objects.h"
#endif

namespace virtual_gpu::test {

constexpr std::uint32_t kItems = 64;  // one wave a workgroup

#ifdef VIRTUAL_GPU_HAS_WORK_KERNELS

namespace {

std::string IsaName(hsa_agent_t gpu) {
  hsa_isa_t isa;
  char name[64] = {};
  HSA_CHECK(hsa_agent_get_info(gpu, HSA_AGENT_INFO_ISA, &isa));
  HSA_CHECK(hsa_isa_get_info_alt(isa, HSA_ISA_INFO_NAME, name));
  return name;
}

}  // namespace

WorkKernel::WorkKernel(const Runtime& runtime, const std::string& name) : runtime_(runtime) {
  const auto object = dual_model::GetWorkCodeObject(IsaName(runtime.gpu));
  hsa_code_object_reader_t reader;
  HSA_CHECK(hsa_code_object_reader_create_from_memory(object.data(), object.size(), &reader));
  hsa_executable_t executable;
  HSA_CHECK(hsa_executable_create_alt(HSA_PROFILE_FULL, HSA_DEFAULT_FLOAT_ROUNDING_MODE_DEFAULT,
                                      nullptr, &executable));
  HSA_CHECK(
      hsa_executable_load_agent_code_object(executable, runtime.gpu, reader, nullptr, nullptr));
  HSA_CHECK(hsa_executable_freeze(executable, nullptr));
  hsa_executable_symbol_t symbol;
  HSA_CHECK(
      hsa_executable_get_symbol_by_name(executable, (name + ".kd").c_str(), &runtime.gpu, &symbol));
  HSA_CHECK(hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_OBJECT,
                                           &kernel_object_));
}

#else

WorkKernel::WorkKernel(const Runtime& runtime, const std::string&) : runtime_(runtime) {
  std::fprintf(stderr, "skipped: built without tools/dual-model, which has the work kernels\n");
  std::_Exit(kSkipped);
}

#endif

WorkKernel::WorkKernel(const Runtime& runtime, std::uint32_t vgprs)
    : WorkKernel(runtime, "xsched_work_v" + std::to_string(vgprs)) {}

char* WorkKernel::Entry() const {
  constexpr std::size_t kEntryOffsetAt = 16;  // in the kernel descriptor
  std::int64_t entry_offset;
  std::memcpy(&entry_offset, reinterpret_cast<const char*>(kernel_object_) + kEntryOffsetAt,
              sizeof(entry_offset));
  return reinterpret_cast<char*>(kernel_object_) + entry_offset;
}

void WorkKernel::Spoil() { Entry()[dual_model::kSignatureOffsetBytes] = '?'; }

void WorkKernel::SpoilWith(std::uint32_t instruction) {
  Spoil();
  std::memcpy(Entry(), &instruction, sizeof(instruction));
}

void WorkKernel::Dispatch(Queue* queue, Counters* counters, std::uint64_t expected_sequence,
                          std::uint32_t workgroups, std::uint32_t workgroup_ns,
                          hsa_signal_t completion, std::uint32_t lds_bytes, bool barrier) {
  auto* kernarg = static_cast<dual_model::WorkKernarg*>(runtime_.Host(sizeof(*counters)));
  kernarg->workgroups_done = reinterpret_cast<std::uint64_t>(&counters->done);
  kernarg->sequence = reinterpret_cast<std::uint64_t>(&counters->sequence);
  kernarg->order_errors = reinterpret_cast<std::uint64_t>(&counters->order_errors);
  kernarg->expected_sequence = expected_sequence;
  kernarg->workgroup_ticks = workgroup_ns / 10;
  kernarg->workgroup_ns = workgroup_ns;
  Submit(queue, kernarg, workgroups, lds_bytes, completion, barrier);
}

void WorkKernel::DispatchData(Queue* queue, dual_model::DataKernarg data, hsa_signal_t completion) {
  data.workgroup_items = kItems;
  data.workgroup_ticks = data.workgroup_ns / 10;
  auto* kernarg = static_cast<dual_model::DataKernarg*>(runtime_.Host(sizeof(data)));
  *kernarg = data;
  Submit(queue, kernarg, (data.elements + kItems - 1) / kItems, 0, completion, true);
}

void WorkKernel::Submit(Queue* queue, void* kernarg, std::uint32_t workgroups,
                        std::uint32_t lds_bytes, hsa_signal_t completion, bool barrier) {
  hsa_kernel_dispatch_packet_t packet = {};
  packet.setup = 1;
  packet.workgroup_size_x = kItems;
  packet.workgroup_size_y = packet.workgroup_size_z = 1;
  packet.grid_size_x = workgroups * kItems;
  packet.grid_size_y = packet.grid_size_z = 1;
  packet.group_segment_size = lds_bytes;
  packet.kernel_object = kernel_object_;
  packet.kernarg_address = kernarg;
  packet.completion_signal = completion;
  queue->Submit(&packet, HSA_PACKET_TYPE_KERNEL_DISPATCH, barrier);
}

}  // namespace virtual_gpu::test

// workload.h: reads a workload file: the kernels of a model's inference, traced on some GPU.
//
// Why        The format is that of workloads/resnet_h100.json (workloads/README.md). Any file of
//            that format serves; how a trace becomes launches on the GPU at hand is in
//            replay_plan.h.
// Threads    plain data and pure functions.
// Units      _ns, _ms, _bytes as named; grids count workgroups, blocks work-items.
// Errors     false and one line in *error that names the file and what is wrong with it.
// Limits     kKernelsMax kernels an inference; work-items a workgroup 1..1024; a grid of at most
//            2^32 - 1 work-items, because launches are one-dimensional (kernels/work.s).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dual_model {

inline constexpr std::size_t kKernelsMax = 100'000;
inline constexpr std::uint32_t kWorkItemsMax = 1024;

struct TraceKernel {
  std::string name;
  std::uint64_t workgroups = 1;
  std::uint32_t work_items = 64;  // per workgroup
  std::uint32_t registers = 8;    // per work-item
  std::uint32_t lds_bytes = 0;    // per workgroup, of the traced GPU's LDS
  std::uint64_t duration_ns = 0;  // alone on the traced GPU
};

struct TraceModel {
  std::string gpu;   // where it was traced
  std::string name;  // "resnet50.b1024"
  std::uint32_t batch = 1;
  double request_ms = 0;  // median of a whole request on the traced machine; 0: not in the file
  std::vector<TraceKernel> kernels;

  double KernelSumMs() const;
};

// One --high or --low argument: FILE:MODEL@RATE or FILE:MODEL.
struct ModelSpec {
  std::string file;
  std::string model;
  double rate_per_s = 0;  // 0: back to back
};

// `want_rate`: a rate must be given; otherwise none may be.
bool ParseModelSpec(std::string_view text, bool want_rate, ModelSpec* spec, std::string* error);

// `text` is a file's content; `file` is only for the message.
bool ParseWorkload(std::string_view text, const std::string& file, const std::string& model_name,
                   TraceModel* model, std::string* error);

// A bare file name that is not in the current folder is looked up among the data that comes with
// the program (WorkloadFolder()).
bool LoadWorkload(const ModelSpec& spec, TraceModel* model, std::string* error);
std::string WorkloadFolder();

}  // namespace dual_model

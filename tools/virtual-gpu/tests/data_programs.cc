// data_programs.cc: the data kernels (fill, copy, vector add): right results, once per workgroup.

#include <atomic>
#include <cstdio>
#include <random>
#include <thread>

#include "hsa_harness.h"
#include "programs.h"

namespace virtual_gpu::test {
namespace {

constexpr std::uint32_t kElements = 100'003;  // the last workgroup is not full

dual_model::DataKernarg Arrays(const std::uint32_t* to, const std::uint32_t* from,
                               const std::uint32_t* other) {
  dual_model::DataKernarg data = {};
  data.to = reinterpret_cast<std::uint64_t>(to);
  data.from = reinterpret_cast<std::uint64_t>(from);
  data.other = reinterpret_cast<std::uint64_t>(other);
  data.elements = kElements;
  data.workgroup_ns = 2'000;
  return data;
}

void Run(WorkKernel* kernel, Queue* queue, const Runtime& runtime,
         const dual_model::DataKernarg& data) {
  const hsa_signal_t done = runtime.Signal(1);
  kernel->DispatchData(queue, data, done);
  EXPECT_THAT(WaitZero(done));
  hsa_signal_destroy(done);
}

void DataKernels() {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel fill(runtime, "xsched_fill"), copy(runtime, "xsched_copy"),
      add(runtime, "xsched_vector_add");
  const auto array = [&] {
    return static_cast<std::uint32_t*>(runtime.Host((kElements + 1) * sizeof(std::uint32_t)));
  };
  std::uint32_t *a = array(), *b = array(), *sum = array();
  for (std::uint32_t i = 0; i < kElements; ++i) b[i] = i * 2'654'435'761u;
  dual_model::DataKernarg data = Arrays(a, nullptr, nullptr);
  data.value = 7;
  Run(&fill, &queue, runtime, data);
  Run(&add, &queue, runtime, Arrays(sum, a, b));
  Run(&copy, &queue, runtime, Arrays(a, sum, nullptr));
  for (std::uint32_t i = 0; i < kElements; ++i) {
    if (sum[i] != b[i] + 7 || a[i] != sum[i]) Die("element %u: %u and %u", i, sum[i], a[i]);
  }
  EXPECT_THAT(a[kElements] == 0 && sum[kElements] == 0);  // nothing beyond the end
}

// y += x again and again while another thread suspends, resumes and masks the queue at random.
void DataOnce() {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel add(runtime, "xsched_vector_add");
  auto* x = static_cast<std::uint32_t*>(runtime.Host(kElements * sizeof(std::uint32_t)));
  auto* y = static_cast<std::uint32_t*>(runtime.Host(kElements * sizeof(std::uint32_t)));
  for (std::uint32_t i = 0; i < kElements; ++i) x[i] = i + 1;
  std::atomic<bool> stop = false;
  std::atomic<int> changes = 0;
  std::thread disturber([&] {
    std::mt19937 random(12345);
    while (!stop) {
      EXPECT_THAT(queue.SetPercentage(0) == 0);
      if (random() % 4 == 0) {
        // A whole XCC's worth each time: an XCC without a CU would stall the queue.
        const std::uint32_t mask[4] = {0xffffffffu, random() % 2 ? 0xffffffffu : 0u,
                                       random() % 2 ? 0xffffffffu : 0u, 0xffffffffu};
        EXPECT_THAT(queue.SetCuMask(mask, 128) == 0);
      }
      EXPECT_THAT(queue.SetPercentage(100) == 0);
      ++changes;
    }
  });
  constexpr std::uint32_t kRounds = 200;
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    Run(&add, &queue, runtime, Arrays(y, x, y));
  }
  stop = true;
  disturber.join();
  for (std::uint32_t i = 0; i < kElements; ++i) {
    if (y[i] != kRounds * x[i]) Die("element %u: %u, not %u", i, y[i], kRounds * x[i]);
  }
  std::printf("suspends %d\n", changes.load());
  EXPECT_THAT(changes > 50);
}

// The error twin: an array that is not the GPU's raises the runtime's memory fault.
void DataFault() {
  const Runtime runtime;
  Queue queue(runtime);
  WorkKernel fill(runtime, "xsched_fill");
  dual_model::DataKernarg data = Arrays(nullptr, nullptr, nullptr);
  data.to = 0x123456789000;
  const hsa_signal_t done = runtime.Signal(1);
  fill.DispatchData(&queue, data, done);
  WaitZero(done);
  Die("the fill has completed, or nobody noticed that it cannot");
}

}  // namespace

void AddDataPrograms(Programs* programs) {
  programs->insert({
      {"data-kernels", DataKernels},
      {"data-once", DataOnce},
      {"data-fault", DataFault},
  });
}

}  // namespace virtual_gpu::test

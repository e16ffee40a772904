// exercise_main.cc: what the tests run under the virtual GPU: `virtual-gpu-exercise NAME`.
//
// Exit code 0: everything held; 1: one line says what did not; 77: this build cannot.

#include <hsa/hsa.h>

#include <cstdio>

#include "programs.h"

int main(int argc, char** argv) {
  virtual_gpu::test::Programs programs;
  virtual_gpu::test::AddRuntimePrograms(&programs);
  virtual_gpu::test::AddQueuePrograms(&programs);
  virtual_gpu::test::AddDataPrograms(&programs);
  virtual_gpu::test::AddRulePrograms(&programs);
  virtual_gpu::test::AddDebugPrograms(&programs);
  virtual_gpu::test::AddFaultPrograms(&programs);
  virtual_gpu::test::AddBenchPrograms(&programs);
  virtual_gpu::test::AddClockPrograms(&programs);
  const auto program = argc == 2 ? programs.find(argv[1]) : programs.end();
  if (program == programs.end()) {
    std::fprintf(stderr, "usage: virtual-gpu-exercise NAME; names:");
    for (const auto& [name, run] : programs) std::fprintf(stderr, " %s", name.c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
  program->second();
  hsa_shut_down();
  std::printf("ok\n");
  return 0;
}

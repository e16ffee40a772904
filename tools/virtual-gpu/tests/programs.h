// programs.h: the programs of virtual-gpu-exercise, by name.
//
// Errors     Die() with what did not hold; kSkipped when the build cannot.
#pragma once

#include <map>
#include <string>

namespace virtual_gpu::test {

using Programs = std::map<std::string, void (*)()>;

void AddRuntimePrograms(Programs* programs);  // runtime_programs.cc: what ROCr's users see
void AddQueuePrograms(Programs* programs);    // queue_programs.cc: KFD's queue ioctls and files
void AddDataPrograms(Programs* programs);     // data_programs.cc: kernels whose result is data

void AddRulePrograms(Programs* programs);   // driver_rule_programs.cc: errno values, cycles
void AddDebugPrograms(Programs* programs);  // debug_programs.cc: DBG_TRAP
void AddFaultPrograms(Programs* programs);  // fault_programs.cc: faults on request
void AddBenchPrograms(Programs* programs);  // bench_programs.cc: load for tests/bench
void AddClockPrograms(Programs* programs);  // clock_programs.cc: CLOCK_MONOTONIC

}  // namespace virtual_gpu::test

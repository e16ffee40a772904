// example.h: what the HIP examples share.
//
// Why        Results go to stdout and are the same on every device, in every run, with and without
//            xsched-hsa; times go to stderr and are the host's.
// Errors     CHECK ends the program with the failing call and HIP's own text.
#pragma once

#include <hip/hip_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(call)                                                      \
  do {                                                                   \
    const hipError_t status = (call);                                    \
    if (status != hipSuccess) {                                          \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, \
                   hipGetErrorString(status));                           \
      std::exit(1);                                                      \
    }                                                                    \
  } while (0)

inline double NowMs() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

inline int DeviceOrExit() {
  int count = 0;
  if (hipGetDeviceCount(&count) != hipSuccess || count == 0) {
    std::fprintf(stderr,
                 "no HIP device: on a machine without one, use virtual-gpu run -- PROGRAM\n");
    std::exit(1);
  }
  hipDeviceProp_t properties;
  CHECK(hipGetDeviceProperties(&properties, 0));
  std::fprintf(stderr, "device: %s (%s)\n", properties.name, properties.gcnArchName);
  return 0;
}

inline void PrintLatencies(const char* what, std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  const auto at = [&](double part) {
    return ms[std::min(ms.size() - 1,
                       static_cast<std::size_t>(part * static_cast<double>(ms.size())))];
  };
  std::fprintf(stderr, "%s: %zu, host ms: p50 %.2f p99 %.2f max %.2f\n", what, ms.size(), at(0.5),
               at(0.99), ms.back());
}

// Keeps its compute unit for about `units` x 4 us at 2 GHz without using it.
__device__ inline void Linger(int units) {
  for (int i = 0; i < units; ++i) __builtin_amdgcn_s_sleep(127);
}

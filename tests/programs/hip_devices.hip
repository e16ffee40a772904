// hip_devices.hip: uses every device that it is shown, from two threads, and one that is not there.
//
//   hip-devices              each device's PCI address, and whether a kernel on it was right
//   hip-devices callback END in the middle of a stream callback, with kernels behind it: END is exit, abort or
//                            wait (until it is killed)
//
// Output     the same with and without xsched-hsa. "in the callback" when it is there.
// Errors     a HIP call that fails where it should not ends the program with its name.
#include <unistd.h>

#include <cstring>
#include <thread>

#include "../../tools/hip-examples/example.h"

__global__ void Square(int* values) { values[threadIdx.x] *= values[threadIdx.x]; }

namespace {

constexpr int kValues = 64, kBehind = 40;

int Wrong() {
  int *device, host[kValues];
  for (int i = 0; i < kValues; ++i) host[i] = i;
  CHECK(hipMalloc(&device, sizeof(host)));
  CHECK(hipMemcpy(device, host, sizeof(host), hipMemcpyHostToDevice));
  Square<<<1, kValues>>>(device);
  CHECK(hipMemcpy(host, device, sizeof(host), hipMemcpyDeviceToHost));
  CHECK(hipFree(device));
  int wrong = 0;
  for (int i = 0; i < kValues; ++i) wrong += host[i] != i * i;
  return wrong;
}

// Current in this thread; another thread begins with the first device.
void UseEach(int count, const char* thread) {
  for (int i = 0; i < count; ++i) {
    CHECK(hipSetDevice(i));
    char address[32] = "";
    int current = -1;
    CHECK(hipDeviceGetPCIBusId(address, sizeof(address), i));
    CHECK(hipGetDevice(&current));
    std::printf("%s: device %d of %d at %s: %d wrong\n", thread, current, count, address, Wrong());
  }
}

int Devices() {
  int count = 0;
  const hipError_t found = hipGetDeviceCount(&count);
  std::printf("%s, %d devices\n", hipGetErrorName(found), found == hipSuccess ? count : 0);
  if (found != hipSuccess) return 0;
  UseEach(count, "main");
  std::thread([count] {
    int current = -1;
    CHECK(hipGetDevice(&current));
    std::printf("a new thread begins with device %d\n", current);
    UseEach(count, "thread");
  }).join();
  std::printf("device %d: %s\n", count, hipGetErrorName(hipSetDevice(count)));
  return 0;
}

void End(hipStream_t, hipError_t, void* how) {
  std::printf("in the callback\n");
  std::fflush(stdout);
  if (std::strcmp(static_cast<char*>(how), "exit") == 0) _exit(7);
  if (std::strcmp(static_cast<char*>(how), "abort") == 0) std::abort();
  while (true) pause();
}

int EndInACallback(char* how) {
  hipStream_t stream;
  int* values;
  CHECK(hipStreamCreate(&stream));
  CHECK(hipMalloc(&values, kValues * sizeof(int)));
  Square<<<1, kValues, 0, stream>>>(values);
  CHECK(hipStreamSynchronize(stream));
  std::printf("ready\n");
  std::fflush(stdout);
  getchar();
  CHECK(hipStreamAddCallback(stream, End, how, 0));
  for (int i = 0; i < kBehind; ++i) Square<<<1, kValues, 0, stream>>>(values);
  CHECK(hipStreamSynchronize(stream));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) return Devices();
  if (argc == 3 && std::strcmp(argv[1], "callback") == 0) return EndInACallback(argv[2]);
  std::fprintf(stderr, "usage: hip-devices [callback exit|abort|wait]\n");
  return 2;
}

// vector_add.hip: the first HIP program: two vectors over, their sum back.
#include "example.h"

__global__ void VectorAdd(const float* a, const float* b, float* sum, int elements) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < elements) sum[i] = a[i] + b[i];
}

int main() {
  DeviceOrExit();
  constexpr int kElements = 100'000;
  constexpr std::size_t kBytes = kElements * sizeof(float);
  std::vector<float> a(kElements), b(kElements), sum(kElements);
  for (int i = 0; i < kElements; ++i) {
    a[i] = static_cast<float>(i);
    b[i] = 0.5f * static_cast<float>(i % 1000);
  }
  float *device_a, *device_b, *device_sum;
  CHECK(hipMalloc(&device_a, kBytes));
  CHECK(hipMalloc(&device_b, kBytes));
  CHECK(hipMalloc(&device_sum, kBytes));
  CHECK(hipMemcpy(device_a, a.data(), kBytes, hipMemcpyHostToDevice));
  CHECK(hipMemcpy(device_b, b.data(), kBytes, hipMemcpyHostToDevice));
  CHECK(hipMemset(device_sum, 0, kBytes));

  constexpr int kBlock = 256;
  VectorAdd<<<(kElements + kBlock - 1) / kBlock, kBlock>>>(device_a, device_b, device_sum,
                                                           kElements);
  CHECK(hipGetLastError());
  CHECK(hipMemcpy(sum.data(), device_sum, kBytes, hipMemcpyDeviceToHost));

  int wrong = 0;
  double total = 0;
  for (int i = 0; i < kElements; ++i) {
    wrong += sum[i] != a[i] + b[i];
    total += sum[i];
  }
  CHECK(hipFree(device_a));
  CHECK(hipFree(device_b));
  CHECK(hipFree(device_sum));
  std::printf("vector_add: %d elements, %d wrong, total %.1f\n", kElements, wrong, total);
  return wrong != 0;
}

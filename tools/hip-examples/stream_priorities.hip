// stream_priorities.hip: a background job and an urgent one in one program, by stream priority.
//
// The background stream always has kernels queued that fill the device; the urgent stream launches a
// short one now and then and waits for it. What the urgent one waits for the device is in its latency.
#include <thread>

#include "example.h"

constexpr int kBackgroundKernels = 60, kUrgentKernels = 20;
constexpr int kBlock = 256, kBackgroundBlocks = 640, kUrgentElements = 4096;

// Each block counts itself once, so that a lost or repeated one shows.
__global__ void Background(unsigned* blocks_done) {
  Linger(40);
  if (threadIdx.x == 0) atomicAdd(blocks_done, 1u);
}

__global__ void Urgent(int* values, int round) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < kUrgentElements) values[i] = i * round;
}

int main() {
  DeviceOrExit();
  int least = 0, greatest = 0;
  CHECK(hipDeviceGetStreamPriorityRange(&least, &greatest));
  hipStream_t background, urgent;
  CHECK(hipStreamCreateWithPriority(&background, hipStreamNonBlocking, least));
  CHECK(hipStreamCreateWithPriority(&urgent, hipStreamNonBlocking, greatest));

  unsigned* blocks_done;
  int *values, *values_here;
  CHECK(hipMalloc(&blocks_done, sizeof(*blocks_done)));
  CHECK(hipMemset(blocks_done, 0, sizeof(*blocks_done)));
  CHECK(hipMalloc(&values, kUrgentElements * sizeof(int)));
  CHECK(hipHostMalloc(&values_here, kUrgentElements * sizeof(int)));
  CHECK(hipDeviceSynchronize());

  for (int n = 0; n < kBackgroundKernels; ++n) {
    Background<<<kBackgroundBlocks, kBlock, 0, background>>>(blocks_done);
  }
  CHECK(hipGetLastError());

  int wrong = 0;
  std::vector<double> latencies;
  for (int round = 1; round <= kUrgentKernels; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const double start = NowMs();
    Urgent<<<kUrgentElements / kBlock, kBlock, 0, urgent>>>(values, round);
    CHECK(hipGetLastError());
    CHECK(hipMemcpyAsync(values_here, values, kUrgentElements * sizeof(int), hipMemcpyDeviceToHost,
                         urgent));
    CHECK(hipStreamSynchronize(urgent));
    latencies.push_back(NowMs() - start);
    for (int i = 0; i < kUrgentElements; ++i) wrong += values_here[i] != i * round;
  }

  const double start = NowMs();
  CHECK(hipStreamSynchronize(background));
  std::fprintf(stderr, "background stream: another %.1f ms of the host after that\n",
               NowMs() - start);
  unsigned done = 0;
  CHECK(hipMemcpy(&done, blocks_done, sizeof(done), hipMemcpyDeviceToHost));
  PrintLatencies("urgent kernels", latencies);
  std::printf("stream_priorities: %d urgent kernels, %d values wrong; background blocks %u of %u\n",
              kUrgentKernels, wrong, done, kBackgroundKernels * kBackgroundBlocks);
  return wrong != 0 || done != kBackgroundKernels * kBackgroundBlocks;
}

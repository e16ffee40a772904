// serving_loop.hip: requests at a fixed rate against a small model: a hidden layer and a softmax.
//
//   serving_loop [REQUESTS [PERIOD_MS]]
//
// Each request is: input over, three kernels, result back, all asynchronous on the stream of its
// worker; the latency counts from when the request was due.
#include <cmath>
#include <thread>

#include "example.h"

constexpr int kInputs = 64, kHidden = 128, kClasses = 16, kWorkers = 2;

// One block per output: products in parallel, their sum by halving in LDS.
template <int inputs, bool relu>
__global__ void Layer(const float* weights, const float* input, float* output) {
  __shared__ float partial[inputs];
  const int i = static_cast<int>(threadIdx.x);
  partial[i] = weights[blockIdx.x * inputs + i] * input[i];
  for (int half = inputs / 2; half > 0; half /= 2) {
    __syncthreads();
    if (i < half) partial[i] += partial[i + half];
  }
  if (i == 0) output[blockIdx.x] = relu ? fmaxf(partial[0], 0.0f) : partial[0];
}

__global__ void Softmax(const float* scores, float* shares) {
  __shared__ float powers[kClasses];
  const int i = static_cast<int>(threadIdx.x);
  powers[i] = expf(scores[i]);
  __syncthreads();
  float sum = 0;
  for (int n = 0; n < kClasses; ++n) sum += powers[n];
  shares[i] = powers[i] / sum;
}

struct Worker {
  hipStream_t stream;
  float *input, *hidden, *scores, *shares;  // on the device
  float *input_here, *shares_here;          // pinned
};

float Weight(int n) { return static_cast<float>((n * 37) % 101 - 50) / 400.0f; }
float Input(int request, int n) { return static_cast<float>((request * 13 + n * 7) % 29) / 29.0f; }

// The same on the host, for the check.
std::vector<double> Expected(int request) {
  std::vector<double> hidden(kHidden), shares(kClasses);
  for (int h = 0; h < kHidden; ++h) {
    for (int n = 0; n < kInputs; ++n) {
      hidden[h] += double{Weight(h * kInputs + n)} * Input(request, n);
    }
    hidden[h] = std::max(hidden[h], 0.0);
  }
  double sum = 0;
  for (int c = 0; c < kClasses; ++c) {
    for (int h = 0; h < kHidden; ++h) shares[c] += double{Weight(c * kHidden + h + 5)} * hidden[h];
    sum += shares[c] = std::exp(shares[c]);
  }
  for (double& share : shares) share /= sum;
  return shares;
}

float* OnDevice(const std::vector<float>& values) {
  float* device;
  CHECK(hipMalloc(&device, values.size() * sizeof(float)));
  CHECK(hipMemcpy(device, values.data(), values.size() * sizeof(float), hipMemcpyHostToDevice));
  return device;
}

Worker MakeWorker() {
  Worker w;
  CHECK(hipStreamCreateWithFlags(&w.stream, hipStreamNonBlocking));
  CHECK(hipMalloc(&w.input, kInputs * sizeof(float)));
  CHECK(hipMalloc(&w.hidden, kHidden * sizeof(float)));
  CHECK(hipMalloc(&w.scores, kClasses * sizeof(float)));
  CHECK(hipMalloc(&w.shares, kClasses * sizeof(float)));
  CHECK(hipHostMalloc(&w.input_here, kInputs * sizeof(float)));
  CHECK(hipHostMalloc(&w.shares_here, kClasses * sizeof(float)));
  return w;
}

void Serve(Worker& w, int request, const float* first, const float* second) {
  for (int n = 0; n < kInputs; ++n) w.input_here[n] = Input(request, n);
  CHECK(hipMemcpyAsync(w.input, w.input_here, kInputs * sizeof(float), hipMemcpyHostToDevice,
                       w.stream));
  Layer<kInputs, true><<<kHidden, kInputs, 0, w.stream>>>(first, w.input, w.hidden);
  Layer<kHidden, false><<<kClasses, kHidden, 0, w.stream>>>(second, w.hidden, w.scores);
  Softmax<<<1, kClasses, 0, w.stream>>>(w.scores, w.shares);
  CHECK(hipGetLastError());
  CHECK(hipMemcpyAsync(w.shares_here, w.shares, kClasses * sizeof(float), hipMemcpyDeviceToHost,
                       w.stream));
  CHECK(hipStreamSynchronize(w.stream));
}

int main(int argc, char** argv) {
  const int requests = argc > 1 ? std::atoi(argv[1]) : 40;
  const int period_ms = argc > 2 ? std::atoi(argv[2]) : 10;
  if (argc > 3 || requests <= 0 || period_ms < 0) {
    std::fprintf(stderr, "usage: serving_loop [REQUESTS [PERIOD_MS]]\n");
    return 2;
  }
  DeviceOrExit();
  std::vector<float> weights1(kHidden * kInputs), weights2(kClasses * kHidden);
  for (std::size_t n = 0; n < weights1.size(); ++n) weights1[n] = Weight(static_cast<int>(n));
  for (std::size_t n = 0; n < weights2.size(); ++n) weights2[n] = Weight(static_cast<int>(n) + 5);
  const float *first = OnDevice(weights1), *second = OnDevice(weights2);
  std::vector<Worker> workers;
  for (int n = 0; n < kWorkers; ++n) workers.push_back(MakeWorker());

  int wrong = 0;
  std::vector<double> latencies;
  const auto start = std::chrono::steady_clock::now();
  for (int request = 0; request < requests; ++request) {
    const auto due = start + std::chrono::milliseconds(request * period_ms);
    std::this_thread::sleep_until(due);
    Worker& w = workers[request % kWorkers];
    Serve(w, request, first, second);
    latencies.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - due).count());
    const std::vector<double> expected = Expected(request);
    for (int c = 0; c < kClasses; ++c) wrong += std::fabs(w.shares_here[c] - expected[c]) > 1e-5;
  }
  PrintLatencies("requests", latencies);
  std::printf("serving_loop: %d requests, %d values wrong\n", requests, wrong);
  return wrong != 0;
}

// hip_ordering.hip: does HIP's order hold, whatever is done to the queues below it?
//
//   hip-ordering KERNEL_US
//
// Every rule is tried in turn, at least three times and until standard input ends, with kernels that take
// about KERNEL_US of the device and pass a number on: who comes early finds the one of the round before.
//
// Output     "ready"; "enough" after three rounds; then a line per rule: how often it was tried, and how often it was broken;
//            how many blocks were launched, and how many more or fewer than that ran.
// Errors     exit 1 where a rule was broken; a HIP call that fails ends the program with its name.
#include <poll.h>
#include <unistd.h>

#include "../../tools/hip-examples/example.h"

// Every block counts itself, so that one that ran twice or never shows. (HIP 5.2 does not find symbols of
// a namespace without a name.)
__device__ unsigned long long blocks_run;

namespace {

constexpr int kBlocks = 80, kBlock = 64, kRoundsMin = 3;
int units = 0;  // of Linger, for a long kernel

unsigned long long blocks_launched = 0;

// Each block has a number of its own to pass on.
__global__ void PassOn(const int* from, int* to, int add, int linger) {
  Linger(linger);
  if (threadIdx.x != 0) return;
  to[blockIdx.x] = from[blockIdx.x] + add;
  atomicAdd(&blocks_run, 1ull);
}
__global__ void Put(int* to, int value, int linger) {
  Linger(linger);
  if (threadIdx.x != 0) return;
  to[blockIdx.x] = value;
  atomicAdd(&blocks_run, 1ull);
}
template <typename... Kernel, typename... Arguments>
void Launch(void (*kernel)(Kernel...), hipStream_t stream, Arguments... arguments) {
  kernel<<<kBlocks, kBlock, 0, stream>>>(arguments...);
  CHECK(hipGetLastError());
  blocks_launched += kBlocks;
}

int* OnDevice() {
  int* numbers;
  CHECK(hipMalloc(&numbers, kBlocks * sizeof(int)));
  CHECK(hipMemset(numbers, 0, kBlocks * sizeof(int)));
  return numbers;
}
int* Pinned() {
  int* numbers;
  CHECK(hipHostMalloc(&numbers, kBlocks * sizeof(int)));
  std::fill(numbers, numbers + kBlocks, 0);
  return numbers;
}
int Wrong(const int* numbers, int expected) {
  int wrong = 0;
  for (int i = 0; i < kBlocks; ++i) wrong += numbers[i] != expected;
  return wrong != 0;
}
int WrongOnDevice(const int* numbers, int expected) {
  static int* const here = Pinned();
  std::fill(here, here + kBlocks, -1);
  CHECK(hipMemcpy(here, numbers, kBlocks * sizeof(int), hipMemcpyDeviceToHost));
  return Wrong(here, expected);
}
hipStream_t Stream() {
  hipStream_t stream;
  CHECK(hipStreamCreate(&stream));
  return stream;
}
hipEvent_t Event() {
  hipEvent_t event;
  CHECK(hipEventCreateWithFlags(&event, hipEventDisableTiming));
  return event;
}

// All streams are done when hipDeviceSynchronize returns: what kernels wrote to the host is there.
int DeviceSynchronize(int round) {
  static hipStream_t streams[] = {Stream(), Stream(), Stream()};
  static int* const results[] = {Pinned(), Pinned(), Pinned()};
  for (int s = 0; s < 3; ++s) Launch(Put, streams[s], results[s], round, units);
  CHECK(hipDeviceSynchronize());
  int wrong = 0;
  for (const int* result : results) wrong |= Wrong(result, round);
  return wrong;
}

// hipMemcpy waits for the kernels before it, on the default stream and on blocking ones.
int LegacyMemcpy(int round) {
  static hipStream_t stream = Stream();
  static int *const mine = OnDevice(), *const theirs = OnDevice();
  Launch(Put, stream, theirs, round, units);
  int wrong = WrongOnDevice(theirs, round);
  Launch(Put, nullptr, mine, round, units);
  wrong |= WrongOnDevice(mine, round);
  return wrong;
}

// The default stream waits for blocking streams, and they for it.
int DefaultStream(int round) {
  static hipStream_t before = Stream(), after = Stream();
  static int *const first = OnDevice(), *const second = OnDevice(), *const third = OnDevice();
  Launch(Put, before, first, round, units);
  Launch(PassOn, nullptr, first, second, 0, units);
  Launch(PassOn, after, second, third, 0, 1);
  CHECK(hipStreamSynchronize(after));
  return WrongOnDevice(second, round) | WrongOnDevice(third, round);
}

// A callback runs after the kernels before it and before those behind it.
struct Called {
  int* before;
  int* here;
  int round, wrong, times;
};
void Callback(hipStream_t, hipError_t status, void* data) {
  auto* called = static_cast<Called*>(data);
  called->wrong = status != hipSuccess || Wrong(called->before, called->round);
  usleep(500);
  std::fill(called->here, called->here + kBlocks, called->round);
  ++called->times;
}
int StreamCallback(int round) {
  static hipStream_t stream = Stream();
  static int* const result = OnDevice();
  static Called called = {Pinned(), Pinned(), 0, 0, 0};
  called.round = round;
  Launch(Put, stream, called.before, round, units);
  CHECK(hipStreamAddCallback(stream, Callback, &called, 0));
  Launch(PassOn, stream, called.here, result, 0, 1);
  CHECK(hipStreamSynchronize(stream));
  return called.wrong | WrongOnDevice(result, round) | (called.times != round);
}

// There and back between two streams that do not wait for the default one.
int WaitEvent(int round) {
  static hipStream_t streams[2];
  static int *const first = OnDevice(), *const second = OnDevice(), *const third = OnDevice();
  static hipEvent_t there = Event(), back = Event();
  if (streams[0] == nullptr) {
    for (auto& s : streams) CHECK(hipStreamCreateWithFlags(&s, hipStreamNonBlocking));
  }
  Launch(Put, streams[0], first, round, units);
  CHECK(hipEventRecord(there, streams[0]));
  CHECK(hipStreamWaitEvent(streams[1], there, 0));
  Launch(PassOn, streams[1], first, second, 1, units);
  CHECK(hipEventRecord(back, streams[1]));
  CHECK(hipStreamWaitEvent(streams[0], back, 0));
  Launch(PassOn, streams[0], second, third, 1, 1);
  CHECK(hipStreamSynchronize(streams[0]));
  return WrongOnDevice(second, round + 1) | WrongOnDevice(third, round + 2);
}

}  // namespace

bool InputEnded() {
  pollfd in = {STDIN_FILENO, POLLIN, 0};
  char byte;
  return poll(&in, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) == 0;
}

int main(int argc, char** argv) {
  const int kernel_us = argc == 2 ? std::atoi(argv[1]) : 0;
  if (kernel_us <= 0) {
    std::fprintf(stderr, "usage: hip-ordering KERNEL_US\n");
    return 2;
  }
  units = std::max(1, kernel_us / 4);
  struct {
    const char* name;
    int (*run)(int round);
    int broken;
  } rules[] = {{"device-synchronize", DeviceSynchronize, 0},
               {"legacy-memcpy", LegacyMemcpy, 0},
               {"default-stream", DefaultStream, 0},
               {"stream-callback", StreamCallback, 0},
               {"wait-event", WaitEvent, 0}};
  DeviceOrExit();
  CHECK(hipDeviceSynchronize());
  std::printf("ready\n");
  std::fflush(stdout);
  int rounds = 0, broken = 0;
  for (bool ended = false; rounds < kRoundsMin || !ended; ended = ended || InputEnded()) {
    ++rounds;
    for (auto& rule : rules) rule.broken += rule.run(rounds);
    if (rounds == kRoundsMin) {
      std::printf("enough\n");
      std::fflush(stdout);
    }
  }
  CHECK(hipDeviceSynchronize());
  for (const auto& rule : rules) {
    std::printf("%s: %d rounds, %d broken\n", rule.name, rounds, rule.broken);
    broken += rule.broken;
  }
  unsigned long long run = 0;
  CHECK(hipMemcpyFromSymbol(&run, HIP_SYMBOL(blocks_run), sizeof(run)));
  std::printf("blocks: %llu launched, %lld broken\n", blocks_launched,
              static_cast<long long>(run - blocks_launched));
  return broken != 0 || run != blocks_launched;
}

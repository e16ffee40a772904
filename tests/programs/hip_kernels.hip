// hip_kernels.hip: kernels that use what compilers use, against the same arithmetic on the host.
//
//   hip-kernels [places | fault | uncovered | elsewhere | endless]
//
// Output     a line per kernel: how many values were looked at, how many were wrong. "places": on how
//            many compute units blocks ran under two CU masks. With another word, a kernel that the
//            device must refuse: an address that is not mapped, an instruction that the virtual GPU
//            does not interpret, there or in its second block only, a wait for the host that never ends.
// Errors     exit 1 where something was wrong.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <set>

#include "../../tools/hip-examples/example.h"

namespace {

constexpr int kItems = 1000;  // not a multiple of anything
constexpr int kBlock = 128, kGrid = (kItems + kBlock - 1) / kBlock;

template <typename T>
T* Copied(const std::vector<T>& values) {
  T* device;
  CHECK(hipMalloc(&device, values.size() * sizeof(T)));
  CHECK(hipMemcpy(device, values.data(), values.size() * sizeof(T), hipMemcpyHostToDevice));
  return device;
}
template <typename T>
std::vector<T> Back(const T* device, std::size_t count) {
  std::vector<T> values(count);
  CHECK(hipMemcpy(values.data(), device, count * sizeof(T), hipMemcpyDeviceToHost));
  return values;
}

int all_wrong = 0;
void Say(const char* what, int looked_at, int wrong) {
  std::printf("%s: %d values, %d wrong\n", what, looked_at, wrong);
  all_wrong += wrong;
}

// The same function on both sides; `tolerance` is relative, 0: equal.
template <typename In, typename Out, Out (*F)(In, In, int)>
__global__ void Map(const In* a, const In* b, Out* out, int items) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < items) out[i] = F(a[i], b[i], i);
}
template <typename In, typename Out, Out (*F)(In, In, int)>
void Compare(const char* what, const std::vector<In>& a, const std::vector<In>& b,
             double tolerance) {
  Out* out;
  CHECK(hipMalloc(&out, kItems * sizeof(Out)));
  Map<In, Out, F><<<kGrid, kBlock>>>(Copied(a), Copied(b), out, kItems);
  CHECK(hipGetLastError());
  const std::vector<Out> device = Back(out, kItems);
  int wrong = 0;
  for (int i = 0; i < kItems; ++i) {
    const Out expected = F(a[i], b[i], i);
    if (std::memcmp(&expected, &device[i], sizeof(Out)) == 0) continue;
    const double difference = std::fabs(double(expected) - double(device[i]));
    const bool near = difference <= tolerance * std::fabs(double(expected));
    if (!near && wrong < 3) {
      std::fprintf(stderr, "%s[%d]: %.17g, not %.17g\n", what, i, double(device[i]),
                   double(expected));
    }
    wrong += !near;
  }
  Say(what, kItems, wrong);
}

__host__ __device__ std::uint32_t Mixed32(std::uint32_t a, std::uint32_t b, int i) {
  std::uint32_t r = a / (b | 1) + a % (b | 3) * 7u;
  r ^= a << (b & 31) | a >> (i & 15);
  r += static_cast<std::uint32_t>(static_cast<std::int32_t>(a) >> (b & 7));
  r = r * 2654435761u + (static_cast<std::uint64_t>(a) * b >> 32);
  r ^= static_cast<std::uint32_t>(static_cast<std::int32_t>(a) /
                                  (static_cast<std::int32_t>(b & 255) - 300));
  return a > b ? r : ~r;
}
__host__ __device__ std::uint64_t Mixed64(std::uint64_t a, std::uint64_t b, int i) {
  std::uint64_t r = a * b + (a >> (i & 63)) - (b << (i & 31));
  r ^= a / (b | 1);
  r += static_cast<std::uint64_t>(static_cast<std::int64_t>(a) >> (b & 63));
  return r < a ? r + b % 1000003 : r ^ b;
}
__host__ __device__ std::uint32_t Bits(std::uint32_t a, std::uint32_t b, int) {
#ifdef __HIP_DEVICE_COMPILE__
  return __popc(a) + 64 * __clz(b) + 4096 * __ffs(a) + (__brev(b) >> 13) +
         (__byte_perm(a, b, 0x5140) & 0xff);
#else
  std::uint32_t reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (b >> bit & 1u) << (31 - bit);
  return __builtin_popcount(a) + 64 * (b == 0 ? 32 : __builtin_clz(b)) +
         4096 * __builtin_ffs(static_cast<int>(a)) + (reversed >> 13) + (a & 0xff);
#endif
}
__host__ __device__ std::int32_t Loops(std::uint32_t a, std::uint32_t b, int i) {
  int steps = 0;
  for (std::uint64_t n = a % 1000 + 1; n != 1 && steps < 200; ++steps) {
    n = n % 2 == 0 ? n / 2 : 3 * n + 1;
  }
  switch (b % 5) {
    case 0:
      return steps;
    case 1:
      return -steps;
    case 2:
      return steps * i;
    case 3:
      return steps - i;
    default:
      return static_cast<std::int32_t>(b);
  }
}
__host__ __device__ float Floats(float a, float b, int i) {
  float r = a / (b + 2.5f) + fmaf(a, b, 1.25f) * static_cast<float>(i % 17);
  r += std::sqrt(std::fabs(a)) - std::floor(b) + std::fmin(a, b);
  return a < b ? r : -r;
}
__host__ __device__ float Functions(float a, float b, int) {
  return std::exp(a * 0.01f) + std::log(std::fabs(b) + 1.0f) + std::sin(a * 0.01f) * 0.5f +
         std::pow(std::fabs(b) + 0.5f, 0.75f);
}
__host__ __device__ double Doubles(double a, double b, int i) {
  return a / (b * b + 1.0) + std::fma(a, b, -3.0) + std::sqrt(std::fabs(a)) * i;
}
__host__ __device__ std::int32_t ToInteger(float a, float b, int i) {
  return static_cast<std::int32_t>(a * 1000.0f) + static_cast<std::int32_t>(std::rint(b)) * i;
}
__host__ __device__ std::uint8_t Bytes(std::uint8_t a, std::uint8_t b, int i) {
  const auto signed_b = static_cast<std::int8_t>(b);
  return static_cast<std::uint8_t>(a * 3 + (signed_b >> 1) + i);
}
__host__ __device__ std::int16_t Shorts(std::int16_t a, std::int16_t b, int i) {
  return static_cast<std::int16_t>(a * b + i - (a >> 2));
}

// An array too large for registers and LDS, indexed by data: private memory.
__host__ __device__ std::uint32_t Sieved(std::uint32_t a, std::uint32_t b, int i) {
  constexpr std::uint32_t kSize = 200;
  std::uint32_t values[kSize];
  for (std::uint32_t n = 0; n < kSize; ++n) values[n] = a + n * b;
  for (std::uint32_t n = 0; n < 300; ++n) {
    const std::uint32_t at = (a ^ n * 40503u) % kSize;
    values[at] = values[(at + b % 7) % kSize] * 3u + n;
  }
  return values[static_cast<std::uint32_t>(i) % kSize] ^ values[b % kSize];
}

template <typename T>
std::vector<T> Numbers(std::uint64_t seed) {
  std::vector<T> values(kItems);
  for (T& value : values) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    if constexpr (std::is_floating_point_v<T>) {
      value = static_cast<T>(static_cast<std::int64_t>(seed >> 40) - (1 << 23)) / T{65536};
    } else {
      value = static_cast<T>(seed >> 11);
    }
  }
  return values;
}
template <typename In, typename Out, Out (*F)(In, In, int)>
void Try(const char* what, double tolerance = 0) {
  Compare<In, Out, F>(what, Numbers<In>(1), Numbers<In>(2), tolerance);
}

// LDS, barriers, lanes, atomics: each block leaves its sum, everybody the total.
__global__ void Reduce(const int* values, int* sums, unsigned* total, int* largest, float* floats,
                       int items) {
  __shared__ int partial[kBlock];
  __shared__ int in_warps[kBlock / 64];
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int lane = static_cast<int>(threadIdx.x % 64);
  const int value = i < items ? values[i] : 0;
  partial[threadIdx.x] = value;
  int warp = value;
  for (int step = 32; step > 0; step /= 2) warp += __shfl_down(warp, step);
  if (lane == 0) in_warps[threadIdx.x / 64] = warp;
  for (unsigned half = kBlock / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  __syncthreads();
  if (threadIdx.x == 0)
    sums[blockIdx.x] = partial[0] == in_warps[0] + in_warps[1] ? partial[0] : -1;
  if (value % 3 == 0) atomicAdd(total, static_cast<unsigned>(value));
  atomicMax(largest, value);
  atomicAdd(floats, static_cast<float>(value % 8));
}
void TryReduce() {
  std::vector<int> values(kItems);
  for (int i = 0; i < kItems; ++i) values[i] = i * 7919 % 1013;
  int* sums = Copied(std::vector<int>(kGrid));
  unsigned* total = Copied(std::vector<unsigned>(1));
  int* largest = Copied(std::vector<int>(1));
  float* floats = Copied(std::vector<float>(1));
  Reduce<<<kGrid, kBlock>>>(Copied(values), sums, total, largest, floats, kItems);
  const std::vector<int> got = Back(sums, kGrid);
  int wrong = 0, most = 0;
  unsigned expected = 0;
  float expected_floats = 0;
  for (int block = 0; block < kGrid; ++block) {
    int sum = 0;
    for (int i = block * kBlock; i < std::min((block + 1) * kBlock, kItems); ++i) {
      sum += values[i];
      most = std::max(most, values[i]);
      if (values[i] % 3 == 0) expected += static_cast<unsigned>(values[i]);
      expected_floats += static_cast<float>(values[i] % 8);
    }
    wrong += got[block] != sum;
  }
  wrong += Back(total, 1)[0] != expected;
  wrong += Back(largest, 1)[0] != most;
  wrong += Back(floats, 1)[0] != expected_floats;
  Say("reduce", kGrid + 3, wrong);
}

// Three dimensions, and compare-and-swap until it holds.
__global__ void Volume(int* counts, unsigned long long* product) {
  const int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int y = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
  const int z = static_cast<int>(blockIdx.z * blockDim.z + threadIdx.z);
  counts[(z * 12 + y) * 16 + x] += 1 + x + 100 * y + 10000 * z;
  for (unsigned long long old = *product, seen; x == y && y == z; old = seen) {
    seen = atomicCAS(product, old, old * 3 + 1);
    if (seen == old) break;
  }
}
void TryVolume() {
  int* counts = Copied(std::vector<int>(6 * 12 * 16));
  auto* product = Copied(std::vector<unsigned long long>(1));
  Volume<<<dim3(2, 3, 3), dim3(8, 4, 2)>>>(counts, product);
  const std::vector<int> got = Back(counts, 6 * 12 * 16);
  int wrong = 0;
  for (int i = 0; i < 6 * 12 * 16; ++i) {
    wrong += got[i] != 1 + i % 16 + 100 * (i / 16 % 12) + 10000 * (i / 192);
  }
  unsigned long long expected = 0;
  for (int i = 0; i < 6; ++i) expected = expected * 3 + 1;
  wrong += Back(product, 1)[0] != expected;
  Say("volume", 6 * 12 * 16 + 1, wrong);
}

// What HIP does by kernels of its own, or by SDMA: fills of every width, copies of every kind.
void TryCopies() {
  constexpr std::size_t kBytes = 70'001;
  std::uint8_t *a, *b;
  CHECK(hipMalloc(&a, kBytes));
  CHECK(hipMalloc(&b, kBytes));
  std::vector<std::uint8_t> expected(kBytes), pattern(kBytes);
  for (std::size_t i = 0; i < kBytes; ++i) pattern[i] = static_cast<std::uint8_t>(i * 31 >> 3);
  CHECK(hipMemcpy(a, pattern.data(), kBytes, hipMemcpyHostToDevice));
  CHECK(hipMemset(b, 0x5a, kBytes));
  CHECK(hipMemsetD16(b + 1000, 0x1234, 501));
  CHECK(hipMemsetD32(b + 4000, 0x11223344, 99));
  CHECK(hipMemcpy(b + 10'000, a + 3, 30'001, hipMemcpyDeviceToDevice));
  CHECK(hipMemcpyAsync(b + 50'000, a, 16'384, hipMemcpyDeviceToDevice, nullptr));
  CHECK(hipMemcpy2D(b + 45'000, 100, a, 64, 33, 20, hipMemcpyDeviceToDevice));
  std::fill(expected.begin(), expected.end(), 0x5a);
  for (int i = 0; i < 501; ++i) {
    expected[1000 + 2 * i] = 0x34;
    expected[1001 + 2 * i] = 0x12;
  }
  for (int i = 0; i < 99 * 4; ++i) expected[4000 + i] = "\x44\x33\x22\x11"[i % 4];
  std::copy_n(pattern.begin() + 3, 30'001, expected.begin() + 10'000);
  std::copy_n(pattern.begin(), 16'384, expected.begin() + 50'000);
  for (int row = 0; row < 20; ++row) {
    std::copy_n(pattern.begin() + row * 64, 33, expected.begin() + 45'000 + row * 100);
  }
  const std::vector<std::uint8_t> got = Back(b, kBytes);
  int wrong = 0;
  for (std::size_t i = 0; i < kBytes; ++i) wrong += got[i] != expected[i];
  Say("copies", kBytes, wrong);
}

__global__ void Fault(int* nowhere) { nowhere[threadIdx.x] = 1; }
__global__ void Uncovered(float* out) {
  float value = static_cast<float>(threadIdx.x);
  asm volatile("v_exp_legacy_f32 %0, %0" : "+v"(value));
  out[threadIdx.x] = value;
}
__global__ void Endless(volatile int* flag) {
  while (*flag == 0) {
  }
}

// Where a block runs: XCC_ID (20) over SE and CU of HW_ID (4). A block of 1024 is half a CU's waves.
constexpr int kBlocks = 2000;
__device__ std::uint32_t Place() {
  const std::uint32_t hw_id = __builtin_amdgcn_s_getreg(31 << 11 | 4);
  return static_cast<std::uint32_t>(__builtin_amdgcn_s_getreg(3 << 11 | 20)) << 16 | (hw_id & 0xef00);
}
__global__ void Where(std::uint32_t* places) {
  const std::uint32_t place = Place();
  if (threadIdx.x == 0) places[blockIdx.x] = place;
}
// More instructions behind it than a trial of the first block carries out.
__global__ void WhereAndLong(std::uint32_t* places, std::uint32_t rounds) {
  std::uint32_t place = Place(), sum = 0;
  for (std::uint32_t i = 0; i < rounds; ++i) sum = sum * 5 + place + i;
  places[blockIdx.x] = sum == 1 ? sum : place;
}
__global__ void WhereElsewhere(std::uint32_t* places) {
  if (blockIdx.x == 1) places[blockIdx.x] = Place();
}
std::set<std::uint32_t> Places(const std::vector<std::uint32_t>& mask) {
  hipStream_t stream;
  CHECK(hipExtStreamCreateWithCUMask(&stream, static_cast<std::uint32_t>(mask.size()), mask.data()));
  std::uint32_t* places = Copied(std::vector<std::uint32_t>(kBlocks, ~0u));
  Where<<<kBlocks, 1024, 0, stream>>>(places);
  CHECK(hipGetLastError());
  CHECK(hipStreamSynchronize(stream));
  const std::vector<std::uint32_t> back = Back(places, kBlocks);
  CHECK(hipStreamDestroy(stream));
  return {back.begin(), back.end()};
}
void SayPlaces(const char* what, const std::set<std::uint32_t>& places) {
  std::set<std::uint32_t> xccs, ses, cus;
  for (const std::uint32_t place : places) {
    xccs.insert(place >> 16);
    ses.insert(place >> 13 & 7);
    cus.insert(place >> 8 & 15);
  }
  std::printf("%s: %zu compute units in %zu XCCs, %zu SEs, %zu CUs each\n", what, places.size(),
              xccs.size(), ses.size(), cus.size());
}
// Two masks that share no bit: 32 and 48 of an MI308X's 80 compute units.
int ShowPlaces() {
  const auto few = Places({0xffffffff, 0, 0}), others = Places({0, 0xffffffff, 0xffff});
  std::set<std::uint32_t> all = few;
  all.insert(others.begin(), others.end());
  SayPlaces("few", few);
  SayPlaces("others", others);
  SayPlaces("all", all);
  std::uint32_t* place = Copied(std::vector<std::uint32_t>(1, ~0u));
  WhereAndLong<<<1, 64>>>(place, 1'000'000);
  CHECK(hipGetLastError());
  SayPlaces("long", {Back(place, 1)[0]});
  return all.count(Back(place, 1)[0]) != 1;
}

int Refused(const char* what) {
  int* here;
  CHECK(hipHostMalloc(&here, 256 * sizeof(int)));
  *here = 0;
  if (std::strcmp(what, "fault") == 0) {
    Fault<<<1, 64>>>(reinterpret_cast<int*>(0x123456789000));
  } else if (std::strcmp(what, "uncovered") == 0) {
    Uncovered<<<1, 64>>>(reinterpret_cast<float*>(here));
  } else if (std::strcmp(what, "elsewhere") == 0) {
    WhereElsewhere<<<2, 64>>>(reinterpret_cast<std::uint32_t*>(here));
  } else if (std::strcmp(what, "endless") == 0) {
    Endless<<<1, 64>>>(here);
  } else {
    std::fprintf(stderr, "usage: hip-kernels [places | fault | uncovered | elsewhere | endless]\n");
    return 2;
  }
  CHECK(hipDeviceSynchronize());
  std::printf("not refused\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  DeviceOrExit();
  if (argc > 1 && std::strcmp(argv[1], "places") == 0) return ShowPlaces();
  if (argc > 1) return Refused(argv[1]);
  Try<std::uint32_t, std::uint32_t, Mixed32>("32 bits");
  Try<std::uint64_t, std::uint64_t, Mixed64>("64 bits");
  Try<std::uint32_t, std::uint32_t, Bits>("bits");
  Try<std::uint32_t, std::int32_t, Loops>("loops");
  Try<float, float, Floats>("floats", 1e-6);  // either side may fuse other operations
  Try<float, float, Functions>("functions", 2e-5);
  Try<double, double, Doubles>("doubles", 1e-13);
  Try<float, std::int32_t, ToInteger>("to integer");
  Try<std::uint8_t, std::uint8_t, Bytes>("bytes");
  Try<std::int16_t, std::int16_t, Shorts>("shorts");
  Try<std::uint32_t, std::uint32_t, Sieved>("private arrays");
  TryReduce();
  TryVolume();
  TryCopies();
  std::printf("all: %d wrong\n", all_wrong);
  return all_wrong != 0;
}

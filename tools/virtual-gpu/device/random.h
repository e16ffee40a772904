// random.h: the device's own random numbers: small, seeded, equal on every machine.
//
// Why        std:: distributions differ between libraries, and results must not; no libm is used.
// Units      Uniform() is in [-1, 1); Normal() has mean 0 and variance 1, as a sum of four
// uniforms.
#pragma once

#include <cmath>
#include <cstdint>

namespace virtual_gpu {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u) {}

  std::uint64_t Bits() {  // splitmix64
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double Uniform() { return static_cast<double>(Bits() >> 11) * 0x1p-52 - 1.0; }
  double Normal() {
    const std::uint64_t bits = Bits();
    const std::uint64_t sum =
        (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    return (static_cast<double>(sum) * 0x1p-16 - 2.0) * 1.7320508075688772;
  }
  // The largest of n uniforms; of at most 8, which is as good for what it is used for.
  double LargestOf(std::uint32_t n) {
    std::uint64_t largest = 0;
    for (std::uint32_t i = 0; i < n && i < 8; i += 4) {
      std::uint64_t bits = Bits();
      for (std::uint32_t k = i; k < n && k < i + 4; ++k, bits >>= 16) {
        largest = (bits & 0xffff) > largest ? (bits & 0xffff) : largest;
      }
    }
    return static_cast<double>(largest) * 0x1p-15 - 1.0;
  }

 private:
  std::uint64_t state_;
};

}  // namespace virtual_gpu

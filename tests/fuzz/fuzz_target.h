// fuzz_target.h: what every fuzz target shares: its entry, and a reader that takes input apart.
//
// Why        The same targets run under libFuzzer (tests/run --fuzz) and, with replay_main.cc, as
//            ordinary tests over the inputs in corpus/.
// Errors     a target that finds something wrong ends the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {

// Never reads past the end: what is missing is zero.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  bool empty() const { return left_ == 0; }
  template <typename T>
  T Take() {
    T value{};
    const std::size_t bytes = left_ < sizeof(T) ? left_ : sizeof(T);
    if (bytes != 0) std::memcpy(&value, data_, bytes);
    data_ += bytes;
    left_ -= bytes;
    return value;
  }
  std::span<const std::byte> TakeBytes(std::size_t most) {
    const std::size_t bytes = left_ < most ? left_ : most;
    const std::span<const std::byte> taken(reinterpret_cast<const std::byte*>(data_), bytes);
    data_ += bytes;
    left_ -= bytes;
    return taken;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

inline std::string Text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A file with this content, under a name that can be opened.
class MemoryFile {
 public:
  MemoryFile(const std::uint8_t* data, std::size_t size);
  ~MemoryFile();
  const std::string& path() const { return path_; }

 private:
  int fd_;
  std::string path_;
};

}  // namespace fuzz

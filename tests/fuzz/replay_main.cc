// replay_main.cc: feeds a fuzz target the files of a folder, and each of them cut short and with
// single bytes changed: a test that needs no fuzzer.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz_target.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

void Feed(const Bytes& bytes) {
  // A copy of its own size: a read past the end shows under a sanitizer.
  const Bytes exact(bytes);
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void FeedVariants(const Bytes& bytes) {
  Feed(bytes);
  constexpr std::size_t kVariants = 64;
  for (std::size_t i = 0; i < kVariants && !bytes.empty(); ++i) {
    const std::size_t at = i * bytes.size() / kVariants;
    Feed(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(at)));
    Bytes changed = bytes;
    changed[at] ^= static_cast<std::uint8_t>(i % 2 == 0 ? 0xff : 1u << i % 8);
    Feed(changed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      std::ifstream file(entry.path(), std::ios::binary);
      FeedVariants(Bytes(std::istreambuf_iterator<char>(file), {}));
      ++files;
    }
  }
  std::printf("%d inputs and their variants\n", files);
  return files > 0 ? 0 : 2;
}

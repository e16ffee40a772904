// replay_main.cc: feeds a fuzz target the files of a folder, each of them cut short and with single
// bytes changed, and then random crossings of them: a test that needs no fuzzer.
//
// Usage      NAME-fuzz CROSSINGS FOLDER
// How much   a count of crossings, so that time decides nothing; the seed is printed, and
//            XSCHED_HSA_TEST_SEED=N repeats one. What coverage leads to, tests/run --fuzz finds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
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

constexpr std::size_t kMostBytes = 4096;

// What parsers trip over: ends of ranges, and what looks like structure.
constexpr std::uint8_t kTelling[] = {0, 1, 0x7f, 0x80, 0xff, '"', '\\', '{', '[', '=', '\n', '-'};

class Crossing {
 public:
  Crossing(const std::vector<Bytes>& inputs, unsigned long seed) : inputs_(inputs), random_(seed) {}

  Bytes Next() {
    Bytes bytes = inputs_[Below(inputs_.size())];
    for (std::size_t steps = 1 + Below(6); steps > 0; --steps) Change(&bytes);
    if (bytes.size() > kMostBytes) bytes.resize(kMostBytes);
    return bytes;
  }

 private:
  std::size_t Below(std::size_t limit) { return random_() % limit; }
  std::ptrdiff_t Place(const Bytes& bytes) {
    return static_cast<std::ptrdiff_t>(Below(bytes.size() + 1));
  }

  void Change(Bytes* bytes) {
    const std::ptrdiff_t from = Place(*bytes), to = Place(*bytes);
    const auto first = bytes->begin() + std::min(from, to),
               last = bytes->begin() + std::max(from, to);
    const Bytes& other = inputs_[Below(inputs_.size())];
    switch (Below(6)) {
      case 0:  // a piece of another input, in place of a piece of this one
        bytes->insert(bytes->erase(first, last), other.begin(), other.begin() + Place(other));
        break;
      case 1:
        bytes->erase(first, last);
        break;
      case 2: {  // twice
        const Bytes piece(first, last);
        bytes->insert(first, piece.begin(), piece.end());
        break;
      }
      case 3:
        bytes->insert(first, static_cast<std::uint8_t>(random_()));
        break;
      case 4:
        if (first != bytes->end()) *first = kTelling[Below(std::size(kTelling))];
        break;
      default:
        if (first != bytes->end()) *first ^= static_cast<std::uint8_t>(1u << Below(8));
    }
  }

  const std::vector<Bytes>& inputs_;
  std::mt19937_64 random_;
};

unsigned long Seed() {
  const char* text = std::getenv("XSCHED_HSA_TEST_SEED");
  if (text != nullptr) return std::strtoul(text, nullptr, 10);
  return static_cast<unsigned long>(std::chrono::system_clock::now().time_since_epoch().count());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const unsigned long crossings = std::strtoul(argv[1], nullptr, 10);
  std::vector<Bytes> inputs;
  for (const auto& entry : std::filesystem::directory_iterator(argv[2])) {
    std::ifstream file(entry.path(), std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  if (inputs.empty() || crossings == 0) return 2;
  for (const Bytes& input : inputs) FeedVariants(input);
  const unsigned long seed = Seed();
  std::printf("%zu inputs and their variants, %lu crossings of them, XSCHED_HSA_TEST_SEED=%lu\n",
              inputs.size(), crossings, seed);
  std::fflush(stdout);  // before a crossing ends the process
  Crossing crossing(inputs, seed);
  for (unsigned long i = 0; i < crossings; ++i) Feed(crossing.Next());
  return 0;
}

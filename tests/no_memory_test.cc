// no_memory_test: a program that gets no memory ends with a line and an exit code, not by a signal.
//
// Each gets an argument so long that its copy is refused (programs/no_memory.cc), while it reads its
// command line: what is thrown there is thrown anywhere else in main.
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>

#include "support/process.h"

namespace xsched_hsa_tests {
namespace {

struct Program {
  const char* name;
  const char* says;  // what its lines begin with
  int exit_code;     // where 1 is a verdict of what was run, it is 2
};

// ctest's names of the tests: an address in them would be another one in each build.
void PrintTo(const Program& program, std::ostream* out) { *out << program.name; }

class NoMemoryTest : public testing::TestWithParam<Program> {};

TEST_P(NoMemoryTest, EndsWithALine) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer has an operator new of its own";
#endif
  const Program program = GetParam();
  const std::string argument(100'000, 'x');
  // So long an argument is no reason to end by itself: it is refused as others are.
  const Result refused = xsched_hsa_tests::Run({Bin(program.name), argument});
  EXPECT_GT(refused.exit_code, 0);
  EXPECT_LT(refused.exit_code, 128) << refused.err;

  const Result ended = xsched_hsa_tests::Run({Bin(program.name), argument},
                                             {{"LD_PRELOAD", BuildFile("lib/libno-memory.so")}});
  EXPECT_EQ(ended.exit_code, program.exit_code) << ended.err.substr(0, 500);
  EXPECT_EQ(ended.out, "");
  EXPECT_NE(ended.err.find("bad_alloc"), std::string::npos) << ended.err.substr(0, 500);
  EXPECT_EQ(ended.err.rfind(std::string(program.says) + ": ", 0), 0u) << ended.err.substr(0, 500);
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
}

INSTANTIATE_TEST_SUITE_P(Programs, NoMemoryTest,
                         testing::Values(Program{"xsched-hsad", "xsched-hsad", 1},
                                         Program{"xsched-hsa-ctl", "xsched-hsa-ctl", 1},
                                         Program{"virtual-gpu", "virtual-gpu", 1},
                                         Program{"virtual-gpud", "virtual-gpud", 1},
                                         Program{"virtual-gpu-replay", "virtual-gpu-replay", 2},
                                         Program{"dual-model", "dual-model", 1},
                                         Program{"dual-model-sim", "dual-model-sim", 2},
                                         Program{"device-measurements", "measure-device", 1}));

}  // namespace
}  // namespace xsched_hsa_tests

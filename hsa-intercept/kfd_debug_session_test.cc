// Only what needs no driver: preemption_test.cc has the rest, on the virtual one.
#include "kfd_debug_session.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace xsched_hsa {
namespace {

TEST(KfdDebugSessionTest, KnowsWhoTracesThisProcess) {
  char root[] = "/tmp/xsched-hsa-test-XXXXXX";
  ASSERT_NE(mkdtemp(root), nullptr);
  EXPECT_EQ(TracerPid(root), 0) << "no such file";
  const auto folder = std::filesystem::path(root) / "proc/self";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "status") << "Name:\tx\nPid:\t7\nTracerPid:\t4711\nUid:\t0\n";
  EXPECT_EQ(TracerPid(root), 4711);
  std::filesystem::remove_all(root);
}

// Without a debugger the same call asks the driver, which is none here.
TEST(KfdDebugSessionTest, DoesNotBeginWhereADebuggerIsThere) {
  for (const bool traced : {false, true}) {
    const pid_t child = fork();
    if (child == 0) {
      if (traced && ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(99);
      KfdDebugSession session;
      const int error = session.Begin(-1);
      _exit(session.on() ? 98 : error);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), traced ? EBUSY : EBADF);
  }
}

TEST(KfdDebugSessionTest, DoesNothingBeforeItHasBegun) {
  KfdDebugSession session;
  const std::uint32_t ids[] = {1, 2};
  EXPECT_FALSE(session.on());
  EXPECT_EQ(session.Suspend(ids, 2), EINVAL);
  EXPECT_EQ(session.Resume(ids, 2), EINVAL);
  EXPECT_NE(session.Begin(-1), 0);
  EXPECT_FALSE(session.on());
}

}  // namespace
}  // namespace xsched_hsa

#include "config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

namespace xsched_hsa {
namespace {

TEST(ConfigTest, ParsesNamesAndNumbers) {
  std::int32_t priority = -1;
  EXPECT_TRUE(ParsePriority("low", &priority));
  EXPECT_EQ(priority, 0);
  EXPECT_TRUE(ParsePriority("normal", &priority));
  EXPECT_EQ(priority, 7);
  EXPECT_TRUE(ParsePriority("high", &priority));
  EXPECT_EQ(priority, 15);
  EXPECT_TRUE(ParsePriority("11", &priority));
  EXPECT_EQ(priority, 11);
}

TEST(ConfigTest, RefusesWhatIsNoPriority) {
  std::int32_t priority = 3;
  for (const char* text : {"", "urgent", "-1", "16", "7x", "99999999999999999999"}) {
    EXPECT_FALSE(ParsePriority(text, &priority)) << text;
  }
  EXPECT_EQ(priority, 3);
}

TEST(ConfigTest, ParsesLogLevels) {
  LogLevel level;
  EXPECT_TRUE(ParseLogLevel("debug", &level));
  EXPECT_EQ(level, LogLevel::kDebug);
  EXPECT_FALSE(ParseLogLevel("loud", &level));
}

TEST(ConfigTest, ParsesGates) {
  GateRequest gate = GateRequest::kDefault;
  EXPECT_FALSE(ParseGate("", &gate));
  EXPECT_FALSE(ParseGate("Window", &gate));
  EXPECT_EQ(gate, GateRequest::kDefault);
  EXPECT_TRUE(ParseGate("intercept", &gate));
  EXPECT_EQ(gate, GateRequest::kIntercept);
  EXPECT_TRUE(ParseGate("none", &gate));
  EXPECT_EQ(gate, GateRequest::kNone);
}

TEST(ConfigTest, IsCompleteWhateverTheEnvironmentHolds) {
  setenv("XSCHED_HSA_PRIORITY", "urgent", 1);
  setenv("XSCHED_HSA_LOG", "off", 1);
  setenv("XSCHED_HSA_SOCKET", std::string(300, 'x').c_str(), 1);
  setenv("XSCHED_HSA_RUN_TOKEN", std::string(300, 'y').c_str(), 1);
  Config config;
  ReadConfig(&config);
  EXPECT_EQ(config.priority, 7);
  EXPECT_LT(std::strlen(config.socket_path), sizeof(config.socket_path));
  EXPECT_LT(std::strlen(config.run_token), sizeof(config.run_token));
  EXPECT_FALSE(config.disabled);
  setenv("XSCHED_HSA_DISABLE", "1", 1);
  ReadConfig(&config);
  EXPECT_TRUE(config.disabled);
  for (const char* name : {"XSCHED_HSA_PRIORITY", "XSCHED_HSA_LOG", "XSCHED_HSA_SOCKET",
                           "XSCHED_HSA_RUN_TOKEN", "XSCHED_HSA_DISABLE"}) {
    unsetenv(name);
  }
}

// Who sets it to "yes" means it, and is told that it is not understood.
TEST(ConfigTest, ASwitchThatIsNeitherOnNorOffIsTold) {
  for (const char* name : {"XSCHED_HSA_DISABLE", "XSCHED_HSA_DEBUG_TRAP"}) {
    for (const char* value : {"yes", "0", ""}) {
      setenv(name, value, 1);
      ::testing::internal::CaptureStderr();
      Config config;
      ReadConfig(&config);
      const std::string said = ::testing::internal::GetCapturedStderr();
      EXPECT_FALSE(config.disabled || config.debug_trap);
      EXPECT_EQ(
          said.find(std::string(name) + " is 'yes', which is neither 0 nor 1") != std::string::npos,
          std::string(value) == "yes")
          << said;
    }
    unsetenv(name);
  }
}

// The controller's side of the same rule: SocketPathTest in queue-ctl/tests.
TEST(ConfigTest, TheRuntimeDirCountsOnlyWhereItIsAbsolute) {
  namespace fs = std::filesystem;
  if (fs::exists("/run/xsched-hsa/control.sock"))
    GTEST_SKIP() << "a controller of the system runs here";
  unsetenv("XSCHED_HSA_SOCKET");
  char folder[] = "/tmp/xsched-hsa-config-test-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const fs::path before = fs::current_path();
  fs::current_path(folder);
  fs::create_directories("runtime/xsched-hsa");
  std::ofstream("runtime/xsched-hsa/control.sock") << "here";
  char path[256];
  for (const char* relative : {"", ".", "runtime", "./runtime"}) {
    setenv("XDG_RUNTIME_DIR", relative, 1);
    FindSocketPath(path, sizeof(path));
    EXPECT_EQ(path, "/tmp/xsched-hsa-" + std::to_string(getuid()) + "/control.sock") << relative;
  }
  setenv("XDG_RUNTIME_DIR", (std::string(folder) + "/runtime").c_str(), 1);
  FindSocketPath(path, sizeof(path));
  EXPECT_EQ(path, std::string(folder) + "/runtime/xsched-hsa/control.sock");
  unsetenv("XDG_RUNTIME_DIR");
  fs::current_path(before);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace xsched_hsa

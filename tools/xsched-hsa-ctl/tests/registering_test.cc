// A runtime with rocprofiler-register, which skips the layer in silence: stand-ins of the libraries'
// names, since none of Debian's runtimes is built with it.
#include "../registering.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "daemon.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;
using testing::Daemon;
using testing::Finished;
using testing::RunProgram;
using testing::TemporaryDirectory;

constexpr char kCtl[] = XSCHED_HSA_BIN_DIR "/xsched-hsa-ctl";
const std::string kFolder = XSCHED_HSA_STAND_IN_FOLDER;
const std::string kPlain = kFolder + "/plain", kSwitch = kFolder + "/switch";

class RegisteringTest : public ::testing::Test {
 protected:
  using Environment = std::map<std::string, std::string>;
  // The doctor's line about tools.
  json Tools(const Environment& environment) {
    std::vector<std::string> words = {"/usr/bin/env", "-u", "HSA_TOOLS_LIB"};
    for (const auto& [name, value] : environment) words.push_back(name + "=" + value);
    words.insert(words.end(), {kCtl, "doctor", "--json"});
    const Finished finished = RunProgram(words);
    const json report = json::parse(finished.out, nullptr, false);
    for (const json& check : report["checks"]) {
      if (check["name"] == "tools") return check;
    }
    ADD_FAILURE() << finished.out << finished.err;
    return {};
  }
  static bool Has(const json& check, const char* field, const std::string& text) {
    return check[field].get<std::string>().find(text) != std::string::npos;
  }
  // A program with such a runtime in it and without the layer.
  Finished RunPreloaded(const std::string& libraries) {
    Daemon daemon(socket_);
    return RunProgram({"/usr/bin/env", "XSCHED_HSA_SOCKET=" + socket_, kCtl, "run", "--priority",
                       "low", "--layer", layer_, "--", "env", "LD_PRELOAD=" + libraries, "sleep",
                       "0.7"});
  }

  TemporaryDirectory directory_;
  const std::string socket_ = directory_.path() + "/control.sock";
  const std::string layer_ = directory_.path() + "/libxsched-hsa.so";
};

TEST_F(RegisteringTest, DoctorFailsWhereTheLayerWouldBeSkippedWhateverIsSet) {
  const json check = Tools({{"LD_LIBRARY_PATH", kPlain}, {"ROCP_TOOL_LIBRARIES", "t.so"}});
  EXPECT_EQ(check["health"], "FAIL") << check;
  EXPECT_TRUE(Has(check, "text", "ROCP_TOOL_LIBRARIES=t.so")) << check;
  EXPECT_TRUE(Has(check, "advice", "skips HSA_TOOLS_LIB")) << check;
  EXPECT_TRUE(Has(check, "advice", "HSA_TOOLS_DISABLE_REGISTER=1")) << check;
}

TEST_F(RegisteringTest, DoctorWarnsWhereOnlyRunHasItLoaded) {
  Environment environment = {{"LD_LIBRARY_PATH", kSwitch}, {"ROCP_TOOL_LIBRARIES", "t.so"}};
  const json check = Tools(environment);
  EXPECT_EQ(check["health"], "warn") << check;
  EXPECT_TRUE(Has(check, "advice", "HSA_TOOLS_ROCPROFILER_V1_TOOLS=1")) << check;
  environment["HSA_TOOLS_ROCPROFILER_V1_TOOLS"] = "1";
  EXPECT_TRUE(Has(Tools(environment), "text", "both are loaded"));
  environment["HSA_TOOLS_ROCPROFILER_V1_TOOLS"] = "off";
  EXPECT_TRUE(Has(Tools(environment), "advice", "HSA_TOOLS_ROCPROFILER_V1_TOOLS=1"));
}

TEST_F(RegisteringTest, DoctorKnowsAToolThatIsPreloaded) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's runtime has to be loaded before all that is preloaded";
#endif
  const json check =
      Tools({{"LD_LIBRARY_PATH", kPlain}, {"LD_PRELOAD", kFolder + "/libsdk-tool.so"}});
  EXPECT_EQ(check["health"], "FAIL") << check;
  EXPECT_TRUE(Has(check, "text", "libsdk-tool.so has rocprofiler_configure")) << check;
}

TEST_F(RegisteringTest, DoctorIsContentWhereNothingSkipsTheLayer) {
  // No tool; a runtime that does not register; registering disabled.
  EXPECT_EQ(Tools({{"LD_LIBRARY_PATH", kPlain}})["health"], "ok");
  const json unregistered = Tools({{"ROCP_TOOL_LIBRARIES", "t.so"}});
  EXPECT_EQ(unregistered["health"], "ok") << unregistered;
  EXPECT_TRUE(Has(unregistered, "text", "this runtime does not register")) << unregistered;
  for (const auto& [name, value] :
       Environment{{"HSA_TOOLS_DISABLE_REGISTER", "1"}, {"ROCPROFILER_REGISTER_ENABLED", "0"}}) {
    const json check =
        Tools({{"LD_LIBRARY_PATH", kPlain}, {"ROCP_TOOL_LIBRARIES", "t.so"}, {name, value}});
    EXPECT_EQ(check["health"], "ok") << name << ": " << check;
  }
}

TEST_F(RegisteringTest, RunSaysWhileTheProgramRunsAndAfterwardsThatItWasSkipped) {
  std::ofstream(layer_) << "layer";
  const Finished finished =
      RunPreloaded(kPlain + "/librocprofiler-register.so.0 " + kPlain + "/libhsa-runtime64.so.1");
  EXPECT_EQ(finished.code, 3) << finished.err;
  const std::size_t first = finished.err.find("has the runtime and not the layer");
  EXPECT_NE(first, std::string::npos) << finished.err;
  EXPECT_NE(finished.err.find("skips HSA_TOOLS_LIB", finished.err.find("did not come up")),
            std::string::npos)
      << finished.err;
}

TEST_F(RegisteringTest, RunBlamesNobodyWhoIsNotThere) {
  std::ofstream(layer_) << "layer";
  const Finished finished = RunPreloaded(kFolder + "/libsdk-tool.so");
  EXPECT_EQ(finished.code, 3) << finished.err;
  EXPECT_EQ(finished.err.find("rocprofiler"), std::string::npos) << finished.err;
}

TEST(SwitchTest, IsOnAsTheRuntimeReadsIt) {
  for (const char* on : {"1", "2", "on", "yes", "true", "x"}) EXPECT_TRUE(IsSwitchOn(on)) << on;
  for (const char* off : {"0", "", "off", "OFF", "false", "no", "n", "f"})
    EXPECT_FALSE(IsSwitchOn(off)) << off;
  EXPECT_FALSE(IsSwitchOn(nullptr));
}

}  // namespace
}  // namespace xsched_hsa

// param_table_test.cc: the table in the document says what the code does.

#include "param_table.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "profiles.h"

namespace virtual_gpu {
namespace {

TEST(ParamTableTest, IsTheOneInTheDocument) {
  std::ifstream file(VIRTUAL_GPU_DOCUMENT);
  ASSERT_TRUE(file) << VIRTUAL_GPU_DOCUMENT;
  std::stringstream text;
  text << file.rdbuf();
  const std::string table = ParamTable(DeviceParams{});
  EXPECT_NE(text.str().find(table), std::string::npos)
      << "docs/virtual-gpu.md must hold what virtual-gpu-replay --params-table prints:\n"
      << table;
}

TEST(ParamTableTest, SetsWhatItShows) {
  for (const std::string& name : ProfileNames()) {
    const DeviceParams& params = FindProfile(name)->params;
    const nlohmann::json values = ParamsJson(params);
    DeviceParams copy;
    for (const auto& [key, value] : values.items()) SetParam(&copy, key, value);
    EXPECT_EQ(ParamsJson(copy), values) << name;
  }
}

TEST(ParamTableTest, NamesWhatItDoesNotKnow) {
  DeviceParams params;
  try {
    SetParam(&params, "cu", 1);
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("unknown name 'cu'; known are xccs"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace virtual_gpu

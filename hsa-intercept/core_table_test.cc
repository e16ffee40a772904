#include "core_table.h"

#include <gtest/gtest.h>

#include <string>

namespace xsched_hsa {
namespace {

class CoreTableTest : public testing::Test {
 protected:
  CoreTableTest() {
    core_.version.major_id = 1;
    core_.version.minor_id = sizeof(CoreApiTable);
    ext_.version.minor_id = 400;
    table_.version.major_id = 1;
    table_.version.minor_id = sizeof(HsaApiTable);
    table_.core_ = &core_;
    table_.amd_ext_ = &ext_;
  }
  bool Check() { return CheckTables(&table_, &version_, why_, sizeof(why_)); }

  CoreApiTable core_{};
  AmdExtTable ext_{};
  HsaApiTable table_{};
  RuntimeVersion version_;
  char why_[256] = {};
};

TEST_F(CoreTableTest, AcceptsTheKnownLayouts) {
  // Root and core major, extension table bytes: ROCr 5.2, 5.6, 6.0, 6.1, 6.4, 7.0.
  const struct {
    std::uint32_t root, core, ext;
  } known[] = {{1, 1, 400}, {1, 1, 456}, {2, 2, 552}, {3, 2, 560}, {3, 2, 592}, {3, 2, 608}};
  for (const auto& layout : known) {
    table_.version.major_id = layout.root;
    core_.version.major_id = layout.core;
    ext_.version.minor_id = layout.ext;
    EXPECT_TRUE(Check()) << why_;
    EXPECT_EQ(version_.ext_table_bytes, layout.ext);
  }
}

TEST_F(CoreTableTest, StaysOutOfAnUnknownRoot) {
  table_.version.major_id = 9;
  EXPECT_FALSE(Check());
  EXPECT_NE(std::string(why_).find("version 9"), std::string::npos) << why_;
}

TEST_F(CoreTableTest, StaysOutOfAShorterCoreTable) {
  core_.version.minor_id = 360;
  EXPECT_FALSE(Check());
  EXPECT_NE(std::string(why_).find("360 bytes"), std::string::npos) << why_;
}

TEST_F(CoreTableTest, StaysOutWithoutATable) {
  EXPECT_FALSE(CheckTables(nullptr, &version_, why_, sizeof(why_)));
  table_.core_ = nullptr;
  EXPECT_FALSE(Check());
}

}  // namespace
}  // namespace xsched_hsa

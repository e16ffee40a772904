// Which slots of which table are patched: tables of every known length, filled with marks.
#include "ext_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "core_table.h"
#include "hooks.h"
#include "log.h"

namespace xsched_hsa {
namespace {

constexpr std::uint32_t kLongest = 1024;

// An extension table of so many bytes: each slot holds its own offset, with a mark, for an address.
class FakeTables {
 public:
  FakeTables(std::uint32_t major, std::uint32_t bytes) : words_(kLongest / 8) {
    for (std::uint32_t at = 16; at < kLongest; at += 8) words_[at / 8] = Mark(at);
    auto* ext = reinterpret_cast<AmdExtTable*>(words_.data());
    ext->version.major_id = major;
    ext->version.minor_id = bytes;
    root_.core_ = &core_;
    root_.amd_ext_ = ext;
    InstallHooks(&root_, &real_);
  }
  std::set<std::uint32_t> Patched() const {
    std::set<std::uint32_t> patched;
    for (std::uint32_t at = 16; at < kLongest; at += 8) {
      if (words_[at / 8] != Mark(at)) patched.insert(at);
    }
    return patched;
  }
  static std::uint64_t Mark(std::uint32_t at) { return 0x5a00000000000000u + at; }
  template <typename Function>
  static std::uint32_t OffsetOf(Function* saved) {
    return saved == nullptr ? 0
                            : static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(saved));
  }
  const RealApi& real() const { return real_; }

 private:
  std::vector<std::uint64_t> words_;
  CoreApiTable core_{};
  HsaApiTable root_{};
  RealApi real_{};
};

TEST(ExtTableTest, PatchesTheRightSlotsOfEachKnownLayout) {
  const std::set<std::uint32_t> old_layout = {96, 296, 304, 312}, new_layout = {96, 312, 320, 328};
  const std::set<std::uint32_t> counted = {96, 312, 320, 328, 624},
                                all = {96, 312, 320, 328, 624, 704};
  // ROCr 5.2, 5.5, 5.6, 6.0, 6.1, 6.2, 6.4, 7.0, then what was in between and is now.
  const struct {
    std::uint32_t major, bytes;
    std::set<std::uint32_t> patched;
    std::uint32_t intercept_create;
  } layouts[] = {{1, 400, old_layout, 296}, {1, 424, old_layout, 296}, {1, 456, new_layout, 312},
                 {2, 552, new_layout, 312}, {2, 560, new_layout, 312}, {2, 576, new_layout, 312},
                 {2, 584, new_layout, 312}, {2, 592, new_layout, 312}, {2, 608, new_layout, 312},
                 {2, 640, counted, 312},    {2, 688, counted, 312},    {2, 704, counted, 312},
                 {2, 712, all, 312},        {2, 744, all, 312}};
  for (const auto& layout : layouts) {
    const FakeTables tables(layout.major, layout.bytes);
    EXPECT_EQ(tables.Patched(), layout.patched) << layout.bytes << " bytes";
    EXPECT_EQ(FakeTables::OffsetOf(tables.real().queue_intercept_create), layout.intercept_create);
    EXPECT_EQ(FakeTables::OffsetOf(tables.real().queue_intercept_register),
              layout.intercept_create + 8);
    EXPECT_EQ(FakeTables::OffsetOf(tables.real().queue_set_priority), layout.intercept_create + 16);
    EXPECT_EQ(FakeTables::OffsetOf(tables.real().queue_cu_set_mask), 96u);
  }
}

TEST(ExtTableTest, TouchesNothingInATableItDoesNotKnowAndSaysSo) {
  SetLogLevel(LogLevel::kWarn);
  for (const auto& [major, bytes] : {std::pair{1u, 392u}, {3u, 744u}, {0u, 400u}}) {
    testing::internal::CaptureStderr();
    const FakeTables tables(major, bytes);
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(tables.Patched().empty()) << bytes << " bytes of major " << major;
    EXPECT_EQ(tables.real().queue_intercept_create, nullptr);
    EXPECT_NE(said.find(std::to_string(bytes) + " bytes is unknown"), std::string::npos) << said;
  }
}

}  // namespace
}  // namespace xsched_hsa

#include "geometry.h"

#include <gtest/gtest.h>

#include "profiles.h"

namespace virtual_gpu {
namespace {

Geometry Of(std::string_view profile) { return Geometry(FindProfile(profile)->params); }

// The CUs that one bit of a mask enables.
std::vector<CuLocation> CusOfBit(const Geometry& geometry, std::uint32_t bit) {
  std::vector<std::uint32_t> words(bit / 32 + 1, 0);
  words[bit / 32] = 1u << (bit % 32);
  const CuMask mask = geometry.MaskFromKfd(words);
  std::vector<CuLocation> cus;
  for (std::uint32_t i = 0; i < mask.se_bits.size(); ++i) {
    for (std::uint32_t cu = 0; cu < 32; ++cu) {
      if (mask.se_bits[i] >> cu & 1) cus.push_back({i / geometry.ses(), i % geometry.ses(), cu});
    }
  }
  return cus;
}

TEST(GeometryTest, NumbersEveryCuOnce) {
  for (const std::string& name : ProfileNames()) {
    const Geometry geometry = Of(name);
    EXPECT_EQ(geometry.cu_count(), FindProfile(name)->CuCount()) << name;
    for (std::uint32_t cu = 0; cu < geometry.cu_count(); ++cu) {
      const CuLocation where = geometry.Locate(cu);
      EXPECT_LT(where.cu, geometry.CusIn(where.se)) << name;
      EXPECT_EQ(geometry.FirstCu(where.xcc, where.se) + where.cu, cu) << name;
    }
  }
}

// The examples of mqd_symmetrically_map_cu_mask for MI300X with SEs of 10, 10, 9 and 9 CUs.
TEST(GeometryTest, MapsMaskBitsXccFirstThenSeThenCuWithUnevenSes) {
  const Geometry mi300x = Of("mi300x");
  const auto expect = [&](std::uint32_t bit, CuLocation where) {
    const std::vector<CuLocation> cus = CusOfBit(mi300x, bit);
    ASSERT_EQ(cus.size(), 1u) << "bit " << bit;
    EXPECT_EQ(cus[0], where) << "bit " << bit;
  };
  expect(0, {0, 0, 0});
  expect(1, {1, 0, 0});
  expect(7, {7, 0, 0});
  expect(8, {0, 1, 0});
  expect(31, {7, 3, 0});
  expect(32, {0, 0, 1});
  expect(255, {7, 3, 7});
  expect(287, {7, 3, 8});
  expect(288, {0, 0, 9});
  expect(296, {0, 1, 9});
  expect(303, {7, 1, 9});
}

TEST(GeometryTest, MapsMaskBitsOnOneXcc) {
  const Geometry mi210 = Of("mi210");
  EXPECT_EQ(CusOfBit(mi210, 7), (std::vector<CuLocation>{{0, 7, 0}}));
  EXPECT_EQ(CusOfBit(mi210, 8), (std::vector<CuLocation>{{0, 0, 1}}));
  EXPECT_EQ(CusOfBit(mi210, 103), (std::vector<CuLocation>{{0, 7, 12}}));
}

TEST(GeometryTest, MapsMaskBitsOnFourXccs) {
  const Geometry mi308x = Of("mi308x");
  EXPECT_EQ(CusOfBit(mi308x, 0), (std::vector<CuLocation>{{0, 0, 0}}));
  EXPECT_EQ(CusOfBit(mi308x, 3), (std::vector<CuLocation>{{3, 0, 0}}));
  EXPECT_EQ(CusOfBit(mi308x, 4), (std::vector<CuLocation>{{0, 1, 0}}));
  EXPECT_EQ(CusOfBit(mi308x, 15), (std::vector<CuLocation>{{3, 3, 0}}));
  EXPECT_EQ(CusOfBit(mi308x, 16), (std::vector<CuLocation>{{0, 0, 1}}));
  EXPECT_EQ(CusOfBit(mi308x, 79), (std::vector<CuLocation>{{3, 3, 4}}));
}

TEST(GeometryTest, IgnoresMaskBitsBeyondTheCusAndDisablesThoseNotGiven) {
  const Geometry mi308x = Of("mi308x");
  EXPECT_TRUE(CusOfBit(mi308x, 80).empty());
  const std::vector<std::uint32_t> all(8, ~0u);
  EXPECT_EQ(mi308x.MaskFromKfd(all).se_bits, mi308x.FullMask().se_bits);
  const std::vector<std::uint32_t> one_word(1, ~0u);
  EXPECT_EQ(mi308x.MaskFromKfd(one_word).cus_per_xcc, (std::vector<std::uint32_t>{8, 8, 8, 8}));
}

TEST(GeometryTest, LimitsOccupancyByWavesRegistersLdsAndWorkgroups) {
  const Geometry mi308x = Of("mi308x");
  const auto occupancy = [&](std::uint32_t waves, std::uint32_t vgprs, std::uint32_t lds) {
    return mi308x.MakeFootprint({1, waves, vgprs, lds, 1}).occupancy;
  };
  EXPECT_EQ(occupancy(1, 24, 0), 32u);
  EXPECT_EQ(occupancy(4, 32, 1185), 8u);
  EXPECT_EQ(occupancy(2, 128, 0), 8u);  // 4 waves a SIMD
  EXPECT_EQ(occupancy(2, 224, 0), 4u);  // 2 waves a SIMD, not 2.28
  EXPECT_EQ(occupancy(6, 168, 0), 2u);
  EXPECT_EQ(occupancy(6, 168, 64961), 1u);
  EXPECT_EQ(occupancy(33, 8, 0), 0u);
  EXPECT_EQ(occupancy(1, 8, 65537), 0u);
  EXPECT_EQ(occupancy(1, 520, 0), 0u);
}

TEST(ProfilesTest, KnowsItsPartsAndNoOthers) {
  EXPECT_EQ(FindProfile("mi308x")->CuCount(), 80u);
  EXPECT_EQ(FindProfile("mi308x")->SimdCount(), 320u);
  EXPECT_EQ(FindProfile("mi308x")->ArrayCount(), 16u);
  EXPECT_EQ(FindProfile("mi300x")->CuCount(), 304u);
  EXPECT_EQ(FindProfile("mi210")->CuCount(), 104u);
  EXPECT_EQ(FindProfile("mi100")->CuCount(), 120u);
  EXPECT_EQ(FindProfile("mi355x")->CuCount(), 256u);
  EXPECT_EQ(FindProfile("mi9"), nullptr);
}

}  // namespace
}  // namespace virtual_gpu

// How long a queue lingers follows how soon it comes back.
#include "linger.h"

#include <gtest/gtest.h>

namespace xsched_hsa {
namespace {

constexpr std::uint64_t kBaseUs = 250, kOther = 50'000;

class LingerTest : public testing::Test {
 protected:
  void ComeBackAfter(std::uint64_t gap_us) {
    linger_.Drained(now_us_);
    now_us_ += gap_us;
    linger_.Active(now_us_, kBaseUs);
  }
  std::uint64_t Us() const { return linger_.Us(kBaseUs); }

  Linger linger_;
  std::uint64_t now_us_ = 1'000'000;
};

TEST_F(LingerTest, IsThePolicysWhileRequestsAreApart) {
  for (int i = 0; i < 100; ++i) ComeBackAfter(kOther);
  EXPECT_EQ(Us(), kBaseUs);
}

TEST_F(LingerTest, CoversTheGapThatItTookForTheEnd) {
  ComeBackAfter(400);
  EXPECT_EQ(Us(), 500u);
  ComeBackAfter(300);
  EXPECT_EQ(Us(), 500u) << "less than it covers";
}

TEST_F(LingerTest, IsThreeTimesLongerAtMost) {
  ComeBackAfter(1'900);
  EXPECT_EQ(Us(), 4 * kBaseUs);
}

TEST_F(LingerTest, ForgetsOverTheNextRequests) {
  ComeBackAfter(800);
  const std::uint64_t after = Us();
  for (int i = 0; i < 100; ++i) ComeBackAfter(kOther);
  EXPECT_GT(Us(), kBaseUs + (after - kBaseUs) / 2);
  EXPECT_LT(Us(), after);
  for (int i = 0; i < 3000; ++i) ComeBackAfter(kOther);
  EXPECT_EQ(Us(), kBaseUs);
}

TEST_F(LingerTest, CountsEachEndOnce) {
  ComeBackAfter(800);
  const std::uint64_t after = Us();
  for (int i = 0; i < 100; ++i) linger_.Active(now_us_ += kOther, kBaseUs);
  EXPECT_EQ(Us(), after) << "it was active all the time";
}

}  // namespace
}  // namespace xsched_hsa

// example_test.cc: the policy of docs/writing-a-policy.md, word for word, run as that page says. The
// last test compares the page with this file.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "arena_model.h"

// [policy]
// The newest program goes first: for a machine on which one person tries things out while old jobs
// run on. Programs that are equally new don't exist, so there is always an order.
//
// Parameters read: window_us, linger_us.
#include <algorithm>

#include "levels.h"

namespace xsched_hsa {
namespace {

class NewestFirst final : public Policy {
 public:
  explicit NewestFirst(const PolicyParams& params) : params_(params) {}
  std::string_view Name() const override { return "newest-first"; }

  void Decide(const Snapshot& snapshot, Answer* answer) const override {
    answer->Reset(snapshot.queues.size());
    // Sessions are numbered as they come.
    std::uint32_t newest = 0;
    for (const QueueView& queue : snapshot.queues) {
      if (queue.active) newest = std::max(newest, queue.session);
    }
    for (std::size_t i = 0; i < snapshot.queues.size(); ++i) {
      const QueueView& queue = snapshot.queues[i];
      if (!queue.controllable) continue;
      QueueIntent& intent = answer->queues[i].intent;
      ArmForReport(params_, &intent);  // ask again when somebody starts or stops working
      intent.hold = queue.session < newest;
    }
  }

 private:
  const PolicyParams params_;
};

}  // namespace

std::unique_ptr<Policy> MakeNewestFirst(const PolicyParams& params) {
  return std::make_unique<NewestFirst>(params);
}

}  // namespace xsched_hsa
// [policy end]

// [test]
namespace xsched_hsa {
namespace {

TEST(NewestFirstTest, OldJobRunsOnlyWhileTheNewOneHasNoWork) {
  testing::ArenaModel model(MakeNewestFirst({}));
  model.Add({});  // always has work
  testing::Program tried_out;
  tried_out.arrivals = [](std::uint64_t now_us) { return now_us % 100'000 == 0 ? 30'000u : 0u; };
  model.Add(std::move(tried_out));
  model.Run(1'000'000);
  EXPECT_NEAR(model.Share(0), 0.7, 0.01);
  for (const std::uint64_t latency : model.program(1).latencies_us) EXPECT_LE(latency, 30'100u);
}

}  // namespace
}  // namespace xsched_hsa
// [test end]

namespace xsched_hsa {
namespace {

std::string ReadSource(const std::string& path) {
  std::ifstream file(std::string(XSCHED_HSA_SOURCE_DIR) + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(NewestFirstTest, IsThePageWordForWord) {
  const std::string page = ReadSource("/docs/writing-a-policy.md");
  const std::string own = ReadSource("/policies/tests/example_test.cc");
  for (const std::string part : {"policy", "test"}) {
    const std::string start = "// [" + part + "]\n", end = "// [" + part + " end]";
    const std::size_t from = own.find(start) + start.size();
    const std::string code = own.substr(from, own.find(end) - from);
    ASSERT_GT(code.size(), 100u);
    EXPECT_NE(page.find(code), std::string::npos)
        << "docs/writing-a-policy.md differs in its " << part;
  }
}

}  // namespace
}  // namespace xsched_hsa

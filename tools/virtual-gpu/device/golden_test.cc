// golden_test.cc: the device's outcomes bit by bit, against those recorded before it was made faster.
//
// Why        Speed may change nothing: not a nanosecond of a completion, not a random number. What the
//            figures in docs/ were measured with must also be what a later commit simulates.
// Recorded   with the model as it was at 015cd86. A change of the model itself needs new digests (a
//            failure prints them), and then new figures in docs/virtual-gpu.md and docs/ablation.md.

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <nlohmann/json.hpp>

#include "profiles.h"
#include "random.h"
#include "replay.h"
#include "test_source.h"

namespace virtual_gpu {
namespace {

class Digest {
 public:
  void Add(std::uint64_t value) { hash_ = Random(hash_ ^ value).Bits(); }
  void Add(const DeviceStats& stats) {
    for (const std::uint64_t value : {stats.runlist_cycles, stats.saved_waves, stats.saved_bytes,
                                      stats.events, static_cast<std::uint64_t>(stats.now)}) {
      Add(value);
    }
  }
  void Add(const QueueStats& stats) {
    for (const std::uint64_t value :
         {stats.packets, stats.workgroups, static_cast<std::uint64_t>(stats.cu_ns),
          std::uint64_t{stats.pipe}, std::uint64_t{stats.slot},
          std::uint64_t{stats.resident_workgroups}, stats.saved_waves, stats.saved_bytes}) {
      Add(value);
    }
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0;
};

// A long program and requests whose kernels need many registers, much LDS, or nothing.
ReplayInput TwoPrograms(const std::string& profile, TimeNs grain_ns, TimeNs duration_ns) {
  ReplayInput input;
  input.params = FindProfile(profile)->params;
  input.params.grain_ns = grain_ns;
  input.duration_ns = duration_ns;
  ReplayQueue low;
  low.name = "low";
  low.kernels = {{60'000, 1, 24, 0, 5'000},      {15'000, 4, 32, 1185, 5'500},
                 {10'000, 2, 32, 0, 16'000},     {1'024, 2, 224, 27'594, 84'000},
                 {132, 6, 168, 64'961, 400'000}, {8, 1, 8, 0, 900}};
  ReplayQueue high;
  high.name = "high";
  high.config.process = 2;
  high.period_ns = 4'000'000;
  high.launch_gap_ns = 18'700;
  high.start_ns = 700'001;
  for (int i = 0; i < 8; ++i) {
    high.kernels.push_back({784, 4, 24, 0, 8'000});
    high.kernels.push_back({196, 2, 32, 0, 6'000});
    high.kernels.push_back({128, 4, 32, 40'185, 7'000});
  }
  input.queues = {low, high};
  return input;
}

std::uint64_t DigestOf(const ReplayInput& input) {
  const ReplayResult result = Replay(input);
  Digest digest;
  for (const ReplayQueueResult& queue : result.queues) {
    digest.Add(std::bit_cast<std::uint64_t>(queue.repeats_per_s));
    for (const TimeNs latency : queue.latencies_ns) digest.Add(static_cast<std::uint64_t>(latency));
    digest.Add(queue.stats);
  }
  digest.Add(result.device);
  return digest.value();
}

// Five queues of three processes that are suspended, masked, re-prioritised and given work at
// random; every completion counts.
class Script {
 public:
  Script(const DeviceParams& params, std::uint64_t seed) : random_(seed), rig_(params) {
    for (std::uint32_t i = 0; i < 5; ++i) ids_[i] = rig_.AddQueue(&sources_[i], 7, 1 + i % 3);
  }
  std::uint64_t Run(int steps) {
    for (int i = 0; i < steps; ++i) Step(Below(5));
    for (const QueueId id : ids_) {
      rig_.SetMask(id, std::vector<std::uint32_t>(10, ~0u));
      rig_.SetActive(id, true);
    }
    EXPECT_TRUE(rig_.Idle());
    for (std::uint32_t i = 0; i < 5; ++i) {
      for (const TestSource::Done& done : sources_[i].done) {
        digest_.Add(static_cast<std::uint64_t>(done.start));
        digest_.Add(static_cast<std::uint64_t>(done.end));
      }
      digest_.Add(rig_.Stats(ids_[i]));
    }
    digest_.Add(rig_.device->GetStats());
    return digest_.value();
  }

 private:
  std::uint64_t Below(std::uint64_t n) { return random_.Bits() % n; }
  void Step(std::uint64_t queue) {
    switch (Below(20)) {
      case 0:
        rig_.SetActive(ids_[queue], Below(3) != 0, static_cast<std::uint32_t>(Below(16)));
        break;
      case 1: {
        std::vector<std::uint32_t> mask(10);
        for (std::uint32_t& word : mask) word = static_cast<std::uint32_t>(random_.Bits());
        rig_.SetMask(ids_[queue], mask);
        break;
      }
      case 2:
        digest_.Add(rig_.device->ResidentWaves(ids_[queue]));
        break;
      case 3:
      case 4:
      case 5:
        Submit(queue);
        break;
      default:
        rig_.Run(static_cast<TimeNs>(Below(200'000)));
    }
    digest_.Add(rig_.Stats(ids_[queue]));
  }
  // Of eight kernels, so that some run alone often enough to be remembered (lone_runs.h).
  void Submit(std::uint64_t queue) {
    static constexpr std::array<KernelCost, 8> kMenu = {{{100'000, 1, 24, 0, 5'000},
                                                         {9'000, 4, 32, 1185, 5'500},
                                                         {3'000, 2, 64, 0, 16'000},
                                                         {700, 2, 224, 27'594, 84'000},
                                                         {90, 6, 168, 64'000, 300'000},
                                                         {5, 1, 8, 0, 1},
                                                         {333, 8, 96, 3'000, 12'345},
                                                         {20'000, 3, 40, 900, 2'222}}};
    sources_[queue].Submit(kMenu[Below(kMenu.size())], Below(4) != 0);
    rig_.Kick(ids_[queue]);
  }

  Random random_;
  std::array<TestSource, 5> sources_;
  TestRig rig_;
  std::array<QueueId, 5> ids_{};
  Digest digest_;
};

TEST(GoldenTest, ReplaysAreWhatTheyWere) {
  EXPECT_EQ(DigestOf(TwoPrograms("mi308x", 20'000, 60'000'000)), 0xb2069ef85dd9646bu);
  EXPECT_EQ(DigestOf(TwoPrograms("mi308x", 1'000, 20'000'000)), 0xfd1feb25a9c462acu);
  EXPECT_EQ(DigestOf(TwoPrograms("mi308x", 0, 6'000'000)), 0x55b150b1cb292d0du);
  EXPECT_EQ(DigestOf(TwoPrograms("mi300x", 20'000, 30'000'000)), 0xcec332d0fe4b4d39u);
  EXPECT_EQ(DigestOf(TwoPrograms("mi100", 20'000, 30'000'000)), 0x674c00a7668dc38du);
}

TEST(GoldenTest, ReplaysWithPrioritiesMasksAndManyQueuesAreWhatTheyWere) {
  ReplayInput prior = TwoPrograms("mi308x", 20'000, 30'000'000);
  prior.queues[1].config.priority = 15;
  EXPECT_EQ(DigestOf(prior), 0x1e3fcad208f5a3cau);
  ReplayInput masked = TwoPrograms("mi308x", 20'000, 30'000'000);
  masked.queues[0].cu_mask = {~0u, 0xffffu, 0};
  masked.queues[1].cu_mask = {0xff, 0xffff'ff00u, ~0u};
  EXPECT_EQ(DigestOf(masked), 0xfbf4bcffebf0ba09u);
  ReplayInput many = TwoPrograms("mi308x", 20'000, 30'000'000);
  for (int i = 0; i < 6; ++i) many.queues.push_back(many.queues[i % 2]);
  for (std::size_t i = 0; i < many.queues.size(); ++i) many.queues[i].config.process = i;
  EXPECT_EQ(DigestOf(many), 0xd0b262e0c72ab5dfu);
}

TEST(GoldenTest, SuspendsAndMasksAreWhatTheyWere) {
  const DeviceParams mi308x = FindProfile("mi308x")->params;
  EXPECT_EQ(Script(mi308x, 1).Run(1'500), 0x4c5d405f277b59a2u);
  EXPECT_EQ(Script(FindProfile("mi355x")->params, 2).Run(700), 0x1b8b2ff8c208012fu);
  DeviceParams mes = mi308x;
  mes.hardware_scheduler = false;
  EXPECT_EQ(Script(mes, 3).Run(1'500), 0x3124dbd6bba88249u);
  DeviceParams drains = mi308x;
  drains.cwsr = false;
  EXPECT_EQ(Script(drains, 4).Run(700), 0xa9bdbb6934e93b50u);
  DeviceParams exact = mi308x;
  exact.grain_ns = 0;
  EXPECT_EQ(Script(exact, 5).Run(100), 0x7a25a4c86585dfbfu);
  DeviceParams narrow = mi308x;
  narrow.hqd_slots_per_pipe = 1;
  narrow.processes_max = 2;
  narrow.workgroup_spread = 0;
  EXPECT_EQ(Script(narrow, 6).Run(700), 0x11f889e0a36ff21bu);
}

}  // namespace
}  // namespace virtual_gpu

#include "window_gate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "clock.h"
#include "queue_errors.h"
#include "test_ring.h"

namespace xsched_hsa {
namespace {

constexpr std::uint32_t kHighLevel = kPriorityHigh + 1;

class WindowGateTest : public testing::Test {
 protected:
  void ExpectALatePublisherToCarryWhatWasAnnounced();
  // NOLINTNEXTLINE(readability-identifier-naming): a member like the others
  static inline std::atomic<std::uint64_t>* ring_word_ = nullptr;
  void Submit(std::uint64_t count, std::uint64_t kernel = 0x1000) {
    const std::uint64_t first = ring_.Reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) ring_.Write(first + i, kernel, first + i);
    gate_.Doorbell(ring_.queue(), first + count);
  }
  void Arm(std::uint32_t window_us = 1'000'000) {
    ring_.slot().window_us = window_us;
    ring_.slot().mode = kModeArmed;
  }
  void Close(std::uint64_t lease_us = kLeaseUs) {
    ring_.urgency().lease_until_us = NowUs() + lease_us;
    ring_.urgency().word = UrgencyWord(1, kHighLevel);
  }
  void Open() { ring_.urgency().word = UrgencyWord(2, 0); }
  GateLook Look() {
    GateLook look;
    EXPECT_TRUE(gate_.Look(ring_.queue(), &look));
    return look;
  }
  // A dispatch of `kernel` takes `ns`.
  void Learn(std::uint64_t kernel, std::uint64_t ns) {
    hsa_kernel_dispatch_packet_t packet{};
    packet.kernel_object = kernel;
    packet.header = HSA_PACKET_TYPE_KERNEL_DISPATCH;
    packet.grid_size_x = packet.workgroup_size_x = 64;
    KernelContext fresh;
    times_.Observe(times_.KeyOf(reinterpret_cast<const unsigned char*>(&packet), &fresh), ns);
  }
  // From here on time passes by Pass() only.
  static void StopClock() {
    g_now_ns = [] { return stopped_ns_; };
  }
  static void Pass(std::uint64_t ns) { stopped_ns_ += ns; }
  void TearDown() override { g_now_ns = &SteadyNs; }
  // The hardware gets through all that is exposed, then somebody looks. Returns what is exposed then.
  std::uint64_t RunDry(std::uint64_t ns_each) {
    Pass(ns_each * TakeAll());
    Look();
    return ring_.published() - ring_.taken();
  }
  std::uint64_t TakeAll() {
    std::uint64_t count = 0, tag = 0;
    while (ring_.Take(&tag)) {
      EXPECT_EQ(tag, expected_tag_++);
      ++count;
    }
    return count;
  }

  // NOLINTNEXTLINE(readability-identifier-naming): a member like the others
  static inline std::uint64_t stopped_ns_ = 1'000'000'000;
  TestRing ring_{256};
  KernelTimes times_;
  WindowGate gate_{TestRing::Api(), &times_};
  std::uint64_t expected_tag_ = 0;
};

TEST_F(WindowGateTest, PublishesAtOnceWhileNotArmed) {
  Close();  // urgency does not concern a queue that the controller has not armed
  Submit(3);
  EXPECT_EQ(ring_.published(), 3u);
  EXPECT_EQ(ring_.doorbell(), 2u);
}

TEST_F(WindowGateTest, HoldsPacketsWhileMoreUrgentWorkIsActive) {
  Arm();
  Close();
  Submit(5);
  EXPECT_EQ(ring_.published(), 0u);
  const GateLook look = Look();
  EXPECT_TRUE(look.closed);
  EXPECT_TRUE(look.backlog);
  EXPECT_EQ(ring_.slot().packets_held, 5u);
  EXPECT_EQ(ring_.slot().holds, 1u);
}

TEST_F(WindowGateTest, CountsEachHeldPacketOnce) {
  Arm();
  Close();
  Submit(5);
  Submit(2);
  Look();
  EXPECT_EQ(ring_.slot().packets_held, 7u);
  EXPECT_EQ(ring_.slot().holds, 1u);
}

TEST_F(WindowGateTest, ReleasesHeldPacketsInOrderAfterUrgencyFalls) {
  Arm();
  Close();
  Submit(5);
  Open();
  Look();
  EXPECT_EQ(ring_.published(), 5u);
  EXPECT_EQ(TakeAll(), 5u);
  EXPECT_GT(ring_.slot().held_us + 1, 0u);
  EXPECT_EQ(ring_.slot().gate_closed, 0u);
}

TEST_F(WindowGateTest, ClosesOnTheNextPublicationWithoutAnyWake) {
  Arm();
  Submit(1);
  Close();
  Submit(1);
  EXPECT_EQ(ring_.published(), 1u);
}

TEST_F(WindowGateTest, DoesNotWaitForEqualOrLowerLevels) {
  ring_.queue()->requested_priority = kPriorityHigh;
  Arm();
  Close();
  Submit(4);
  EXPECT_EQ(ring_.published(), 4u);
}

TEST_F(WindowGateTest, OpensWhenTheLeaseIsNotRenewed) {
  Arm();
  Close(0);
  Submit(4);
  EXPECT_EQ(ring_.published(), 4u);
}

TEST_F(WindowGateTest, IgnoresALeaseThatNoControllerGrants) {
  Arm();
  Close(3'600'000'000);
  Submit(4);
  EXPECT_EQ(ring_.published(), 4u);
}

TEST_F(WindowGateTest, HoldsByOrderUntilItsLeaseEnds) {
  Arm();
  ring_.slot().hold = 1;
  ring_.slot().hold_lease_until_us = NowUs() + kLeaseUs;
  Submit(2);
  EXPECT_EQ(ring_.published(), 0u);
  ring_.slot().hold_lease_until_us = NowUs();
  Look();
  EXPECT_EQ(ring_.published(), 2u);
}

TEST_F(WindowGateTest, ExposesOnlyTheWindow) {
  Arm(250);  // two kernels of the unknown time (100 us) and the one that crosses the window's end
  const std::uint64_t first = ring_.Reserve(10);
  for (std::uint64_t i = 0; i < 10; ++i) ring_.Write(first + i, 0x1000 + i * 64, i);  // all unknown
  gate_.Doorbell(ring_.queue(), first + 10);
  EXPECT_EQ(ring_.published(), 3u);
  std::uint64_t tag;
  ASSERT_TRUE(ring_.Take(&tag));
  const GateLook look = Look();
  EXPECT_GT(look.poll_ns, 0u);
  EXPECT_GE(ring_.published(), 4u);
  EXPECT_LT(ring_.published(), 10u);
}

TEST_F(WindowGateTest, ExposesNothingBehindAKernelKnownToBeLong) {
  const std::uint64_t first = ring_.Reserve(1);
  ring_.Write(first, 0xbeef);
  Learn(0xbeef, 18'000'000);
  Arm(200);
  gate_.Doorbell(ring_.queue(), first + 1);
  Submit(3, 0xbeef);
  EXPECT_EQ(ring_.published(), 1u);
}

// Otherwise its length is learnt wrong by as much as the look is late, and so is since when the
// next one runs: the device then runs dry behind that one.
TEST_F(WindowGateTest, LooksWhenALongKernelIsExpectedToEndThoughMoreIsExposed) {
  StopClock();
  constexpr std::uint64_t kLongNs = 5'000'000;
  for (const std::uint64_t kernel : {0x111u, 0x222u, 0x333u}) Learn(kernel, kLongNs);
  Arm(200);
  for (const std::uint64_t kernel : {0x111u, 0x222u, 0x333u}) Submit(1, kernel);
  EXPECT_EQ(ring_.published(), 1u);
  Pass(kLongNs - 100'000);
  GateLook look;
  ASSERT_TRUE(gate_.Look(ring_.queue(), &look));
  EXPECT_EQ(ring_.published(), 2u) << "within the window of the first one's end";
  EXPECT_LE(look.poll_ns, 100'000u);
  // It outlives that: the looks go on, and the second one's time begins when the first is through.
  Pass(150'000);
  ASSERT_TRUE(gate_.Look(ring_.queue(), &look));
  EXPECT_LE(look.poll_ns, 100'000u);
  std::uint64_t tag;
  ASSERT_TRUE(ring_.Take(&tag));
  ASSERT_TRUE(gate_.Look(ring_.queue(), &look));
  EXPECT_GT(look.poll_ns, 500'000u);
}

TEST_F(WindowGateTest, LearnsNothingFromTheTimeItWasClosed) {
  Arm(1);
  Submit(2, 0x5000);
  EXPECT_EQ(ring_.published(), 1u);
  Close();
  Look();
  const timespec pause{0, 30'000'000};
  nanosleep(&pause, nullptr);
  std::uint64_t tag;
  ASSERT_TRUE(ring_.Take(&tag));
  Open();
  Look();
  KernelContext fresh;
  const KernelKey key = times_.KeyOf(ring_.queue()->ring + 64, &fresh);
  EXPECT_EQ(times_.PredictNs(key), KernelTimes::kUnknownNs);
}

// The device ran dry with packets waiting for room: looks come too late here, so more is exposed.
TEST_F(WindowGateTest, WidensTheWindowOfAQueueThatRanDryBehindIt) {
  StopClock();
  Learn(0x1000, 50'000);
  Arm(250);
  Submit(40);
  ASSERT_EQ(ring_.published(), 5u);
  std::uint64_t most = 0;
  for (int dry = 0; dry < 3; ++dry) {
    const std::uint64_t exposed = RunDry(50'000);
    EXPECT_GE(exposed, most);
    most = exposed;
  }
  EXPECT_EQ(most, 9u) << "three quarters of a window more";
}

TEST_F(WindowGateTest, WidensByThreeWindowsAtMost) {
  StopClock();
  Learn(0x1000, 50'000);
  Arm(250);
  ring_.queue()->window.widen_ns = 650'000;
  Submit(200);
  std::uint64_t most = 0;
  for (int dry = 0; dry < 6; ++dry) most = std::max(most, RunDry(50'000));
  EXPECT_EQ(most, 20u) << "a window and three more";
}

// That was the prediction's mistake, not the pump's.
TEST_F(WindowGateTest, DoesNotWidenBehindKernelsThatAreLongAgainstTheWindow) {
  StopClock();
  Learn(0x1000, 100'000);
  Arm(250);
  Submit(10);
  ASSERT_EQ(ring_.published(), 3u);
  for (int dry = 0; dry < 3; ++dry) RunDry(90'000);
  EXPECT_EQ(ring_.queue()->window.widen_ns, 0u);
}

TEST_F(WindowGateTest, NarrowsAgainWhileItDoesNotRunDry) {
  ring_.queue()->window.widen_ns = 1'000'000;
  Learn(0x1000, 100'000);
  Arm(250);
  std::uint64_t tag;
  for (int packet = 0; packet < 1000; ++packet) {
    Submit(1);
    if (packet >= 2) {
      ASSERT_TRUE(ring_.Take(&tag));
    }
  }
  EXPECT_LT(ring_.queue()->window.widen_ns, 500'000u);
}

TEST_F(WindowGateTest, DoesNotWidenForAProgramThatHadNothingMoreToSubmit) {
  Learn(0x1000, 100'000);
  Arm(250);
  for (int i = 0; i < 10; ++i) {
    Submit(2);
    TakeAll();
    Look();
  }
  EXPECT_EQ(ring_.queue()->window.widen_ns, 0u);
}

TEST_F(WindowGateTest, DoesNotWidenForWhatRanOutWhileItWasClosed) {
  StopClock();
  Learn(0x1000, 50'000);
  Arm(250);
  Submit(20);
  Close();
  Look();
  TakeAll();
  Open();
  Look();
  EXPECT_EQ(ring_.queue()->window.widen_ns, 0u);
}

// When the last one ended nobody saw; the device may have been idle since.
TEST_F(WindowGateTest, TakesATimeThatEndedDryForAnUpperBound) {
  StopClock();
  Learn(0x1000, 100'000);
  Arm(250);
  Submit(20);
  TakeAll();
  Pass(5'000'000);
  Look();
  KernelContext fresh;
  const KernelKey key = times_.KeyOf(ring_.queue()->ring + 19 * 64, &fresh);
  EXPECT_EQ(times_.PredictNs({key.itself, key.itself}), 100'000u);
  TakeAll();
  Pass(50'000);
  Look();
  EXPECT_LT(times_.PredictNs({key.itself, key.itself}), 100'000u);
}

TEST_F(WindowGateTest, ExposesAtLeastOnePacketWhateverTheWindow) {
  Arm(1);
  Submit(3);
  EXPECT_EQ(ring_.published(), 1u);
}

TEST_F(WindowGateTest, StopsAtASlotThatIsNotWrittenYet) {
  Arm();
  const std::uint64_t first = ring_.Reserve(3);
  ring_.Write(first, 1, 0);
  ring_.Write(first + 2, 1, 2);
  gate_.Doorbell(ring_.queue(), first + 3);  // a later producer rings first
  EXPECT_EQ(ring_.published(), 1u);
  ring_.Write(first + 1, 1, 1);
  gate_.Doorbell(ring_.queue(), first + 2);
  EXPECT_EQ(ring_.published(), 3u);
  EXPECT_EQ(ring_.doorbell(), 2u);
  EXPECT_EQ(TakeAll(), 3u);
}

// The pump disarms in the middle of an out-of-order announcement: the late producer, now on the
// open path, must bring the packets behind its own with it.
void WindowGateTest::ExpectALatePublisherToCarryWhatWasAnnounced() {
  Arm();
  const std::uint64_t first = ring_.Reserve(3);
  ring_.Write(first + 1, 1, 1);
  ring_.Write(first + 2, 1, 2);
  gate_.Doorbell(ring_.queue(), first + 3);
  ring_.slot().mode = 0;
  Look();
  EXPECT_EQ(ring_.published(), 0u);
  ring_.Write(first, 1, 0);
  gate_.Doorbell(ring_.queue(), first + 1);
  EXPECT_EQ(ring_.published(), 3u);
}

TEST_F(WindowGateTest, LatePublisherAfterDisarmCarriesWhatWasAnnouncedBehindIt) {
  ExpectALatePublisherToCarryWhatWasAnnounced();
}

TEST_F(WindowGateTest, LatePublisherCarriesWhatWasAnnouncedAlsoWithTheIndexAtHand) {
  ring_.queue()->real_index = ring_.real_index();
  ExpectALatePublisherToCarryWhatWasAnnounced();
}

// A producer that finds the lock taken leaves its packets to the holder, which is past the point
// where it would have seen them.
TEST_F(WindowGateTest, HolderLooksAgainForAProducerThatFoundTheLockTaken) {
  Arm();
  bool produced = false;
  TestRing::in_the_middle_of_a_look = [&] {
    Submit(1);
    produced = true;
  };
  Submit(1);
  EXPECT_TRUE(produced);
  EXPECT_EQ(ring_.published(), 2u);
}

// What an urgent doorbell wakes, it wakes on its own thread: dozens of programs, perhaps.
TEST_F(WindowGateTest, UrgentPacketIsOutBeforeAnybodyIsWokenForIt) {
  static UserPage page;
  static std::uint32_t bell_at_doorbell;
  static std::uint64_t word_at_doorbell;
  RealApi api = TestRing::Api();
  api.signal_store_screlease = [](hsa_signal_t signal, hsa_signal_value_t value) {
    bell_at_doorbell = page.bell;
    word_at_doorbell = ring_word_->load();
    TestRing::Api().signal_store_screlease(signal, value);
  };
  ring_word_ = &ring_.urgency().word;
  ring_.queue()->user_page = &page;
  ring_.queue()->requested_priority = kPriorityHigh;
  for (const std::uint32_t mode : {std::uint32_t{kModeRaise}, kModeRaise | kModeArmed}) {
    const std::uint32_t before = page.bell;
    ring_.slot().active = 0;
    ring_.slot().window_us = 1000;
    ring_.slot().mode = mode;
    WindowGate gate(api, &times_);
    const std::uint64_t index = ring_.Reserve(1);
    ring_.Write(index, 1, index);
    EXPECT_TRUE(gate.Doorbell(ring_.queue(), index + 1));
    EXPECT_EQ(LevelOf(word_at_doorbell), kHighLevel) << "others stop first";
    EXPECT_EQ(bell_at_doorbell, before) << "the packet waited for wake-ups";
    EXPECT_EQ(page.bell, before + 1);
    EXPECT_EQ(TakeAll(), 1u);
  }
}

TEST_F(WindowGateTest, LeavesAQueueAloneThatIsWrittenPastTheApi) {
  Submit(1);
  ring_.PublishPastTheApi(4);
  Arm();
  Close();
  Look();
  EXPECT_EQ(ring_.slot().state, kSlotForeign);
  for (std::uint64_t i = 1; i < 4; ++i) ring_.Write(i, 1, i);
  Submit(2);
  EXPECT_EQ(ring_.published(), 6u);
}

// The packet processor goes by the doorbell, which the program has rung at its address: the index stays.
TEST_F(WindowGateTest, LeavesAQueueAloneWhoseDoorbellIsRungPastTheApi) {
  Arm();
  Close();
  const std::uint64_t first = ring_.Reserve(2);
  ring_.Write(first, 1, 0);
  ring_.Write(first + 1, 1, 1);
  ring_.PublishPastTheApi(2);
  TakeAll();
  ring_.PublishPastTheApi(0);
  testing::internal::CaptureStderr();
  Look();
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(ring_.slot().state, kSlotForeign);
  EXPECT_NE(said.find("written past the HSA API"), std::string::npos) << said;
  Submit(1);
  EXPECT_EQ(ring_.published(), 3u) << "never held";
}

// It runs nothing any more, and its ring fills as it would without us.
TEST_F(WindowGateTest, LeavesAQueueAloneThatRocrHasStopped) {
  Arm();
  Close();
  Submit(1);
  ASSERT_EQ(ring_.published(), 0u);
  EXPECT_TRUE(LeaveStopped(ring_.queue()));
  EXPECT_FALSE(LeaveStopped(ring_.queue())) << "said once";
  Submit(1);
  EXPECT_EQ(ring_.published(), 2u);
  EXPECT_EQ(ring_.slot().state, kSlotForeign);
}

TEST_F(WindowGateTest, FollowsHeadersWhereTheReadIndexLags) {
  // A packet processor that invalidates headers at once but moves its read index in groups: the
  // window has to go on. Invalidating through the ring stands for that.
  Arm(150);
  Submit(8);
  EXPECT_EQ(ring_.published(), 2u);
  const std::uint16_t invalid = HSA_PACKET_TYPE_INVALID;
  for (int i = 0; i < 2; ++i) {
    __atomic_store_n(reinterpret_cast<std::uint16_t*>(ring_.queue()->ring + i * 64), invalid,
                     __ATOMIC_RELEASE);
  }
  Look();
  EXPECT_GT(ring_.published(), 2u);
}

TEST_F(WindowGateTest, RetirePublishesEverythingAndKeepsTheLock) {
  Arm();
  Close();
  Submit(6);
  gate_.Retire(ring_.queue());
  EXPECT_EQ(ring_.published(), 6u);
  GateLook look;
  EXPECT_FALSE(gate_.Look(ring_.queue(), &look));
}

TEST_F(WindowGateTest, WakesThePumpOnceForABacklog) {
  Arm();
  Close();
  const std::uint64_t first = ring_.Reserve(2);
  ring_.Write(first, 1);
  ring_.Write(first + 1, 1);
  EXPECT_TRUE(gate_.Doorbell(ring_.queue(), first + 1));
  ring_.queue()->pump_watches = 1;
  EXPECT_FALSE(gate_.Doorbell(ring_.queue(), first + 2));
}

TEST_F(WindowGateTest, RaisesUrgencyOnceUntilItIsDone) {
  ring_.slot().mode = kModeRaise;
  ring_.queue()->requested_priority = kPriorityHigh;
  const std::uint64_t first = ring_.Reserve(2);
  ring_.Write(first, 1);
  ring_.Write(first + 1, 1);
  EXPECT_TRUE(gate_.Doorbell(ring_.queue(), first + 1));
  EXPECT_EQ(ring_.published(), 1u);
  EXPECT_EQ(LevelOf(ring_.urgency().word), kHighLevel);
  EXPECT_GT(ring_.urgency().lease_until_us, NowUs());
  EXPECT_FALSE(gate_.Doorbell(ring_.queue(), first + 2));
  EXPECT_EQ(ring_.slot().raises, 1u);
}

}  // namespace
}  // namespace xsched_hsa

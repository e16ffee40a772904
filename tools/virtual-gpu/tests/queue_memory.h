// queue_memory.h: memory that a queue's tests have mapped at kVa, the events and the clock beside it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <memory>

#include "address_space.h"
#include "arena.h"
#include "events.h"
#include "sim_clock.h"

namespace virtual_gpu {

class QueueMemoryTest : public ::testing::Test {
 public:
  static constexpr std::uint64_t kVa = 0x100000;

 protected:
  void SetUp() override {
    Allocation a;
    a.kind = Allocation::Kind::kGtt;
    a.handle = 1;
    a.va = kVa;
    a.bytes = 0x10000;
    a.arena = arena_.get();
    ASSERT_TRUE(arena_->Allocate(a.bytes, kPageBytes, &a.offset));
    ASSERT_TRUE(memory_.Add(a));
    ASSERT_TRUE(memory_.SetMapped(1, 1, true));
  }
  std::uint64_t Value(std::uint64_t address) {
    std::uint64_t value = ~0ull;
    EXPECT_TRUE(memory_.ReadValue(address, &value));
    return value;
  }

  std::unique_ptr<Arena> arena_ = Arena::Create("test", 1 << 20);
  AddressSpace memory_{getpid()};
  EventTable events_;
  SimClock clock_{1};
  std::uint64_t doorbell_ = 0;
};

}  // namespace virtual_gpu

// fake_layer.h: the layer's side of shared_page.h, for tests.
//
// Why        Written from the header's rules alone, so that controller and layer meet there and not
//            in each other's code.
// Threads    one FakeLayer, one thread; the pages are shared with the controller's.
// Ownership  the pages belong to the test.
#pragma once

#include <cstdint>
#include <functional>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa::testing {

inline constexpr GpuKey kGpuA = 0x0301;  // 0000:03:00.0
inline constexpr GpuKey kGpuB = 0x0401;

class FakeLayer {
 public:
  using NowUs = std::function<std::uint64_t()>;
  FakeLayer(ProcessPage* process, UserPage* user, NowUs now)
      : process_(process), user_(user), now_(std::move(now)) {}

  // Fills slot `index` as the layer does when a queue is made.
  void MakeQueue(std::uint32_t index, std::uint32_t serial, int priority, GpuKey gpu = kGpuA);
  void DestroyQueue(std::uint32_t index);
  void SetState(std::uint32_t index, std::uint32_t state);

  // A doorbell that makes the queue active, and the pump's finding that it is done.
  void BecomeActive(std::uint32_t index);
  void BecomeIdle(std::uint32_t index);
  // Only the raise, without `active` before it.
  void RaiseWord(std::uint32_t index);

  // What an armed queue decides at its next publication; it says so if it is closed.
  bool GateClosed(std::uint32_t index) const;
  int OwnPriority(std::uint32_t index) const;
  GpuUrgency* Gpu(GpuKey key) const;
  QueueSlot& Slot(std::uint32_t index) const { return process_->queues[index]; }
  ProcessPage* process() const { return process_; }
  UserPage* user() const { return user_; }

 private:
  ProcessPage* process_;
  UserPage* user_;
  NowUs now_;
};

}  // namespace xsched_hsa::testing
